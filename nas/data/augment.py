"""Batches of a split on a device, cropped and flipped a whole batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, pad

from nas.data.share import ALL, Share
from nas.data.splits import Split

MIN_ENLARGED = 64  # pixels; of such images a part is enlarged, smaller ones are shifted
PAD_PART = 8  # a shift is at most the side over this: 4 pixels of 32, as ResNet's for CIFAR
MIN_AREA = 0.35  # of the part enlarged; MnasNet's and EfficientNet's .08 is for hundreds of epochs
MAX_RATIO = 4 / 3  # of the part's width to its height, or of height to width (Inception)
FREE_PART = 4  # a split is kept on a GPU when it takes less than this part of the free memory

# Of each split that lives: its images and labels on each device
_copies: WeakKeyDictionary[Split, dict[torch.device, tuple[torch.Tensor, torch.Tensor]]]
_copies = WeakKeyDictionary()


def fits_on(images: torch.Tensor, device: torch.device) -> bool:
    """Whether the images are to lie on the device."""
    return device.type != "cuda" or images.nbytes < torch.cuda.mem_get_info(device)[0] // FREE_PART


def images_on(split: Split, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the split on the device, copied there once; too many images stay."""
    copies = _copies.setdefault(split, {})
    if device not in copies:
        images = split.images.to(device if fits_on(split.images, device) else "cpu")
        copies[device] = images, split.labels.to(device)
    return copies[device]


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; a GPU is not waited for."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def generator(seed: int, epoch: int) -> torch.Generator:
    """The randomness of one epoch, on the CPU so that every device sees the same images."""
    (state,) = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


class Rows(NamedTuple):
    """Images of a batch of `number`: random numbers are drawn for all, for `own` they are used."""

    number: int
    own: slice = slice(None)


def shift(
    images: torch.Tensor, draws: torch.Generator, flip: bool, part: Rows | None = None
) -> torch.Tensor:
    """Each image (B, C, H, W) padded with black, cropped to its size again and maybe mirrored."""
    (number, own), side = part or Rows(len(images)), images.shape[-1]
    margin = side // PAD_PART
    corner = torch.randint(0, 2 * margin + 1, (2, number, 1), generator=draws)[:, own]
    steps = torch.arange(side)
    rows, columns = corner[0] + steps, corner[1] + steps  # (B, H), (B, W)
    if flip:
        mirrored = torch.rand(number, 1, generator=draws)[own] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = upload(torch.stack((rows, columns)), images.device)  # one copy for both
    padded = pad(images, (margin,) * 4).permute(0, 2, 3, 1)  # (B, H + 2m, W + 2m, C)
    shifted = padded[which, rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2)  # channels last in memory


def enlarge(
    images: torch.Tensor, draws: torch.Generator, flip: bool, part: Rows | None = None
) -> torch.Tensor:
    """A random part of each image (B, C, H, W), float, at the full size and maybe mirrored."""
    number, own = part or Rows(len(images))
    area, shape, down, across, mirror = torch.rand(5, number, generator=draws)[:, own]
    area = MIN_AREA + (1 - MIN_AREA) * area
    ratio = torch.exp((2 * shape - 1) * math.log(MAX_RATIO))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.where((mirror < 0.5) & flip, -width, width)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (2 * across - 1) * (1 - width)
    theta[:, 1, 2] = (2 * down - 1) * (1 - height)
    grid = affine_grid(upload(theta, images.device), list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


class Batches:
    """Batches of a split: images float (B, C, H, W), normalised, and labels int64 (B,).

    `mean` and `std` are those of the channels scaled to [0, 1].  An epoch depends on `seed` and
    its number only.  Shuffled, a last batch that is not full is left out (unless it is the only
    one).  `augment` shifts images below MIN_ENLARGED pixels, enlarges parts of larger ones, and
    mirrors half of them where `flip` is set.  `share` leaves some rows of every batch, as they are
    in the whole one, whose images `batch_size` counts.
    """

    def __init__(
        self,
        split: Split,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        batch_size: int = 128,
        device: str | torch.device = "cpu",
        augment: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        flip: bool = True,
        share: Share = ALL,
    ) -> None:
        assert min(batch_size, len(split)) > 0
        self.device = torch.device(device)
        self.images, self.labels = images_on(split, self.device)
        self.batch_size, self.seed, self.share = batch_size, seed, share
        self.augment, self.shuffle, self.flip = augment, shuffle, flip
        means, stds = torch.tensor([mean, std], device=self.device).view(2, 1, -1, 1, 1)
        self._scale, self._offset = 1 / (255 * stds), -means / stds

    def __len__(self) -> int:
        full, rest = divmod(len(self.labels), self.batch_size)
        return full if full and (self.shuffle or not rest) else full + 1

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of that epoch, the same each time it is asked for."""
        draws = generator(self.seed, number)
        total = len(self.labels)
        order = torch.randperm(total, generator=draws) if self.shuffle else torch.arange(total)
        of_images, of_labels = order.to(self.images.device), order.to(self.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            end = min(start + self.batch_size, total)
            part = slice(start + self.share.rank, end, self.share.processes)
            images = upload(self.images[of_images[part]], self.device)
            rows = Rows(end - start, self.share.rows)
            yield self._prepared(images, draws, rows), self.labels[of_labels[part]]

    def _prepared(self, images: torch.Tensor, draws: torch.Generator, rows: Rows) -> torch.Tensor:
        small = images.shape[-1] < MIN_ENLARGED
        if self.augment and small:
            images = shift(images, draws, self.flip, rows)
        floats = images.float().mul_(self._scale).add_(self._offset)
        if self.augment and not small:
            floats = enlarge(floats, draws, self.flip, rows)
        return floats
