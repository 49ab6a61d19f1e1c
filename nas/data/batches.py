"""Batches of a split at any resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nas.data.augment import Batches
from nas.data.dataset import ImageData
from nas.data.share import ALL, Share
from nas.data.splits import Split


@dataclass(frozen=True)
class Resized:
    """Batches resized to `side` pixels after augmentation, bicubic as in EfficientNet's code."""

    batches: Batches
    side: int

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch: images (B, C, side, side), labels (B,)."""
        size = (self.side, self.side)
        for images, labels in self.batches.epoch(number):
            if images.shape[2:] != size:
                whole = images.contiguous()  # channels last rounds differently
                images = interpolate(whole, size, mode="bicubic", antialias=True)
            yield images, labels


def batches_for(
    data: ImageData,
    split: str | Split,
    side: int,
    *,
    device: torch.device,
    seed: int = 0,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    augment: bool = False,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    share: Share = ALL,
) -> Resized:
    """Batches of images of `data` at `side` pixels.

    Without a `batch_size` as many as are scored at once; with one, for training, shuffled unless
    `shuffle` says otherwise.  `mean` and `std` replace the data's own.  `share`: as for Batches.
    """
    batches = Batches(
        getattr(data, split) if isinstance(split, str) else split,
        mean or data.mean,
        std or data.std,
        batch_size=batch_size or eval_batch_size(side),
        device=device,
        augment=augment,
        shuffle=batch_size is not None if shuffle is None else shuffle,
        flip=data.flip,
        seed=seed,
        share=share,
    )
    return Resized(batches, side)


def eval_batch_size(side: int) -> int:
    """Images scored at once: MobileNetV2 needs about 12 MB for each at 224 pixels."""
    return max(16, min(500, 400_000 // side**2))
