"""Progress with time left, for whatever takes over two seconds."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Live:
    """A progress bar with time left; in a file or a pipe, a line now and then."""

    def __init__(self, console: Console, label: str, total: int, done: int) -> None:
        self.console, self.label, self.total = console, label, total
        self.began, self.first, self.printed = time.perf_counter(), done, done
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

    def __call__(self, done: int, say: str) -> None:
        """`done` of the total, with what there is to say about it."""
        self.bar.update(self.task, completed=done, say=say)
        if self.console.is_terminal or done < min(self.total, self.printed + self.total / 10):
            return
        if done > self.printed:
            each = (time.perf_counter() - self.began) / max(1, done - self.first)
            left = f"about {each * (self.total - done):.0f} s left" if done < self.total else "done"
            self.console.print(f"{self.label:<9} {done}/{self.total} · {left} · {say}")
            self.printed = done
