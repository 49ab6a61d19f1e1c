"""What `nas.train` is asked for, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.arch.serialization import is_file
from nas.core.checks import check_bool, check_whole
from nas.core.errors import UserError
from nas.network.device import resolve_device
from search_spaces.lookup import PUBLISHED


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range and what contradicts refused."""
    settings["resolution"] = check_whole(
        "resolution", settings["resolution"], 1, 8192, optional=True
    )
    settings["seed"] = check_whole("seed", settings["seed"], 0)
    check_bool("measure", settings["measure"])
    resolve_device(settings["device"])
    arch, choice = settings["arch"], settings["choices"]["weights"]
    if arch is not None and not is_file(arch):
        _ = PUBLISHED[arch]
    elif choice == "pretrained":
        raise UserError(
            f"weights=pretrained is for a published network, not for arch={arch}: name one "
            "(arch=mobilenet_v2), or give weights=file weights.path=..."
        )
    path = settings["weights"]["path"]
    if path is not None and choice == "none":
        raise UserError(f"weights.path={path} needs weights=file (or pretrained): give that too")
    there = isinstance(path, str) and Path(path).expanduser().is_file()
    if (choice == "file" or path is not None) and not there:
        raise UserError(f"weights.path={path} is no file: give a .pth, .pt or .safetensors")
    return settings
