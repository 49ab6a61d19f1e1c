"""One step of the sandwich rule: which networks it trains, and their gradients.

The largest network learns the labels; the smallest and some random ones learn what the largest
answers (Yu and Huang 2019; in-place distillation in BigNAS, Yu et al. 2020).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from nas.arch.arch import Arch
from nas.network.device import autocast
from nas.space.choices import fill, random_picks
from nas.supernet.largest import extreme_picks, free_choices
from nas.supernet.sampling import FeasibleSampler
from nas.supernet.supernet import Supernet


class Sandwich:
    """Samples the networks of a step, with a `sampler` feasible ones only.

    What changes no size (activations) is random in the ends too: no option is the teacher's alone.
    """

    def __init__(
        self, space: Arch, num_random: int = 2, sampler: FeasibleSampler | None = None
    ) -> None:
        self.space, self.num_random, self.sampler = space, num_random, sampler
        if sampler:
            self.ends = sampler.ends
        else:
            self.ends = [extreme_picks(space, largest=largest) for largest in (True, False)]
        self.free = [free_choices(space, picks) for picks in self.ends]

    def step(self, rng: random.Random) -> list[Arch]:
        """The largest, then the random ones, then the smallest."""
        step = [random_picks(self.space, rng) for _ in range(2 + self.num_random)]
        if self.sampler:
            step[1:-1] = self.sampler.sample(self.num_random, rng)
        for i, picks, free in zip((0, -1), self.ends, self.free, strict=True):
            step[i] = picks | {key: step[i][key] for key in free}
        return [fill(self.space, picks) for picks in step]

    def sample(self, number: int, rng: random.Random) -> list[Arch]:
        """`number` networks of those that are trained."""
        if self.sampler:
            return [fill(self.space, picks) for picks in self.sampler.sample(number, rng)]
        return [fill(self.space, random_picks(self.space, rng)) for _ in range(number)]


def accumulate_gradients(
    supernet: Supernet,
    archs: Sequence[Arch],
    images: Tensor,
    labels: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    run: Callable[..., Any] = map,
) -> Tensor:
    """Add the gradients of `archs`, the first of which teaches the others; its loss (nats).

    A weight that none of them uses gets zeros where it had no gradient.  `run` may be a `map` with
    threads: the sum is in the order of `archs`.
    """
    weights = list(supernet.parameters())
    rows = [supernet.rows_of(arch) for arch in archs]
    soft: Future[Tensor] = Future()

    def one(index: int) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        try:
            with autocast(images.device, dtype):
                logits = supernet.logits(rows[index], images).float()  # (B, classes)
            if index == 0:
                soft.set_result(logits.detach().softmax(1))
            loss = F.cross_entropy(logits, soft.result() if index else labels)
            return loss.detach(), torch.autograd.grad(loss, weights, allow_unused=True)
        except BaseException as error:
            if not soft.done():
                soft.set_exception(error)  # whoever waits for the teacher must not wait forever
            raise

    for weight in weights:  # in the weight's own memory layout, which fused optimizers rely on
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    losses: list[Tensor] = []
    for loss, gradients in run(one, range(len(archs))):
        losses.append(loss)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None and weight.grad is not None:
                weight.grad.add_(gradient)
    return losses[0]


def average_over_ranks(weights: Sequence[Tensor], *figures: float | Tensor) -> list[Tensor]:
    """Average gradients and some figures over the processes of a distributed training, if any."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [torch.as_tensor(figure) for figure in figures]
    plain = [torch.as_tensor(f, dtype=torch.float32, device=weights[0].device) for f in figures]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), torch.stack(plain)])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    *parts, last = torch.split(flat, [*(g.numel() for g in gradients), len(plain)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return list(last)


def rank() -> int:
    """This process among those of a distributed training; 0 if there is none."""
    ready = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if ready else 0
