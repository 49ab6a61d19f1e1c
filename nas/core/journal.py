"""Journals: a JSON line an entry, so that whatever is killed goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


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
