"""Progress with time left, for whatever takes over two seconds."""

from __future__ import annotations

import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.core.cli import print_any_letter

QUIET_S = 2.0  # what takes less needs no line
LINE_EVERY_S = 60.0  # in a file or a pipe, where a tenth of the whole takes longer


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read the output went away (say, `| head`): the work goes on unheard."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_console(width: int = 40) -> Console:
    """What a command prints to: any letter, at least `width` characters wide (rich takes 0)."""
    print_any_letter(sys.stdout)  # here too, for who calls a command from Python
    console = _Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, width)
    return console


class ProgressBar:
    """A progress bar with time left; in a file or a pipe, a line now and then.

    Without a `total` it is shown once `start` is called: of nested bars one may be shown at a time.
    """

    def __init__(
        self, console: Console, label: str, total: int | None = None, done: int = 0
    ) -> None:
        self.console, self.label = console, label
        columns = (BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(
            TextColumn("{task.description}"),
            *columns,
            TextColumn("{task.fields[say]}"),
            console=console,
            disable=not console.is_interactive,
            speed_estimate_period=600,
        )
        self.started = False
        if total is not None:
            self.start(total, done)

    def start(self, total: int, done: int = 0) -> None:
        """There are `total` to do, of which `done` were done before; further calls do nothing."""
        if self.started:
            return
        self.started, self.total = True, total
        self.began = self.last = time.perf_counter()
        self.first, self.done, self.say = done, done, ""
        self.reached = self.printed = float(done)
        self.ended = done >= total
        self.task = self.bar.add_task(f"{self.label:<9}", total=total, completed=done, say="")
        self.bar.start()

    def stop(self) -> None:
        """End it, so that another one can be shown."""
        self.bar.stop()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def set_total(self, total: int) -> None:
        """Change the total."""
        self.total, self.ended = total, self.ended and self.done >= total
        self.bar.update(self.task, total=total)

    def __call__(self, done: int, say: str) -> None:
        """`done` of the total are done, with a remark."""
        self.done, self.say = done, say
        self.set_partial(0.0)

    def set_partial(self, part: float) -> None:
        """Of what has not ended yet `part` more is done, in the unit of the total."""
        reached = self.reached = max(self.reached, min(self.done + part, self.total))
        self.bar.update(self.task, completed=reached, say=self.say)
        now = time.perf_counter()
        ended, further = self.done >= self.total, reached - self.printed
        due = further >= self.total / 10 or (further > 0 and now - self.last > LINE_EVERY_S)
        quiet = self.console.is_interactive or self.ended or now - self.began < QUIET_S
        if quiet or not (due or ended):
            return
        left = "done"
        if not ended:
            each = (now - self.began) / (reached - self.first)
            left = f"about {format_duration(each * (self.total - reached))} left"
        self.console.print(f"{self.label:<9} {self.done}/{self.total} · {left} · {self.say}")
        self.printed, self.last, self.ended = reached, now, ended


def format_duration(seconds: float) -> str:
    """A duration in words: 51 s, 14 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
