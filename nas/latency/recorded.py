"""Latencies measured earlier, read from a file: the same seed then gives the same trials."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nas.arch import Arch, reading_form
from nas.blocks import network_id
from nas.errors import UserError
from nas.latency.measure import Timing


@dataclass(frozen=True, slots=True)
class Recorded:
    """The CSV at `path` has the columns id (`nas.blocks.network_id`) and latency_ms, as every
    run's latencies.csv does.  Rows without a latency are passed over (trials that
    were not measured); of several rows for one network the last counts.
    Raises UserError for a file that cannot be read so.
    """

    path: str
    latencies: dict[str, float] = field(init=False, repr=False, compare=False)
    name: ClassVar[str] = "recorded"

    def __post_init__(self) -> None:
        object.__setattr__(self, "latencies", read_latencies(Path(self.path)))

    def measure(self, arch: Arch) -> Timing:
        """The recorded time of `arch`; UserError where there is none."""
        key = network_id(arch)
        if key not in self.latencies:
            raise UserError(
                f"{self.path} has no latency for the network {key} ({reading_form(arch)}) among "
                f"its {len(self.latencies)}; measure it, or search with what was recorded"
            )
        ms = self.latencies[key]
        return Timing(ms, 0.0, ms, ms, runs=0, noisy=False)

    def measure_many(self, archs: Sequence[Arch]) -> list[Timing]:
        """As `measure`, for each of `archs` in order."""
        return [self.measure(arch) for arch in archs]

    def describe(self) -> dict[str, Any]:
        """The file and how many networks it knows."""
        return {"backend": self.name, "path": self.path, "networks": len(self.latencies)}


def read_latencies(path: Path) -> dict[str, float]:
    """Milliseconds by network id; UserError names the line that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"id", "latency_ms"} - set(rows.fieldnames or ())
            if missing:
                raise UserError(f"{path} lacks the column {' and '.join(sorted(missing))}")
            return {
                row["id"]: _milliseconds(row["latency_ms"], f"{path} line {rows.line_num}")
                for row in rows
                if row["latency_ms"]
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a CSV file"
        raise UserError(f"cannot read the latencies {path}: {reason}") from None


def _milliseconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{where}: latency_ms must be a number above 0, not {text!r}")
    return value
