"""One step of the sandwich rule: which networks it trains, and their gradients.

The largest network learns the labels; the smallest and some random ones learn what the largest
answers (Yu and Huang 2019; in-place distillation in BigNAS, Yu et al. 2020).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.network.device import autocast
from nas.space.choices import fill, random_picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.largest import extreme_picks, free_choices
from nas.supernet.sampling import FeasibleSampler
from nas.supernet.supernet import Supernet, slice_weight


class Sandwich:
    """Samples the networks of a step, with a `sampler` feasible ones only.

    What changes no size (activations) is random in the ends too, as far as that is feasible: no
    option is the teacher's alone.
    """

    def __init__(
        self, space: Arch, num_random: int = 2, sampler: FeasibleSampler | None = None
    ) -> None:
        self.space, self.num_random, self.sampler = space, num_random, sampler
        if sampler:
            self.ends = sampler.ends
        else:
            trellis = Trellis(space)
            self.ends = [extreme_picks(trellis, largest=largest) for largest in (True, False)]
        self.free = [free_choices(space, picks) for picks in self.ends]

    def step(self, rng: random.Random) -> list[Arch]:
        """The largest, then the random ones, then the smallest."""
        step = [random_picks(self.space, rng) for _ in range(2 + self.num_random)]
        if self.sampler:
            step[1:-1] = self.sampler.sample(self.num_random, rng)
        for i, picks, free in zip((0, -1), self.ends, self.free, strict=True):
            redrawn = picks | {key: step[i][key] for key in free}
            allowed = not (self.sampler and free) or self.sampler.allows(redrawn)
            step[i] = redrawn if allowed else picks
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
    reduction: str = "mean",
) -> Tensor:
    """Add the gradients of `archs`, the first of which teaches the others; its loss (nats).

    A loss is the "mean" or the "sum" over the images.  A weight that none of the networks uses gets
    zeros where it had no gradient.  `run` may be a `map` with threads: gradients are added in the
    order of `archs`.
    """
    rows = [supernet.rows_of(arch) for arch in archs]
    copies = cast_weights(supernet, dtype)
    soft: Future[Tensor] = Future()

    def one(index: int) -> tuple[Tensor, list[Tensor], Sequence[Tensor]]:
        try:
            parts = _Parts(copies)
            with autocast(images.device, dtype):
                logits = supernet.logits(rows[index], images, parts).float()  # (B, classes)
            if index == 0:
                soft.set_result(logits.detach().softmax(1))
            goal = soft.result() if index else labels
            loss = F.cross_entropy(logits, goal, reduction=reduction)
            return loss.detach(), parts.sums, torch.autograd.grad(loss, parts.leaves)
        except BaseException as error:
            if not soft.done():
                soft.set_exception(error)  # whoever waits for the teacher must not wait forever
            raise

    for weight in supernet.parameters():  # in its own memory layout, which fused optimizers rely on
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    losses: list[Tensor] = []
    for loss, sums, gradients in run(one, range(len(archs))):
        losses.append(loss)
        add_together(sums, gradients)
    return losses[0]


class _Parts:
    """Takes the parts of shared weights that one network uses, as leaves of its own graph.

    Their gradients are added to those `sums`, parts of the weights' gradients: whoever
    differentiates by the weights fills and adds a whole weight of zeros for each part.
    """

    def __init__(self, copies: Mapping[nn.Parameter, Tensor]) -> None:
        self.copies = copies
        self.leaves: list[Tensor] = []
        self.sums: list[Tensor] = []

    def __call__(self, weight: nn.Parameter, shape: Sequence[int]) -> Tensor:
        assert weight.grad is not None
        leaf = slice_weight(self.copies.get(weight, weight).detach(), shape).requires_grad_()
        self.leaves.append(leaf)
        self.sums.append(slice_weight(weight.grad, shape))
        return leaf


def cast_weights(supernet: Supernet, dtype: torch.dtype) -> dict[nn.Parameter, Tensor]:
    """What autocast would cast for each network anew, cast once; nothing in float32."""
    if dtype == torch.float32:
        return {}
    weights = [w for name, w in supernet.named_parameters() if ".bn." not in name]
    copies = [torch.empty_like(w, dtype=dtype, requires_grad=False) for w in weights]
    with torch.no_grad():
        torch._foreach_copy_(copies, list[Tensor](weights))
    return dict(zip(weights, copies, strict=True))


def add_together(sums: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Add each of `gradients` to its sum, in place.

    On a GPU a few launches do for all that have their sum's number format and layout; parts with
    gaps between them, of inner channels or of a kernel, take one each.
    """
    low = [i for i, gradient in enumerate(gradients) if gradient.dtype != sums[i].dtype]
    full = [torch.empty_like(gradients[i], dtype=sums[i].dtype) for i in low]
    if low:
        torch._foreach_copy_(full, [gradients[i] for i in low])
    wide = {**dict(enumerate(gradients)), **dict(zip(low, full, strict=True))}
    alike = {True: [i for i, x in wide.items() if same_layout(x, sums[i])]}
    alike[False] = [i for i in wide if i not in set(alike[True])]
    for chosen in filter(None, alike.values()):
        torch._foreach_add_([sums[i] for i in chosen], [wide[i] for i in chosen])


def same_layout(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors of one shape lie in memory alike."""
    strides = zip(first.shape, first.stride(), second.stride(), strict=True)
    return all(one == other for size, one, other in strides if size > 1)
