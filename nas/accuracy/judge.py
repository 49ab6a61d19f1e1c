"""What a judge is, and what it is opened with.

    judge = make_judge(settings["accuracy"])     # checked: nothing is loaded or trained yet
    for i, estimate in judge.open(context).estimate(archs): ...

README.md beside this file tells how to write a judge of your own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from nas.accuracy.estimate import Estimate, Failure, call_safely
from nas.arch.arch import Arch
from nas.core.config import Component
from nas.core.errors import UserError
from nas.data.dataset import ImageData
from nas.supernet.sampling import FeasibleMask
from nas.supernet.training import SupernetProgress

Estimates = Iterator[tuple[int, Estimate | Failure]]  # (index of the network, what is said of it)
Thresholds = Mapping[int, float]  # by epochs done: the value below which a training stops
Load = Callable[[], ImageData]
Draw = Callable[[int], Sequence[Arch]]  # so many networks, or as many as there are


class Judge(Protocol):
    """Says how accurate networks are; ready to be asked."""

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """Of each network, as soon as it is known, in any order; as many `thresholds` or none."""


def one_by_one(judge: Callable[[Arch], Estimate], archs: Sequence[Arch]) -> Estimates:
    """For judges of single networks: one that fails costs no other."""
    return ((i, call_safely(judge, arch)) for i, arch in enumerate(archs))


@dataclass(frozen=True)
class JudgeContext:
    """What a search hands to a judge that is opened; each takes what it needs."""

    space: Arch  # whose networks will be asked for
    load: Load  # gives the images
    device: str = "auto"
    seed: int = 0
    train: Judge | None = None  # trains networks from scratch, several at a time
    label: Judge | None = None  # the same, each network once in the life of the run; None: `train`
    draw: Draw | None = None  # networks to label; None: random, by seed
    draw_near: Draw | None = None  # such that are as fast as the target; None: there is no target
    feasible: FeasibleMask | None = None  # which networks of the space; None: all
    checkpoint: Path | None = None  # from which a supernet's training goes on
    progress: SupernetProgress | None = None  # is told how far a supernet's training is


@runtime_checkable
class JudgeSettings(Protocol):
    """What conf/accuracy/*.yaml make: a judge that is not opened yet."""

    @property
    def trains_each(self) -> bool:
        """Whether it trains every network by itself."""
        return False

    def infeasible_score(self, num_classes: int) -> float:
        """What a sampler is told of a network that may not be judged: the value of guessing."""
        return -math.log(num_classes)  # of minus a cross-entropy in nats

    def open(self, context: JudgeContext) -> Judge:
        """The judge, ready to be asked; a supernet is trained now, labels too."""


def make_judge(component: Component) -> JudgeSettings:
    """The judge of a configuration; raises UserError."""
    return check_judge("accuracy", component.make())


def check_judge(name: str, value: Any) -> JudgeSettings:
    """`value` if it can be opened as a judge; UserError otherwise."""
    if not isinstance(value, JudgeSettings) or isinstance(value, type):
        raise UserError(
            f"{name} must be a judge, with trains_each, infeasible_score and open, not {value!r}"
        )
    return value
