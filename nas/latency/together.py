"""Several networks timed in the same rounds, so that what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from nas.arch.arch import Arch
from nas.core.progress import ProgressBar
from nas.latency.backends.local import Local
from nas.latency.timing import Backend, Timing


def in_same_rounds(timer: Backend, number: int) -> Backend:
    """`timer`, with `number` networks timed in the same rounds, where it has rounds."""
    if not isinstance(timer, Local):
        return timer
    return replace(timer, together=max(number, timer.together))


def measure_together(timer: Backend, archs: Sequence[Arch], console: Console) -> list[Timing]:
    """The time of each of `archs`, in order, with progress."""
    timed: set[int] = set()  # some are timed again
    with ProgressBar(console, "latency", len(archs)) as bar:

        def on_timing(i: int, timing: Timing) -> None:
            timed.add(i)
            bar(len(timed), "networks")

        return timer.measure_many(archs, on_timing)
