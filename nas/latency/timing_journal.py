"""Timings kept as they are taken, so that a killed measurement goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nas.arch.layers import Operator
from nas.core.journal import Entry, KeyedJournal
from nas.latency.timing import Backend, Timing

Part = tuple[Operator, ...]
OnProgress = Callable[[int, str], None]  # (parts timed so far, what is being timed)


class TimingJournal:
    """The timings of parts by key, and the seconds that each took in all."""

    def __init__(self, path: Path, backend: Backend, padding: str) -> None:
        self.backend, self.padding = backend, padding
        self.on_progress: OnProgress = lambda done, what: None
        self._journal = KeyedJournal(path, _key_of, _timed_again)
        self.known: dict[str, Timing] = {}
        self.seconds: dict[str, float] = {}
        for key in self._journal.entries:
            self._read(str(key))

    def _read(self, key: str) -> None:
        entry = self._journal[key]
        self.known[key], self.seconds[key] = Timing(**entry["timing"]), entry["seconds"]

    def measure(self, parts: Mapping[str, Part], what: str) -> list[Timing]:
        """The timing of each part by its key; what is not known yet is measured and kept."""
        missing = [key for key in parts if key not in self.known]
        self.on_progress(len(self.known), what)
        last = time.perf_counter()

        def keep(i: int, timing: Timing) -> None:
            nonlocal last
            now, key = time.perf_counter(), missing[i]
            self._journal.add({"key": key, "seconds": now - last, "timing": timing.to_dict()})
            self._read(key)
            last = now
            self.on_progress(len(self.known), what)

        if missing:
            self.backend.measure_rows([parts[key] for key in missing], self.padding, keep)
        return [self.known[key] for key in parts]


def _key_of(entry: Entry) -> str:
    if not (Timing(**entry["timing"]).median_ms > 0 and entry["seconds"] >= 0):
        raise ValueError("times must be above 0")
    return str(entry["key"])


def _timed_again(earlier: Entry, later: Entry) -> Entry:
    return {**later, "seconds": earlier["seconds"] + later["seconds"]}


def part_key(rows: Sequence[Operator]) -> str:
    """12 hex digits of what the rows compute."""
    text = repr([(row.layers, row.residual) for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
