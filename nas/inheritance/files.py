"""What inheriting leaves in a run folder: weights of networks, replacements of blocks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.files import write_bytes
from nas.space.choices import Label
from search_spaces.inherited import place_of, replacement_rows


def replacements_path(folder: Path, side: int, key: str) -> Path:
    """Where the replacements of the block of that choice are, for pictures of that side."""
    return folder / "replacements" / f"{side}-{place_of(key)}.pt"


def read_replacements(
    folder: Path, space: Arch, side: int
) -> dict[str, dict[Label, dict[str, Any]]]:
    """Weights and score of each replacement, by choice and label."""
    return {
        key: load_tensors(replacements_path(folder, side, key))
        for key in replacement_rows(space, side)
    }


def load_tensors(path: Path) -> Any:
    """What `save_tensors` wrote."""
    return torch.load(path, map_location="cpu", weights_only=True)


def save_tensors(path: Path, content: Any) -> None:
    """Tensors and plain values, whole or not at all."""
    torch.save(content, data := io.BytesIO())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data.getvalue())


def weights_path(folder: Path, arch: Arch, task: str) -> Path:
    """Where the weights are that a worker's `task` leaves."""
    return folder / "weights" / f"{network_id(arch)}-{task}.pt"
