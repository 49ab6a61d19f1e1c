"""Latency as the sum of a table's blocks; `nas.latency.csv_table` describes the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.block_features import row_form, signature
from nas.latency.csv_table import COLUMNS, Line, of_device, parse_table, read_text
from nas.latency.curve import STRAIGHT, Curve, Floats
from nas.latency.timing import OnTiming, Timing, report_each

# lines by the columns they fill (without device) and by what stands there
_Index = dict[tuple[str, ...], dict[tuple[Any, ...], list[Line]]]


@dataclass(frozen=True, slots=True)
class Lookup:
    """The latency of a network by the table at `path`: its rows' times and a constant, summed.

    device       which one's lines are read, of a file of several.
    overhead_ms  the constant, 0 where the table has none.
    curve        from the sum to what the whole network takes; where the table has none, the sum.
    Raises UserError, which names the line, for a file that cannot be read so.
    """

    path: str
    device: str | None = None
    overhead_ms: float = field(init=False, repr=False, compare=False)
    curve: Curve = field(init=False, repr=False, compare=False)
    digest: str = field(init=False, repr=False, compare=False)
    _index: _Index = field(init=False, repr=False, compare=False)
    _any_resolution: _Index = field(init=False, repr=False, compare=False)
    name: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        text = read_text(Path(self.path))
        lines = of_device(parse_table(text, self.path), self.device, self.path)
        rows = [line for line in lines if line.cells["op"] != "network"]
        constants = [line for line in lines if line.cells["op"] == "network"]
        network = self._agreed(constants, "the network") if constants else None
        derived = {
            "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
            "overhead_ms": network.ms if network else 0.0,
            "curve": network.cells.get("curve", STRAIGHT) if network else STRAIGHT,
            "_index": _indexed(rows, {"device"}),
            "_any_resolution": _indexed(rows, {"device", "resolution"}),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def measure(self, arch: Arch) -> Timing:
        """By the sum over the rows of `arch`; UserError for one that the table lacks, and for 0."""
        total = self._sum(operators(arch), arch.resolution, self.overhead_ms)
        ms = float(self.curve.whole_ms(np.array(total)))
        self.require_time(ms)
        return _timing(ms)

    def whole_ms(self, sums: Floats) -> Floats:
        """Milliseconds of whole networks, by the sums over their rows; any shape."""
        return self.curve.whole_ms(sums + self.overhead_ms)

    def sum_ms(self, whole: Floats) -> Floats:
        """The inverse of `whole_ms`."""
        return self.curve.sum_ms(whole) - self.overhead_ms

    def require_time(self, fastest_ms: float) -> None:
        """Raise UserError where a network takes no time, which only a wrong table says."""
        if fastest_ms <= 0:
            raise UserError(f"{self.path} says that a whole network takes 0 ms: give true times")

    def measure_many(
        self, archs: Sequence[Arch], on_timing: OnTiming | None = None
    ) -> list[Timing]:
        """As `measure`, for each of `archs` in order."""
        return report_each(map(self.measure, archs), on_timing)

    def measure_rows(
        self,
        parts: Sequence[Sequence[Operator]],
        padding: str = "symmetric",
        on_timing: OnTiming | None = None,
    ) -> list[Timing]:
        """The sum over the rows of each of `parts`, without the constant; `padding` does not count.

        A part that begins with the stem is of the resolution that goes in there; others match
        lines of any resolution.
        """
        sides = [rows[0].side if rows[0].is_stem else None for rows in parts]
        return report_each(map(_timing, map(self._sum, parts, sides)), on_timing)

    def row_ms(self, row: Operator, resolution: int | None = None) -> float:
        """The time of one row, in a network whose input has that side if it is known."""
        wanted = signature(row) | {"resolution": resolution}
        index = self._index if resolution else self._any_resolution
        matching = [
            line
            for columns, lines in index.items()
            for line in lines.get(tuple(wanted[column] for column in columns), ())
        ]
        if not matching:
            filled = {column for columns in index for column in columns}
            cells = " ".join(f"{key}={wanted[key]}" for key in COLUMNS if key in filled)
            raise UserError(
                f"{self.path} has no line for the block {row_form(row)}: looked for {cells}; "
                "add one to the table, or measure with latency=onnxruntime"
            )
        most = max(len(line.cells) for line in matching)
        fullest = [line for line in matching if len(line.cells) == most]
        return self._agreed(fullest, row_form(row)).ms

    def describe(self) -> dict[str, Any]:
        """As `identity`, with the number of lines and the constant."""
        lines = sum(len(same) for by in self._index.values() for same in by.values())
        return {**self.identity(), "lines": lines, "overhead_ms": self.overhead_ms}

    def identity(self) -> dict[str, Any]:
        """The file, its content's hash and the device."""
        return {
            "backend": self.name,
            "path": str(self.path),
            "sha256": self.digest,
            "device": self.device,
        }

    def _sum(self, rows: Iterable[Operator], resolution: int | None, total: float = 0.0) -> float:
        for row in rows:
            total += self.row_ms(row, resolution)
        return total

    def _agreed(self, lines: Sequence[Line], what: str) -> Line:
        first = lines[0]
        told = (first.ms, first.cells.get("curve"))
        if other := next((x for x in lines if (x.ms, x.cells.get("curve")) != told), None):
            raise UserError(
                f"{self.path} says two times for {what}: {first.ms:g} ms in line {first.number}, "
                f"{other.ms:g} ms in line {other.number}; remove one, or fill the cells in which "
                "they differ"
            )
        return first


def _timing(ms: float) -> Timing:
    return Timing(ms, 0.0, ms, ms, runs=0, noisy=False)


def _indexed(lines: Iterable[Line], without: set[str]) -> _Index:
    index: _Index = {}
    for line in lines:
        columns = tuple(key for key in COLUMNS if key in line.cells and key not in without)
        key = tuple(line.cells[column] for column in columns)
        index.setdefault(columns, {}).setdefault(key, []).append(line)
    return index
