"""What a supernet's training did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """Where a training was."""

    step: int
    seconds: float
    loss: float  # of the largest network, nats, mean since the last check
    agreement: float  # Kendall's tau of the probe networks' losses, then and now; NaN if unknown


@dataclass(frozen=True)
class Rollback:
    """A return to the last good state; `lr_scale` is the part of the learning rate after it."""

    step: int
    reason: str
    lr_scale: float


@dataclass
class SupernetHistory:
    """`seconds` are of the training's clock, the parts before a kill included."""

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
