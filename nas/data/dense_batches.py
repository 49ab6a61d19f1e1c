"""Batches of pictures with boxes or masks, which move with the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from nas.data.annotated.masks import VOID
from nas.data.augment import generator
from nas.data.dense import DenseSplit

# Scale jitter: the part that is seen, as a share of the picture's side; over 1 there is a margin
# (SSD's zoom in and out, Liu et al. 2016, sections 2.2 and 3.6, with less margin as data are few)
SCALES = (0.5, 1.5)
MIN_VISIBLE = 0.3  # of a box's area; one of which less is seen is ignored, as SSD's overlaps
STRETCH = 4 / 3  # at most, of width against height (Inception)
LIGHT = 0.25  # brightness and contrast change by at most this part


class DenseBatches:
    """Batches of a split: images float (B, 3, S, S), normalised, and labels.

    Of boxes (B, M, BOX_COLUMNS) as in `DenseSplit`; of masks int64 (B, S, S), VOID where nothing
    counts.  An epoch depends on `seed` and its number only.  For training (`batch_size`) they are
    shuffled, and a last batch that is not full is left out unless it is the only one; `augment`
    mirrors (where `flip`), scales and moves pictures, and changes their light.
    """

    def __init__(
        self,
        split: DenseSplit,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device,
        batch_size: int | None = None,
        augment: bool = False,
        flip: bool = True,
        seed: int = 0,
    ) -> None:
        self.split, self.device, self.seed = split, device, seed
        self.shuffle, self.augment, self.flip = batch_size is not None, augment, flip
        self.batch_size = min(batch_size or 16, len(split))
        means, stds = torch.tensor([mean, std], device=device).view(2, 1, -1, 1, 1)
        self._scale, self._offset = 1 / (255 * stds), -means / stds

    def __len__(self) -> int:
        full, rest = divmod(len(self.split), self.batch_size)
        return full if full and (self.shuffle or not rest) else full + 1

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch, the same each time it is asked for."""
        draws, total = generator(self.seed, number), len(self.split)
        order = torch.randperm(total, generator=draws) if self.shuffle else torch.arange(total)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]
            images = self.split.images[rows].to(self.device).float()
            labels = self.split.labels[rows].to(self.device)
            if labels.ndim == 3 and labels.dtype == torch.uint8:
                labels = labels.long()
            if self.augment:
                images = lit(images, draws)
                images, labels = moved(images, labels, draws, self.flip)
            yield images.mul_(self._scale).add_(self._offset), labels


def lit(images: Tensor, draws: torch.Generator) -> Tensor:
    """Pictures (B, 3, S, S) from 0 to 255 with another brightness and contrast each."""
    contrast, light = 1 + LIGHT * (2 * torch.rand(2, len(images), 1, 1, 1, generator=draws) - 1)
    mean = images.mean((1, 2, 3), keepdim=True)
    out: Tensor = (images - mean) * contrast.to(images) + mean * light.to(images)
    return out.clamp_(0, 255)


def moved(
    images: Tensor, labels: Tensor, draws: torch.Generator, flip: bool
) -> tuple[Tensor, Tensor]:
    """Pictures (B, C, S, S) scaled, stretched, moved and maybe mirrored, with their labels.

    A margin is black, and void in a mask.
    """
    number = len(images)
    scale, shape, down, across, mirror = torch.rand(5, number, generator=draws)
    low, high = map(math.log, SCALES)
    span = torch.exp(low + (high - low) * scale)
    ratio = torch.exp((shape - 0.5) * math.log(STRETCH))
    width, height = span * ratio, span / ratio
    left, top = across * (1 - width), down * (1 - height)  # of what is seen, in parts
    mirrored = (mirror < 0.5) & flip
    theta = torch.zeros(number, 2, 3)
    theta[:, 0, 0] = torch.where(mirrored, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2], theta[:, 1, 2] = 2 * left + width - 1, 2 * top + height - 1
    grid = affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    seen = grid_sample(images, grid, align_corners=False)
    if labels.is_floating_point():
        window = torch.stack((left, top, width, height), 1).to(labels.device)
        return seen, moved_boxes(labels, window, mirrored.to(labels.device))
    shifted = (labels + 1).where(labels != VOID, 0)[:, None].float()  # 0: void, and the margin
    mask = grid_sample(shifted, grid, mode="nearest", align_corners=False)[:, 0].long()
    return seen, torch.where(mask == 0, VOID, mask - 1)


def moved_boxes(boxes: Tensor, window: Tensor, mirrored: Tensor) -> Tensor:
    """Boxes (B, M, BOX_COLUMNS) in the window (B, 4) that is seen: left, top, width, height.

    One that is out of sight is taken out, one of which little is seen is ignored.
    """
    corner, span = window[:, None, :2], window[:, None, 2:]
    first, last = (boxes[..., :2] - corner) / span, (boxes[..., 2:4] - corner) / span
    area = (last - first).prod(-1)
    first, last = first.clamp(0, 1), last.clamp(0, 1)
    seen = (last - first).prod(-1)
    left, right = first[..., 0], last[..., 0]
    turned = mirrored[:, None]
    left, right = torch.where(turned, 1 - right, left), torch.where(turned, 1 - left, right)
    out = torch.stack((left, first[..., 1], right, last[..., 1], *boxes[..., 4:].unbind(-1)), -1)
    out[..., 5] = torch.maximum(out[..., 5], (seen < MIN_VISIBLE * area).to(out))
    return out * (seen > 0)[..., None]
