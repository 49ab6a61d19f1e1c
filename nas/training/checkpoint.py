"""One file from which a training goes on: whole or not there, and of that very training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from nas.core.errors import UserError
from nas.core.files import write_bytes
from nas.network.weight_files import UNREADABLE, load_checked


def write(path: Path, state: dict[str, Any]) -> None:
    """Write the state, plain values and tensors."""
    torch.save(state, data := io.BytesIO())
    write_bytes(path, data.getvalue())


def read(path: Path, what: str, settings: str, device: torch.device) -> dict[str, Any]:
    """The state at `path`, whose entry "settings" is `settings`.

    Raises UserError, which calls it `what`, where it cannot be read or began with other settings.
    """
    try:
        state: dict[str, Any] = load_checked(path, device)
        began = state["settings"]
    except UNREADABLE as error:
        reason = f"cannot read the {what} in {path} ({type(error).__name__})"
        raise UserError(f"{reason}: remove the file to train anew") from None
    if began != settings:
        raise UserError(
            f"{path} holds a {what} that began with other settings (network or space, seed, data, "
            "budget, limits): give those, or remove the file to train anew"
        )
    return state
