"""A baseline that rounds finely, and judges of its networks whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.estimate import Estimate, Failure
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.fit import fit_scaling
from nas.scale.fit.grid import effective
from nas.scale.fit.result import Fit
from nas.training.evaluation import Score

BASE = Arch(
    stages=tuple(Stage(w, 5, 2, Block(expand=3)) for w in (80, 160, 320)),
    stem=Stem(80), head=Head(640), resolution=100, channels=1, classes=10,
)  # fmt: skip
SMALL = FitBudget(
    step=0.1, points=18, rungs=((2, 1), (3, 1)), confirm_epochs=4, confirm_seeds=3,
    resamples=200,
)  # fmt: skip


def macs(archs: Sequence[Arch]) -> np.ndarray:
    return np.array([cost(arch).macs for arch in archs], float)


def bowl(arch: Arch) -> float:
    """Log loss: convex in the logarithms, with an optimum between the axes."""
    x = effective(BASE, arch)
    slopes, curves = np.array([-0.45, -0.60, -0.45]), np.array([0.60, 0.60, 1.80])
    return float(slopes @ x + 0.5 * (curves * x * x).sum())


def flat(arch: Arch) -> float:
    """Log loss: whatever costs as much is as good."""
    return -0.2 * math.log(cost(arch).macs / cost(BASE).macs)


def answer(loss: float, epochs: int) -> Estimate:
    cross_entropy = math.exp(loss) * epochs**-0.3
    score = Score(1 - 0.3 * cross_entropy, 0.01, cross_entropy, 0.01, 2000)
    return Estimate(-cross_entropy, 0.01, 1.0, f"{epochs} epochs", val=score, test=score)


@dataclass
class Judge:
    """Trains nothing; counts what it is asked, fails for some, is killed after others."""

    truth: Callable[[Arch], float] = bowl
    noise: float = 0.01
    luck: int = 0
    killed_after: float = math.inf
    fails_every: int = 0
    asked: int = 0

    def __call__(self, wanted: Sequence[tuple[Arch, int, int]]) -> Iterator[tuple[int, Any]]:
        for i in reversed(range(len(wanted))):  # as they come, in no order
            arch, epochs, seed = wanted[i]
            if self.asked >= self.killed_after:
                raise KeyboardInterrupt
            self.asked += 1
            key = int(network_id(arch), 16) % 2**32
            own = np.random.default_rng([self.luck, key, epochs, seed]).normal()
            shared = np.random.default_rng([self.luck, seed]).normal()
            if self.fails_every and self.asked % self.fails_every == 0:
                yield i, Failure("TrainingFailed: the loss became nan")
            else:
                yield i, answer(self.truth(arch) + self.noise * own + 0.05 * shared, epochs)


def fitted(folder: Path, judge: Any, seed: int = 0, **settings: Any) -> Fit:
    given: dict[str, Any] = {
        "cost": macs, "budget": SMALL, "objective": "macs", "say": lambda words: None,
        "progress": lambda done, total, what: None,
    }  # fmt: skip
    return fit_scaling(BASE, judge=judge, folder=folder, seed=seed, **(given | settings))
