"""What every judge answers, whatever it did to find out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's opinion of one network.

    value            higher is better; its unit is the judge's own.
    standard_error   of the value; NaN where the judge cannot know it.
    seconds          that the judgement took.
    fidelity         how it was come by, in a word or two: "2 epochs", "supernet", "naswot".
    """

    value: float
    standard_error: float
    seconds: float
    fidelity: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """A training that ended at a rung, too unlikely to reach the front.

    rungs            value on the validation images by epochs done, up to where it ended.
    floor            the least value with which it would have gone on.
    epochs           of the whole training.
    """

    rungs: dict[int, float]
    floor: float
    epochs: int
    standard_error: float
    seconds: float
