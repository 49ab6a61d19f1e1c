"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write a file of UTF-8 whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_all(folder: Path, suffix: str, texts: Mapping[str, str]) -> None:
    """Write `texts` as the folder's only files with that suffix; they are by name, without it."""
    folder.mkdir(exist_ok=True)
    paths = {folder / f"{name}{suffix}": text for name, text in texts.items()}
    for path, text in paths.items():
        write_text(path, text)
    for stale in set(folder.glob(f"*{suffix}")) - paths.keys():
        stale.unlink()
