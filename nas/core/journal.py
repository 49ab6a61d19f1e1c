"""Journals: a JSON line an entry, so that whatever is killed goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

Entry = dict[str, Any]
KeyOf = Callable[[Entry], Hashable]


class KeyedJournal:
    """Entries by key, each written as soon as it is known; of one key the last counts.

    `key_of` gives the key of an entry; entries for which it raises KeyError, TypeError or
    ValueError say nothing.  `merge(earlier, later)` makes one of two entries of a key.
    """

    def __init__(
        self,
        path: Path,
        key_of: KeyOf = itemgetter("key"),
        merge: Callable[[Entry, Entry], Entry] = lambda earlier, later: later,
    ) -> None:
        self.path, self.key_of, self.merge = path, key_of, merge
        self.entries: dict[Hashable, Entry] = {}
        for entry in read_entries(path):
            with suppress(KeyError, TypeError, ValueError):
                self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        key = self.key_of(entry)
        known = self.entries.get(key)
        self.entries[key] = entry if known is None else self.merge(known, entry)

    def __contains__(self, key: Hashable) -> bool:
        return key in self.entries

    def __getitem__(self, key: Hashable) -> dict[str, Any]:
        return self.entries[key]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry, in memory and in the file."""
        known = to_plain(dict(entry))
        append_entry(self.path, known)
        self._keep(known)


def read_entries(path: str | Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; a line that is cut or damaged is as if it were not there."""
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def append_entry(path: str | Path, entry: Mapping[str, Any]) -> None:
    """Add an entry: a line of its own even after one that was cut, in one write."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("\n" * (file.tell() > 0) + json.dumps(entry))


def to_plain(value: Any) -> Any:
    """`value` for JSON, which knows neither NaN (None here) nor NumPy."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(child) for key, child in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
