"""A tiny space and tiny images that it learns in a second."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.data.augment import Batches
from nas.data.dataset import ImageData, Split
from nas.space.choices import fill, one_of, random_picks
from nas.supernet.supernet import Supernet
from nas.supernet.training import SupernetBudget
from nas.training.loop import Budget

CPU = torch.device("cpu")
SPACE = Arch(
    (
        Stage(8, one_of(1, 2), 1, Block(expand=one_of(1, 2), kernel=one_of(3, 5))),
        Stage(one_of(8, 16), one_of(0, 1, 2), 2, Block(expand=2, act=one_of("relu", "hswish"))),
    ),
    Stem(8, stride=1),
    Head(16),
    resolution=8,
    channels=2,
    classes=4,
)
TRAINING = Budget(epochs=3, batch_size=16, lr=0.05, warmup=0.1, precision="fp32")
BUDGET = SupernetBudget(TRAINING, checks=3, num_probes=6)
SHORT = replace(BUDGET, training=replace(TRAINING, epochs=1))


def split(number: int, seed: int) -> Split:
    """Noise with stripes down, stripes across, a chessboard or nothing on it: the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 4
    y, x = np.mgrid[:8, :8]
    patterns = np.stack([x % 2, y % 2, (x + y) % 2, 0 * x])
    images = rng.integers(0, 120, (number, 2, 8, 8)) + 100 * patterns[labels][:, None]
    return Split(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels))


PARTS = (split(96, 0), split(50, 1), split(8, 2))
DATA = ImageData("stripes", tuple("abcd"), *PARTS, (0.3, 0.3), (0.2, 0.2), flip=False)


def batches(part: Split = DATA.train, *, shuffle: bool = True, size: int = 16) -> Batches:
    return Batches(part, DATA.mean, DATA.std, batch_size=size, shuffle=shuffle)


def weights(supernet: Supernet) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in supernet.parameters()])


def archs(number: int = 8) -> list[Arch]:
    rng = random.Random(3)
    return [fill(SPACE, random_picks(SPACE, rng)) for _ in range(number)]
