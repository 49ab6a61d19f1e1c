"""What the rows of a network cost: by the run's latency table, where it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.lookup import Lookup
from nas.latency.store import saved_table
from nas.latency.table import LatencyTable
from nas.profile.table import table_rows
from nas.report.kept_run import KeptRun

AGREES = 0.01  # of a network's latency in the run's tables, and of the sum of its rows
# Columns of `rows_of`, as nas.profile prints them; pixels of the input's side; ms by the table.
COLUMNS = ("place", "operator", "kernel", "first_kernel", "expand", "width", "se", "act", "stride",
           "residual", "macs", "params", "side", "ms")  # fmt: skip

Table = LatencyTable | Lookup


def tables_of(run: KeptRun) -> list[Table]:
    """The latency tables that may be the run's, from its settings and the folder beside it."""
    name, latency = run.config.get("latency_table"), run.config.get("latency") or {}
    found: list[Table | None] = []
    for parent in (run.folder.resolve().parent.parent, run.folder.resolve().parent):
        if name:
            found.append(_read(saved_table, parent / "latency" / name))
        found.append(_lookup(parent / "latency" / "table.csv", None))
    if isinstance(path := latency.get("path"), str):
        found.append(_lookup(Path(path), latency.get("device")))
    return [table for table in found if table is not None]


def _lookup(path: Path, device: str | None) -> Table | None:
    return _read(lambda p: Lookup(str(p), device), path) if path.is_file() else None


def _read(read: Callable[[Path], Table | None], place: Path) -> Table | None:
    try:
        return read(place)
    except UserError:
        return None  # the page says that shares are by multiply-adds then


def rows_of(arch: Arch, latency_ms: float, tables: list[Table]) -> tuple[list[list[Any]], float]:
    """The network's rows by COLUMNS, and the milliseconds of a network beside its rows.

    `ms` is None, and the constant NaN, where no table gives the `latency_ms` that the run has: a
    table of another device would say something else.
    """
    times, constant = next(
        (found for table in tables if (found := _times(arch, latency_ms, table))),
        ([None] * len(operators(arch)), float("nan")),
    )
    rows = []
    for row, ms in zip(table_rows(arch), times, strict=True):
        known = row | {"side": row["input"][0], "ms": ms}
        rows.append([known[column] for column in COLUMNS])
    return rows, constant


def _times(arch: Arch, latency_ms: float, table: Table) -> tuple[list[Any], float] | None:
    """The parts of the whole's latency, each row's and the constant: in proportion to the sum's."""
    try:
        times = [table.row_ms(row, arch.resolution) for row in operators(arch)]
    except (UserError, KeyError):  # a block that the table does not know
        return None
    whole = float(table.whole_ms(np.array(sum(times))))
    if not abs(whole - latency_ms) <= AGREES * latency_ms:
        return None
    parts = [*times, table.overhead_ms]
    *times, constant = (whole / sum(parts) * ms for ms in parts)
    return times, constant
