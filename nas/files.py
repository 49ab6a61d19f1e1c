"""Files that are there whole or not at all, and logs of which a kill cuts one line at most."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


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


def logged(path: str | Path) -> Iterator[dict[str, Any]]:
    """The entries of a log; a line that is cut or damaged is as if it were not there."""
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def log(path: str | Path, entry: Mapping[str, Any]) -> None:
    """Add an entry: a line of its own even after one that was cut, in one write."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("\n" * (file.tell() > 0) + json.dumps(entry))
