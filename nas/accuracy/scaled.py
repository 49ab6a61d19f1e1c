"""Accuracy of the members of a family by training each at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nas.accuracy.pool import part_done
from nas.accuracy.scratch import Judgement, scored_at_once
from nas.arch import Arch
from nas.data import Batches, ImageData
from nas.device import resolve_device
from nas.network import build
from nas.scoring import evaluate
from nas.training import Budget, train


@dataclass(frozen=True)
class Resized:
    """Batches whose images are resized to `side` pixels after augmentation.

    Bicubic with antialiasing, which the EfficientNet code resizes with.
    """

    batches: Batches
    side: int

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch: images (B, C, side, side), labels (B,)."""
        for images, labels in self.batches.epoch(number):
            if images.shape[-1] != self.side:
                size = (self.side, self.side)
                images = interpolate(images, size, mode="bicubic", antialias=True)  # (B, C, s, s)
            yield images, labels


def batches_for(
    data: ImageData, split: str, side: int, *, batch_size: int | None = None, augment: bool = False,
    mean: Sequence[float] = (), std: Sequence[float] = (), device: torch.device, seed: int,
) -> Resized:  # fmt: skip
    """Batches of a split at `side` pixels: for training, shuffled, where a `batch_size` is given.

    `mean` and `std` take the place of the data's own.
    """
    found = Batches(
        getattr(data, split), mean or data.mean, std or data.std,
        batch_size=batch_size or scored_at_once(side), device=device, seed=seed, flip=data.flip,
        augment=augment, shuffle=batch_size is not None,
    )  # fmt: skip
    return Resized(found, side)


@dataclass(frozen=True)
class ScaledScratch:
    """Train with the given epochs and seed, then score: `judge(arch, epochs, seed)`.

    Images are kept once, at their own size, and resized to `arch.resolution` batch by batch.
    Networks that get one seed begin from the same weights' seed and see the same order of images.
    Without `test` they are scored on the validation images only.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"
    test: bool = True

    @classmethod
    def open(
        cls, load: Callable[[], ImageData], budget: Budget, device: str, test: bool = True
    ) -> ScaledScratch:
        """A judge on the data that `load()` gives (for worker processes, which load their own)."""
        return cls(load(), budget, device, test)

    def __call__(self, arch: Arch, epochs: int, seed: int) -> Judgement:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails."""
        budget, device = replace(self.budget, epochs=epochs), resolve_device(self.device)

        batches = partial(batches_for, self.data, side=arch.resolution, device=device, seed=seed)
        net = build(arch, seed=seed)
        training = batches("train", batch_size=budget.batch_size, augment=budget.augment)
        history = train(net, training, budget, device=device, seed=seed, progress=part_done)
        val = evaluate(net, batches("val"), device=device)
        test = evaluate(net, batches("test"), device=device) if self.test else None
        return Judgement(val, test, history.seconds, f"{epochs} epochs")
