"""Several networks side by side: what they cost, and how long they take, measured together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.figures import BLUE, GREY, Section, blank, figures_page
from nas.core.files import write_text
from nas.core.progress import open_console
from nas.core.run_folder import environment, folder_name, open_folder, write_json
from nas.latency.backends.command import Command
from nas.latency.backends.local import Local
from nas.latency.timing import Backend, Timing
from nas.latency.together import in_same_rounds, measure_together
from nas.profile.settings import ProfileSettings
from nas.profile.table import TABLE_WIDTH

Row = Mapping[str, Any]
HEAD = (
    *("network", "pixels", "MACs", "parameters", "activations", "memory", "latency", "IQR"),
    "MACs in a ms",
)


def compare(settings: ProfileSettings, networks: Mapping[str, Arch]) -> dict[str, Any]:
    """Print the networks side by side, write that, and return what profile.json holds."""
    timer = in_same_rounds(settings.latency.make(), len(networks))
    names = [folder_name(arch.name) for arch in networks.values()]
    folder = open_folder(Path(settings.results) / "profile" / folder_name("_".join(names)))
    console = open_console(TABLE_WIDTH)
    rows = [_row(name, arch) for name, arch in networks.items()]
    (folder / "profile.html").unlink(missing_ok=True)  # an earlier call's
    if settings.measure:
        timings = measure_together(timer, list(networks.values()), console)
        batch = getattr(timer, "batch", 1)
        pairs = zip(rows, timings, strict=True)
        rows = [row | _timed(row, timing, batch) for row, timing in pairs]
        comparison_page(folder / "profile.html", timer, rows)
    summary = {"latency": timer.name if settings.measure else None, "networks": rows}
    write_text(folder / "networks.csv", pd.DataFrame(rows).to_csv(index=False))
    write_json(folder / "profile.json", summary)
    write_json(folder / "environment.json", environment(latency=timer.describe()))
    print_comparison(console, rows)
    if settings.measure:
        console.print(f"latency   {describe_speeds(rows)} ({timer.name}{_together(timer)})")
    page = "profile.html " if settings.measure else ""
    console.print(f"wrote     {folder}/: {page}networks.csv profile.json environment.json")
    return summary


def _row(name: str, arch: Arch) -> dict[str, Any]:
    return {
        "name": name,
        "id": network_id(arch),
        "arch": arch_string(arch),
        "resolution": arch.resolution,
        **asdict(cost(arch)),
        "latency_ms": None,
    }


def _together(timer: Backend) -> str:
    return ", in the same rounds" if isinstance(timer, Local) else ""


def _timed(row: Row, timing: Timing, batch: int) -> dict[str, Any]:
    return {
        "latency_ms": timing.median_ms,
        "latency_iqr_ms": timing.iqr_ms,
        "latency_ci_low_ms": timing.ci_low_ms,
        "latency_ci_high_ms": timing.ci_high_ms,
        "noisy": timing.noisy,
        "macs_per_ms": batch * row["macs"] / timing.median_ms,
    }


def print_comparison(console: Console, rows: Sequence[Row]) -> None:
    """Print one line a network; the figures of latency where it was measured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    measured = rows[0]["latency_ms"] is not None
    for name in HEAD if measured else HEAD[:-3]:
        table.add_column(name, justify="left" if name == "network" else "right", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row), *(_latency_cells(row) if measured else ()))
    console.print(table)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["name"],
        str(row["resolution"]),
        f"{row['macs'] / 1e6:.4g} M",
        f"{row['params'] / 1e6:.4g} M",
        f"{row['activations'] / 1e6:.4g} M",
        f"{row['peak_memory_bytes'] / 1024:,.0f} KB",
    )


def _latency_cells(row: Row) -> tuple[str, ...]:
    noisy = " (noisy)" if row["noisy"] else ""
    return (
        f"{row['latency_ms']:.4g} ms{noisy}",
        f"{row['latency_iqr_ms']:.2g} ms",
        f"{row['macs_per_ms'] / 1e6:.3g} M",
    )


def describe_speeds(rows: Sequence[Row]) -> str:
    """Which network does the most multiply-adds in a millisecond, and which the fewest."""
    slow, *_, fast = sorted(rows, key=lambda row: float(row["macs_per_ms"]))
    ratio = fast["macs_per_ms"] / slow["macs_per_ms"]
    multiple = f"{ratio:.2f} times the multiply-adds of {slow['name']}"
    return f"{fast['name']} does {multiple} in the same time"


def comparison_page(path: Path, timer: Backend, rows: Sequence[Row]) -> None:
    """Write the picture of latency against multiply-adds, both logarithmic."""
    macs = np.array([row["macs"] / 1e6 for row in rows])
    ms = np.array([row["latency_ms"] for row in rows])
    figure = blank("multiply-adds (M)", "latency (ms)", log=True)
    margin = 1.2 * (macs.max() / macs.min()) ** 0.1  # for the names
    ends = np.array([macs.min() / margin, macs.max() * margin])
    even = np.exp(np.mean(np.log(ms / macs)))
    figure.add_scatter(
        x=ends.tolist(), y=(ends * even).tolist(), mode="lines", hoverinfo="skip",
        line={"color": GREY, "dash": "dash"}, name="latency in proportion to multiply-adds",
    )  # fmt: skip
    bars = {
        "array": [row["latency_ci_high_ms"] - row["latency_ms"] for row in rows],
        "arrayminus": [row["latency_ms"] - row["latency_ci_low_ms"] for row in rows],
    }
    figure.add_scatter(
        x=macs.tolist(), y=ms.tolist(), error_y={**bars, "thickness": 1}, mode="markers+text",
        marker={"color": BLUE, "size": 10}, name="networks", hoverinfo="text",
        text=[row["name"] for row in rows], hovertext=[_hover(row) for row in rows],
        textposition=["bottom center" if y < x * even else "top center"
                      for x, y in zip(macs, ms, strict=True)],
        cliponaxis=False,
    )  # fmt: skip
    shown = "; bars are 95 % intervals of the median" if isinstance(timer, Local) else ""
    shown = "; bars are the range of the runs" if isinstance(timer, Command) else shown
    words = (
        "A network below the line takes less time than its multiply-adds say, one above it more: "
        "multiply-adds leave out what memory costs. The line goes through the geometric mean of "
        f"all{shown}."
    )
    lead = [f"{describe_speeds(rows)}."]
    notes = [f"Latency by {timer.name} on one device{_together(timer)}."]
    section = Section("Latency against multiply-adds", words, figure)
    figures_page(path, f"{len(rows)} networks side by side", lead, [section], notes)


def _hover(row: Row) -> str:
    cells = zip(HEAD, (*_cells(row), *_latency_cells(row)), strict=True)
    return "<br>".join(f"{name}: {cell}" for name, cell in cells)
