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
    """The timing of the whole network; each of `rows` learns what it takes alone."""
    keys = [(row.layers, row.residual) for row in operators(arch)]
    parts = {key: [row] for key, row in zip(keys, operators(arch), strict=True)}  # equal rows once
    done = count(1)
    with ProgressBar(console, "latency", len(parts)) as bar:
        timings = timer.measure_rows(
            list(parts.values()), arch.padding, lambda i, timing: bar(next(done), "")
        )
    isolated = dict(zip(parts, timings, strict=True))
    for row, key in zip(rows, keys, strict=True):
        row |= {"alone_ms": isolated[key].median_ms, "noisy": isolated[key].noisy}
    return timer.measure(arch)
