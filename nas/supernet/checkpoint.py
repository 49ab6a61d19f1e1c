"""What a supernet's training leaves: its history, and one file to go on from."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas.errors import UserError


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
class Return:
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
    returns: list[Return] = field(default_factory=list)
    settled: bool = False


def history_of(data: dict[str, Any]) -> SupernetHistory:
    """The inverse of dataclasses.asdict."""
    lists = {"checks": Check, "returns": Return}
    made = {key: [kind(**row) for row in data[key]] for key, kind in lists.items()}
    return SupernetHistory(**(data | made))


def write(path: Path, state: dict[str, Any]) -> None:
    """Write the state, plain values and tensors, under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(state, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path, settings: str, device: torch.device) -> dict[str, Any]:
    """The state at `path`; UserError where it cannot be read or began with other settings."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        began = state["settings"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"cannot read the supernet in {path} ({type(error).__name__}): remove the file to "
            "train anew"
        ) from None
    if began != settings:
        raise UserError(
            f"{path} holds a supernet of another space, seed, budget or limits: give those it "
            "began with, or remove the file to train anew"
        )
    return state
