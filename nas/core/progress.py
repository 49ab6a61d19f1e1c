"""Progress with time left, for whatever takes over two seconds."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUICK = 2  # seconds; what takes less needs no line
LINE_EVERY = 60  # seconds, in a file or a pipe, where a tenth of the whole takes longer


class Live:
    """A progress bar with time left; in a file or a pipe, a line now and then."""

    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self.console, self.label, self.total = console, label, total
        self.began = self.last = time.perf_counter()
        self.first, self.done, self.say = done, done, ""
        self.reached = self.printed = float(done)
        self.ended = done >= total
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[say]}"), console=console,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )  # fmt: skip
        self.task = self.bar.add_task(f"{label:<9}", total=total, completed=done, say="")

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def of(self, total: int) -> None:
        """The total is another one now."""
        self.total, self.ended = total, self.ended and self.done >= total
        self.bar.update(self.task, total=total)

    def __call__(self, done: int, say: str) -> None:
        """`done` of the total, with what there is to say about it."""
        self.done, self.say = done, say
        self.under_way(0.0)

    def under_way(self, part: float) -> None:
        """Beside what is done, `part` of the total, in its unit, is done of what has not ended."""
        reached = self.reached = max(self.reached, min(self.done + part, self.total))
        self.bar.update(self.task, completed=reached, say=self.say)
        now = time.perf_counter()
        ended, further = self.done >= self.total, reached - self.printed
        due = further >= self.total / 10 or (further > 0 and now - self.last > LINE_EVERY)
        quiet = self.console.is_terminal or self.ended or now - self.began < QUICK
        if quiet or not (due or ended):
            return
        left = "done"
        if not ended:
            each = (now - self.began) / (reached - self.first)
            left = f"about {spelt(each * (self.total - reached))} left"
        self.console.print(f"{self.label:<9} {self.done}/{self.total} · {left} · {self.say}")
        self.printed, self.last, self.ended = reached, now, ended


def spelt(seconds: float) -> str:
    """A duration as one says it: 51 s, 14 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
