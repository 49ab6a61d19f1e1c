"""What inheriting leaves in a run folder: weights of networks, replacements of blocks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import network_id
from nas.core.files import write_bytes
from nas.inheritance.replacements import Replacement, norm_of
from nas.network.device import to_device
from nas.network.modules import OperatorModule
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


def save_replacements(
    path: Path, rows: Mapping[Label, Operator | None], found: Sequence[Replacement]
) -> None:
    """Keep weights and score of one block's replacements, by the label of each row."""
    kept = {}
    for label, row in rows.items():
        one = next(r for r in found if (r.row and r.row.layers) == (row and row.layers))
        weights = one.module.state_dict() if one.module else {}
        tensors = {name: tensor.cpu().clone() for name, tensor in weights.items()}
        kept[label] = {"score": one.score, "weights": tensors}
    save_tensors(path, kept)


def load_replacements(
    folder: Path, space: Arch, side: int, device: torch.device
) -> dict[str, list[Replacement]]:
    """The replacements of every block by place, ready to answer on `device`."""
    norm, rows = norm_of(space), replacement_rows(space, side)
    table: dict[str, list[Replacement]] = {}
    for key, known in read_replacements(folder, space, side).items():
        found = table.setdefault(place_of(key), [])
        for label, kept in known.items():
            row, module = rows[key][label], None
            if row:
                module = OperatorModule(row, *norm).eval()
                module.load_state_dict(kept["weights"])
                to_device(module, device)
            found.append(Replacement(row, module, kept["score"]))
    return table
