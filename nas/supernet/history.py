"""What a supernet's training did: its checks, its returns to a good state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """Where a training was: mean loss of the largest network since the last check, in nats.

    `agreement` is Kendall's tau between the probe networks' cross-entropies now and at the last
    check; NaN at the first one or without probe images.
    """

    step: int
    seconds: float
    loss: float
    agreement: float


@dataclass(frozen=True)
class Rollback:
    """A return to the last good state: at which step, why, with which part of the rate after."""

    step: int
    reason: str
    lr_scale: float


@dataclass
class SupernetHistory:
    """What a training did; `seconds` are of its clock, all its parts before a kill included."""

    steps: int = 0
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    returns: list[Rollback] = field(default_factory=list)
    settled: bool = False


def history_of(data: dict[str, Any]) -> SupernetHistory:
    """The inverse of dataclasses.asdict."""
    lists = {"checks": Check, "returns": Rollback}
    made = {key: [kind(**row) for row in data[key]] for key, kind in lists.items()}
    return SupernetHistory(**(data | made))
