"""What processes that train one network together agree on, by torch.distributed.

`torchrun` starts them and tells each its number in environment variables.  While they are `joined`,
`nas.training.loop.train` and whatever scores images expect a part of the images in each process
(`nas.data.share.Share`), and give the same result in all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from nas.core.errors import UserError
from nas.data.share import ALL, Share

T = TypeVar("T")
# A process may decode pictures for hours while others wait; one that ends is noticed at once.
TIMEOUT = timedelta(days=1)


def num_started() -> int:
    """How many processes torchrun started, this one among them; 1 without it."""
    both = os.environ.get("RANK") and os.environ.get("WORLD_SIZE")  # schedulers set one alone
    return _number("WORLD_SIZE") if both else 1


def _told(name: str) -> str:
    if text := os.environ.get(name):
        return text
    raise UserError(
        f"RANK and WORLD_SIZE are set, {name} is not: start with torchrun, or unset both"
    )


def _number(name: str) -> int:
    if (text := _told(name)).isdecimal():
        return int(text)
    raise UserError(
        f"{name} must be a whole number from 0, not {text!r}: start with torchrun, or unset RANK "
        "and WORLD_SIZE"
    )


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, as long as the block lasts; alone, do nothing.

    Tensors on CUDA devices go over NCCL, others over gloo.  Raises UserError where torchrun's
    variables are not all there.
    """
    number = num_started()
    if number == 1 or together():
        yield
        return
    if (own := _number("RANK")) >= number:
        raise UserError(f"RANK must be below WORLD_SIZE={number}, not {own}: start with torchrun")
    if device.type == "cuda":
        local, there = _number("LOCAL_RANK"), torch.cuda.device_count()
        if local >= there:
            raise UserError(
                f"every process needs a GPU of its own, and there are {there}: "
                f"give torchrun --nproc-per-node={there}, or device=cpu"
            )
        torch.cuda.set_device(local)
    elif device.type != "cpu":
        raise UserError(f"{number} processes cannot share device={device.type}: give device=cpu")
    _told("MASTER_ADDR"), _number("MASTER_PORT")
    # Its first optimizer has torch import what then would keep the group for ever, and the group's
    # threads now and then end the process with SIGABRT.
    torch.optim.SGD([torch.zeros(1)])
    with _others_needed():
        distributed.init_process_group(timeout=TIMEOUT)
    try:
        yield
    except BaseException:
        if device.type == "cpu":  # NCCL might wait for the others
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


def together() -> bool:
    """Whether this process trains with others."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """This process among those of a distributed training; 0 if there is none."""
    return distributed.get_rank() if together() else 0


def own_share() -> Share:
    """What this process does of the work; alone, all."""
    return Share(rank(), distributed.get_world_size()) if together() else ALL


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo it has no type of its own
        reason = str(error).rpartition("] ")[2].partition(". ")[0][:100]
        raise UserError(
            f"lost another process of this training ({reason}): see what it said; the same "
            "command goes on"
        ) from error


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Have the process of rank 0 do the block before the others: they find what it downloaded."""
    if rank():
        with _others_needed():
            distributed.barrier()
    yield
    if together() and rank() == 0:
        with _others_needed():
            distributed.barrier()


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
    with _others_needed():
        distributed.broadcast(told, 0)
    return bool(told)


def told_by_first(value: T | None = None) -> T | None:
    """What the process of rank 0 gives; what can be pickled."""
    told = [value]
    if together():
        with _others_needed():
            distributed.broadcast_object_list(told, 0)
    return told[0]


def take_from_first(module: nn.Module) -> None:
    """Give `module`, in place, the weights and statistics that it has in the process of rank 0."""
    if together():
        with _others_needed():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


def average_over_ranks(
    weights: Sequence[Tensor], *figures: float | Tensor, count: float = 1
) -> list[Tensor]:
    """Average gradients and some figures over the processes of a distributed training, if any.

    Where they are sums over `count` images of this process, they become means over all images.
    """
    if not together():
        return [torch.as_tensor(figure) for figure in figures]
    numbers = [*figures, count]
    plain = [torch.as_tensor(f, dtype=torch.float32, device=weights[0].device) for f in numbers]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), torch.stack(plain)])
    sum_over_ranks(flat)
    flat /= flat[-1].clone()
    *parts, last = torch.split(flat, [*(g.numel() for g in gradients), len(plain)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return list(last[:-1])


def sum_over_ranks(values: Tensor) -> Tensor:
    """`values` itself, in place the sum over the processes."""
    with _others_needed():
        distributed.all_reduce(values)
    return values


def rows_of_ranks(values: Tensor) -> Tensor:
    """(n,), as many in every process -> (processes, n)."""
    rows = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    with _others_needed():
        distributed.all_gather(rows, values)
    return torch.stack(rows)


def joined_rows(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (N, ...) of all processes, in the order of their ranks, on the CPU as they are."""
    if not together():
        return first, second
    parts: list[tuple[Tensor, Tensor]] = [(first, second)] * distributed.get_world_size()
    with _others_needed():
        distributed.all_gather_object(parts, (first, second))
    firsts, seconds = zip(*parts, strict=True)
    return torch.cat(firsts), torch.cat(seconds)


def draw_apart(seed: int, epoch: int) -> None:
    """Have every process but the first drop other activations than the first does.

    Anew each epoch, so that a training that goes on needs the first one's generators alone.
    """
    if rank():
        (state,) = np.random.SeedSequence([seed, epoch, rank()]).generate_state(1, np.uint64)
        torch.default_generator.manual_seed(int(state))
        torch.cuda.manual_seed(int(state))  # does nothing without a GPU
