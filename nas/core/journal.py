"""Journals: a JSON line an entry, so that whatever is killed goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

Entry = dict[str, Any]


class KeyedJournal:
    """Entries by key, each written as soon as it is known.

    Entries for which `key_of` raises KeyError, TypeError or ValueError say nothing.
    `merge(earlier, later)` makes one of two entries of a key.
    """

    def __init__(
        self,
        path: Path,
        key_of: Callable[[Entry], Hashable] = itemgetter("key"),
        merge: Callable[[Entry, Entry], Entry] = lambda earlier, later: later,
    ) -> None:
        self.path, self.key_of, self.merge = path, key_of, merge
        self.entries: dict[Hashable, Entry] = {}
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.splitlines():
            # a line that is cut or damaged is as if it were not there
            with suppress(KeyError, TypeError, ValueError):
                self._keep(json.loads(line))

    def _keep(self, entry: Entry) -> None:
        key = self.key_of(entry)
        known = self.entries.get(key)
        self.entries[key] = entry if known is None else self.merge(known, entry)

    def __contains__(self, key: Hashable) -> bool:
        return key in self.entries

    def __getitem__(self, key: Hashable) -> Entry:
        return self.entries[key]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry, in memory and in the file."""
        known = to_plain(entry)
        with self.path.open("a", encoding="utf-8") as file:
            # a line of its own even after one that was cut, in one write
            file.write("\n" * (file.tell() > 0) + json.dumps(known))
        self._keep(known)


def to_plain(value: Any) -> Any:
    """`value` for JSON, which knows neither NaN (None here) nor NumPy."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(child) for key, child in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
