"""Several networks judged at once; a pool's functions run in processes of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from nas.accuracy.estimate import call_safely
from nas.accuracy.judge import Estimates, Thresholds
from nas.arch.arch import Arch
from nas.arch.cost import cost

Task = tuple[Any, ...]  # an Arch, and plain values that are given beside it
# Makes the function of tasks in the process that runs it, so it must pickle
Make = Callable[[], Callable[..., Any]]
Watch = Callable[[Mapping[int, float]], None]  # told how much is done of each task under way
REPORT_SECONDS = 0.5  # between two looks at how far the workers are

_report: ContextVar[Callable[[float], None]] = ContextVar("report", default=lambda part: None)


def part_done(done: int, total: int) -> None:
    """A function that a pool runs calls this; whoever watches the pool is told."""
    _report.get()(done / total)


def call_reporting(
    report: Callable[[float], None], function: Callable[..., Any], task: Task
) -> Any:
    """What `function` makes of the task, or why it failed; `report` hears how much is done."""
    token = _report.set(report)
    try:
        return call_safely(function, *task)
    finally:
        _report.reset(token)


def longest_first(tasks: Sequence[Task]) -> list[int]:
    """Indices of tasks, so that no worker is left with a long one alone at the end."""
    return sorted(range(len(tasks)), key=lambda i: -cost(tasks[i][0]).macs)


class Pool(ABC):
    """`workers` tasks at once, in processes that `close` (or leaving a `with`) ends.

    num_lost   processes that were lost so far
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.num_lost = 0
        self.watch: Watch = lambda parts: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result or Failure) of each task as it ends."""

    @abstractmethod
    def close(self) -> None:
        """End the workers now, whatever they are doing."""

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """The pool as a judge, where its functions are."""
        if not thresholds:
            return self.run([(arch,) for arch in archs])
        return self.run(list(zip(archs, thresholds, strict=True)))

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Within, `watch` is told now and then how much of each task is done, from 0 to 1."""
        before, self.watch = self.watch, watch
        try:
            yield
        finally:
            self.watch = before
