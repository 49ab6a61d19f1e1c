"""Ranking the networks of a space by a supernet's weights, on images it was not trained on.

Networks that begin with the same rows share the work: each distinct beginning is computed once
per batch, which is exact because norms use the statistics of that batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.network.device import autocast, layout, resolve_precision, to_device, tune_malloc
from nas.supernet.supernet import Supernet
from nas.training.evaluation import Loader, name_failures

Losses = tuple[Tensor, Tensor]  # cross-entropy, whether the answer is right


@dataclass(eq=False)
class Tree:
    """Networks by their common beginnings; `ends` are those that have no more rows."""

    ends: list[int] = field(default_factory=list)
    next: dict[Operator, Tree] = field(default_factory=dict)

    @classmethod
    def of(cls, networks: Iterable[Sequence[Operator]]) -> Tree:
        """The tree of these networks, known by their positions."""
        root = cls()
        for index, rows in enumerate(networks):
            node = root
            for row in rows:
                node = node.next.setdefault(row, cls())
            node.ends.append(index)
        return root


def subnet_losses(
    supernet: Supernet,
    archs: Sequence[Arch],
    batches: Loader,
    *,
    device: torch.device,
    precision: str = "auto",
    threads: int = 1,
) -> Losses:
    """Cross-entropy (A, N), float64, and whether the answer is right (A, N), network by image.

    On the CPU and in the order of epoch 0, for `paired_difference`.  Norms use the statistics of
    each batch: several hundred images rank as well as recalibrated statistics do.  `threads`
    batches are computed at once on a CPU.
    """
    if device.type == "cpu":
        tune_malloc()
    to_device(supernet, device)
    tree = Tree.of(supernet.rows_of(arch) for arch in archs)
    dtype = resolve_precision(precision, device)

    def losses_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch[0].contiguous(memory_format=layout(device)), batch[1]
        found: dict[int, Tensor] = {}  # (2, B) each
        with torch.inference_mode(), autocast(device, dtype):
            for index, logits in _walk(supernet, tree, images):
                losses = F.cross_entropy(logits.float(), labels, reduction="none")
                found[index] = torch.stack((losses, (logits.argmax(1) == labels).float()))
            return torch.stack([found[i] for i in range(len(archs))], 1).cpu()  # a GPU waits once

    parts: list[Tensor] = []
    with name_failures("scoring"), side_by_side(threads, device) as run:
        waiting = batches.epoch(0)
        while together := list(islice(waiting, threads)):
            parts += run(losses_of, together)
    losses, right = torch.cat(parts, 2)  # (A, N) each
    return losses.double(), right.bool()


def _walk(supernet: Supernet, tree: Tree, x: Tensor) -> Iterator[tuple[int, Tensor]]:
    for index in tree.ends:
        yield index, x
    for row, rest in tree.next.items():
        yield from _walk(supernet, rest, supernet.row(row, x))


@contextmanager
def side_by_side(threads: int, device: torch.device) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` in so many threads, of one core each; the plain `map` for one, and on a GPU.

    There they would share one stream, and each would have cuDNN make its plans again.
    """
    if threads == 1 or device.type != "cpu":
        yield map
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)
