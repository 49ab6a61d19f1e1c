"""What every judge says of a network, whatever it did to find out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import torch

from nas.core.errors import UserError
from nas.training.evaluation import Score

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A judge's opinion of one network."""

    value: float  # higher is better; its unit is the judge's own
    standard_error: float  # of the value; NaN where the judge cannot know it
    seconds: float  # that the judgement took
    fidelity: str  # how it was come by, in a word or two: "2 epochs", "supernet", "naswot"
    val: Score | None = None  # on the validation images, where it saw some
    test: Score | None = None  # on images that no decision sees, where that was asked for
    rungs: Mapping[int, float] = field(default_factory=dict)  # values on the way, by epochs done
    threshold: float | None = None  # that the last rung missed, where a training stopped early
    float_val: Score | None = None  # in float32, where the others are of 8 bits
    test_correct: str = ""  # which test images it answers right (nas.training.evaluation.packed)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no estimate, in one line."""

    reason: str


def call_safely(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Failure:
    """What the function returns, or a Failure with whatever it raised, in one line."""
    try:
        return function(*args, **kwargs)
    except (UserError, torch.AcceleratorError):
        raise  # the user's to mend, or a GPU that this process can use no more: all would fail
    except Exception as error:
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {text}"[:300])
