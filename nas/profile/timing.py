"""The latency of a network and of each of its rows alone."""

from __future__ import annotations

from itertools import count
from typing import Any

from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.core.progress import ProgressBar
from nas.latency.timing import Timing


def time_network(arch: Arch, timer: Any, rows: list[dict[str, Any]], console: Console) -> Timing:
    """The timing of the whole network; each of `rows` learns what it takes alone."""
    parts = {(row.layers, row.residual): (row,) for row in operators(arch)}
    with ProgressBar(console, "latency", len(parts), 0) as live:
        done = count(1)
        found = timer.measure_rows(
            list(parts.values()), arch.padding, lambda i, timing: live(next(done), "")
        )
    alone = dict(zip(parts, found, strict=True))
    for row, operator in zip(rows, operators(arch), strict=True):
        timing = alone[(operator.layers, operator.residual)]
        row |= {"alone_ms": timing.median_ms, "noisy": timing.noisy}
    whole: Timing = timer.measure(arch)
    return whole
