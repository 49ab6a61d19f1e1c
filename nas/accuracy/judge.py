"""What a judge is, and what it is opened with.

    judge = make_judge(settings["accuracy"])     # checked: nothing is loaded or trained yet
    for i, estimate in judge.open(context).estimate(archs): ...

A judge of your own is a class with the members of `JudgeSettings`, whose fields are its settings,
and a file conf/accuracy/<name>.yaml that names the class as `_target_`.
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


class Judge(Protocol):
    """Says how accurate networks are; ready to be asked."""

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """An Estimate or a Failure of each of `archs`, as soon as it is known, in any order.

        `thresholds`, one for each network or none, are for judges that train every network.
        """


def one_by_one(judge: Callable[[Arch], Estimate], archs: Sequence[Arch]) -> Estimates:
    """What a judge of single networks says of each; one that fails costs no other."""
    return ((i, call_safely(judge, arch)) for i, arch in enumerate(archs))


@dataclass(frozen=True)
class JudgeContext:
    """What a search hands to a judge that is opened; each takes what it needs.

    space        whose networks will be asked for; `feasible` tells which of them, None for all.
    load         gives the images.
    train        trains networks from scratch, several at a time.
    label        the same, but each network once in the life of the run; None: `train`.
    draw         gives so many networks to be labelled; None: random ones, by the seed.
    checkpoint   a file from which a supernet's training goes on.
    progress     is told how far a supernet's training is.
    """

    space: Arch
    load: Callable[[], ImageData]
    device: str = "auto"
    seed: int = 0
    train: Judge | None = None
    label: Judge | None = None
    draw: Callable[[int], Sequence[Arch]] | None = None
    feasible: FeasibleMask | None = None
    checkpoint: Path | None = None
    progress: SupernetProgress | None = None


@runtime_checkable
class JudgeSettings(Protocol):
    """What conf/accuracy/*.yaml make: a judge that is not opened yet."""

    @property
    def trains_each(self) -> bool:
        """Whether every network that it is asked for is trained by itself."""
        return False

    def infeasible_score(self, num_classes: int) -> float:
        """What a sampler is told of a network that may not be judged: the value of guessing."""
        return -math.log(num_classes)  # of minus a cross-entropy in nats

    def open(self, context: JudgeContext) -> Judge:
        """The judge, ready to be asked; a supernet is trained now, labels too."""


def make_judge(component: Component) -> JudgeSettings:
    """The judge of a configuration; UserError where its settings are wrong."""
    return check_judge("accuracy", component.make())


def check_judge(name: str, value: Any) -> JudgeSettings:
    """`value` if it can be opened as a judge; UserError otherwise."""
    if not isinstance(value, JudgeSettings) or isinstance(value, type):
        raise UserError(
            f"{name} must be a judge, with trains_each, infeasible_score and open, not {value!r}"
        )
    return value
