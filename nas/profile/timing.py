"""The latency of a network and of each of its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from rich.console import Console

from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.core.progress import ProgressBar
from nas.latency.timing import Backend, Timing


def time_network(
    arch: Arch, timer: Backend, rows: Sequence[dict[str, Any]], console: Console
) -> Timing:
    """The timing of the whole network; each of `rows` learns what it takes alone.

    Rows that compute the same are timed once.
    """
    parts = {(row.layers, row.residual): (row,) for row in operators(arch)}
    done = count(1)
    with ProgressBar(console, "latency", len(parts)) as bar:
        timings = timer.measure_rows(
            list(parts.values()), arch.padding, lambda i, timing: bar(next(done), "")
        )
    isolated = dict(zip(parts, timings, strict=True))
    for row, operator in zip(rows, operators(arch), strict=True):
        timing = isolated[(operator.layers, operator.residual)]
        row |= {"alone_ms": timing.median_ms, "noisy": timing.noisy}
    return timer.measure(arch)
