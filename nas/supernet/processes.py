"""What processes that train one supernet together agree on, by torch.distributed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from nas.core.errors import UserError


def together() -> bool:
    """Whether this process trains with others."""
    return distributed.is_available() and distributed.is_initialized()


def check_equal_parts(num_batches: int, device: torch.device) -> None:
    """UserError, in every process, where they have not equally many batches.

    One that was done earlier would leave the others waiting for its gradients.
    """
    if not together():
        return
    ends = torch.tensor([num_batches, -num_batches], device=device)
    distributed.all_reduce(ends, distributed.ReduceOp.MAX)
    most, least = int(ends[0]), -int(ends[1])
    if most != least:
        raise UserError(
            f"processes that train together need equally many batches, not {least} to {most}: "
            "give each an equal part of the images"
        )


def decided_by_first(decision: bool, device: torch.device) -> bool:
    """What the process of rank 0 decided: its own figures differ a little from the others'."""
    if not together():
        return decision
    told = torch.tensor(int(decision), device=device)
    distributed.broadcast(told, 0)
    return bool(told)


def average_over_ranks(weights: Sequence[Tensor], *figures: float | Tensor) -> list[Tensor]:
    """Average gradients and some figures over the processes of a distributed training, if any."""
    if not together():
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
    return distributed.get_rank() if together() else 0
