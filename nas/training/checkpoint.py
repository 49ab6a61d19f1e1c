"""One file from which a training goes on: whole or not there, and of that very training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from nas.core.errors import UserError
from nas.core.files import write_bytes
from nas.network.weight_files import UNREADABLE, check_sums


def write(path: Path, state: dict[str, Any]) -> None:
    """Write the state, plain values and tensors."""
    torch.save(state, data := io.BytesIO())
    write_bytes(path, data.getvalue())


def read(
    path: Path, what: str, settings: str, device: torch.device, network: str = ""
) -> dict[str, Any]:
    """The state at `path`, whose entries "settings" and "network" are these; old ones lack it.

    Raises UserError, which calls it `what`, where it cannot be read or began with others.
    """
    try:
        check_sums(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        began = state["settings"]
    except UNREADABLE as error:
        reason = f"cannot read the {what} in {path} ({type(error).__name__})"
        raise UserError(f"{reason}: remove the file to train anew") from None
    if began != settings or state.get("network", network) != network:
        raise UserError(
            f"{path} holds a {what} that began with other settings (network or space, seed, number "
            "of batches, budget, limits): give those, or remove the file to train anew"
        )
    return state
