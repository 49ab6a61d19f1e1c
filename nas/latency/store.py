"""Latency tables in folders: how one is found again, or built."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.core.files import write_text
from nas.core.progress import ProgressBar
from nas.core.run_folder import environment, lock_folder, open_folder, write_json
from nas.latency.block_features import signature
from nas.latency.build import build_table
from nas.latency.csv_table import curve_cell
from nas.latency.lookup import Lookup
from nas.latency.model import with_movements
from nas.latency.table import LatencyTable, MeasurementEffort
from nas.latency.timing import Backend, Timing
from nas.latency.timing_journal import TimingJournal
from nas.space.choices import OneOf
from nas.space.trellis.trellis import Trellis

# What no longer decides a table and is in the digests of all that there are, as conf/ has it.
ONCE = {"timeout_s": 60}
FORMAT = 1  # of what is saved, and of the counts behind it: tables of another are built anew


@dataclass(frozen=True)
class LatencySource:
    """Latencies by `source`, and by `device`, if there is one, outside the space of `trellis`."""

    source: LatencyTable | Lookup
    device: Backend | None
    trellis: Trellis

    @property
    def name(self) -> str:
        """As in summaries."""
        return f"{self.device.name} table" if self.device else self.source.name

    @cached_property
    def row_ms(self) -> NDArray[np.float64]:
        """(num_rows,): what each row of `trellis.rows` adds to a network's sum, evaluated once."""
        side: Any = self.trellis.space.resolution
        # a line for one resolution counts only where the space has no other
        resolution = 0 if isinstance(side, OneOf) else side
        return np.array([self.source.row_ms(row, resolution) for row in self.trellis.rows])

    def measure_many(self, archs: Sequence[Arch]) -> list[Timing]:
        """Timings of `archs`, in order; those of the table have no runs."""
        if self.device is None:
            return self.source.measure_many(archs)
        inside = [all(row in self.trellis for row in operators(arch)) for arch in archs]
        outside = [arch for arch, known in zip(archs, inside, strict=True) if not known]
        by_table = iter(self.source.measure_many(list(compress(archs, inside))))
        by_device = iter(self.device.measure_many(outside) if outside else [])
        return [next(by_table if known else by_device) for known in inside]

    def describe(self) -> dict[str, Any]:
        """The table, and the device that it is of."""
        device = {"device": self.device.describe()} if self.device else {}
        return {**self.source.describe(), **device}


def table_folder(
    results: str, label: str, space: Arch, device: Backend, effort: MeasurementEffort
) -> Path:
    """The folder of one table: equal space, device, settings and effort share it."""
    fields: dict[str, Any] = getattr(device, "__dataclass_fields__", {})
    decisive = [name for name, field in fields.items() if field.init and field.compare]
    settings = {name: value for name, value in ONCE.items() if name in fields}
    settings |= {name: getattr(device, name) for name in decisive}
    parts = [FORMAT, repr(space), device.identity(), settings, asdict(effort)]
    text = json.dumps(parts, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    side: Any = space.resolution
    sides = "-".join(map(str, side.options)) if isinstance(side, OneOf) else side
    return Path(str(results)) / "latency" / f"{label}-{sides}px-{device.name}-{digest}"


def saved_table(folder: Path) -> LatencyTable | None:
    """The table in `folder`; None where there is none yet."""
    path = folder / "table.json"
    if not path.exists():
        return None
    try:
        table = LatencyTable.from_json(json.loads(path.read_text(encoding="utf-8")))
        table.warnings()
        describe_validation(table)  # both need what is in it
        return table
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is damaged: delete it, and the table is built again") from None


def measure_table(
    trellis: Trellis, device: Backend, effort: MeasurementEffort, folder: Path, console: Console
) -> tuple[LatencyTable, list[dict[str, Any]]]:
    """As `build_table`, with the journal in `folder` and with progress."""
    total = min(effort.blocks, len(with_movements(trellis.rows)))
    total += effort.calibrate + effort.validate + min(effort.repeat, effort.validate)
    with lock_folder(open_folder(folder)):
        journal = TimingJournal(folder / "measured.jsonl", device, trellis.space.padding)
        with ProgressBar(console, "latency", total, len(journal.known)) as bar:
            journal.on_progress = bar
            try:
                return build_table(trellis, journal, effort)
            except KeyboardInterrupt:
                console.print(f"stopped   {len(journal.known)} timed; the same command goes on")
                raise


def write_table(
    folder: Path, latencies: LatencySource, table: LatencyTable, networks: list[dict[str, Any]]
) -> None:
    """Write all that is known of a new table; last table.json, by which it is found again."""
    rows = with_movements(latencies.trellis.rows)
    lines = [{**signature(row), "ms": table.row_ms(row)} for row in rows]
    network = {"op": "network", "ms": table.overhead_ms, **curve_cell(table.model.curve)}
    _write_csv(folder / "table.csv", [*lines, network])
    _write_csv(folder / "blocks.csv", [row | timing.to_dict() for row, timing in table.blocks])
    _write_csv(folder / "networks.csv", networks)
    made_with = environment(latency=latencies.device.describe() if latencies.device else None)
    write_json(folder / "environment.json", made_with)
    write_json(folder / "table.json", table.to_json())


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, pd.DataFrame(rows, dtype=object).to_csv(index=False))


def open_latencies(
    trellis: Trellis,
    device: Backend,
    effort: MeasurementEffort,
    folder: Path,
    console: Console,
    strict: bool = False,
    known: LatencyTable | None = None,
) -> LatencySource:
    """Latencies by `device`: a `Lookup` as it is, any other backend by the table in `folder`.

    A `known` table takes its place; else it is built first where it is missing.  Where it misses a
    bar, that is printed, or with `strict` a UserError; so is a `Lookup`, of which nobody knows.
    """
    if isinstance(device, Lookup):
        if strict:
            raise UserError(
                f"strict=true wants a tested table, and nothing says how wrong {device.path} is: "
                "leave strict=true out, or measure with latency=onnxruntime"
            )
        return LatencySource(device, None, trellis)
    if table := known or saved_table(folder):
        latencies = LatencySource(table, device, trellis)
    else:
        table, networks = measure_table(trellis, device, effort, folder, console)
        latencies = LatencySource(table, device, trellis)
        write_table(folder, latencies, table, networks)
    console.print(f"latency   {describe_validation(table)}")
    missed = table.warnings()
    if strict and missed:
        raise UserError(
            f"the table in {folder} is refused (strict=true): {'; '.join(missed)}; measure on a "
            "quieter machine (delete the folder first) or with more table.blocks="
        )
    for line in missed:
        console.print(f"warning   this table is not to be relied on: {line}")
    return latencies


def describe_validation(table: LatencyTable) -> str:
    """How the table was made, and how wrong it is."""
    v = table.validation
    spread = "" if math.isnan(v["run_to_run"]) else f" · run to run {v['run_to_run']:.1%}"

    def share(name: str) -> str:
        low, high = v["intervals"][name]
        return f"{v[name]:.0%} ({low:.0%} to {high:.0%})"

    low, high = (x or math.nan for x in v["intervals"]["mape"])
    return (
        f"{len(table.blocks)} of {table.num_keys:,} blocks in {table.seconds:.0f} s · "
        f"{v['num_networks']} unseen networks: MAPE {v['mape']:.1%} ({low:.1%} to {high:.1%}), "
        f"{share('within_5')} within 5 %, {share('within_10')} within 10 %, "
        f"Spearman {v['spearman']:.3f}, Kendall {v['kendall']:.2f}{spread}"
    )
