"""Timings as they are taken, a JSON line each, so that a killed measurement goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.arch.layers import Operator
from nas.core.journal import append_entry, read_entries
from nas.latency.timing import Backend, Timing

Part = tuple[Operator, ...]
Told = Callable[[int, str], None]  # (parts timed so far, what is being timed)


class TimingJournal:
    """Timings as they are taken, a JSON line each, so that a killed measurement goes on."""

    def __init__(self, path: Path, backend: Backend, padding: str) -> None:
        self.path, self.backend, self.padding = path, backend, padding
        self.told: Told = lambda done, what: None
        self.known: dict[str, Timing] = {}
        self.seconds: dict[str, float] = {}  # that each took, warm-up and repeats included
        for entry in read_entries(path):
            self._know(entry)

    def _know(self, entry: Mapping[str, Any]) -> None:
        """Keep what the entry says, if it says something."""
        try:
            timing, seconds = Timing(**entry["timing"]), float(entry["seconds"])
        except (ValueError, TypeError, KeyError):
            return
        if timing.median_ms > 0:
            self._keep(str(entry["key"]), timing, seconds)

    def _keep(self, key: str, timing: Timing, seconds: float) -> None:
        self.known[key] = timing
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def timed(self, parts: Mapping[str, Part], what: str) -> list[Timing]:
        """The timing of each part by its key; what is not known yet is measured and written."""
        missing = [key for key in parts if key not in self.known]
        self.told(len(self.known), what)
        if missing:
            last = time.perf_counter()

            def keep(i: int, timing: Timing) -> None:
                nonlocal last
                now, key = time.perf_counter(), missing[i]
                self._keep(key, timing, now - last)
                append_entry(
                    self.path, {"key": key, "seconds": now - last, "timing": asdict(timing)}
                )
                last = now
                self.told(len(self.known), what)

            self.backend.measure_rows([parts[key] for key in missing], self.padding, keep)
        return [self.known[key] for key in parts]


def part_key(rows: Sequence[Operator]) -> str:
    """12 hex digits of what the rows compute."""
    text = repr([(row.layers, row.residual) for row in rows])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
