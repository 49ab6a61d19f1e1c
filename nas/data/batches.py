"""Batches of a split at any resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nas.data.augment import Batches
from nas.data.dataset import ImageData


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


def scored_at_once(side: int) -> int:
    """500 small images, fewer large ones: MobileNetV2 needs about 12 MB for each at 224 pixels."""
    return max(16, min(500, 400_000 // side**2))
