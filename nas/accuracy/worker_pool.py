"""Several networks at once, in processes of their own.

One network that fails, even one that takes its process down, costs that network and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch

from nas.accuracy.estimate import Failure, call_safely
from nas.accuracy.judge import Estimates, Thresholds
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.core.interrupts import block_sigint, defer_sigint

Task = tuple[Any, ...]  # an Arch, and plain values that are given beside it
Watch = Callable[[Mapping[int, float]], None]  # told how much is done of each task under way

REPORT_SECONDS = 0.5  # between two looks at how far the workers are

_report: ContextVar[Callable[[float], None]] = ContextVar("report", default=lambda part: None)


def part_done(done: int, total: int) -> None:
    """For a function that a pool runs to say how far it is; whoever watches the pool is told."""
    _report.get()(done / total)


def _reported(report: Callable[[float], None], function: Callable[..., Any], task: Task) -> Any:
    """What the function makes of the task, or a Failure; `report` hears of `part_done`."""
    token = _report.set(report)
    try:
        return call_safely(function, *task)
    finally:
        _report.reset(token)


@dataclass(frozen=True)
class _Worker:
    """What a process of the pool keeps from task to task; `board` says what it is at, how far."""

    function: Callable[..., Any]
    board: Any
    place: int

    def run(self, index: int, task: Task) -> Any:
        """The result of one task."""

        def report(part: float) -> None:
            self.board[self.place + 1] = part  # first: who reads in between sees too little
            self.board[self.place] = index

        return _reported(report, self.function, task)


_worker: _Worker | Exception  # of this process, or why there is none


def _start(make: Callable[[], Callable[..., Any]], threads: int, board: Any, started: Any) -> None:
    """Prepare a worker, which ends with its parent (and which Ctrl-C does not reach)."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where `block_sigint` could do nothing
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(min(threads, torch.get_num_threads()))  # as OMP_NUM_THREADS has it
    with started.get_lock():
        place = 2 * started.value
        started.value += 1
    try:
        _worker = _Worker(make(), board, place)
    except Exception as error:  # told to whoever asks; raised here, it would look like a crash
        _worker = error


def _run(index: int, task: Task) -> Any:
    if isinstance(_worker, Exception):
        raise _worker
    return _worker.run(index, task)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def num_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class WorkerPool:
    """`workers` processes, each with a function of networks that `make` (which must pickle) made.

    With one worker the function runs in this process.  `close` (or leaving a `with`) ends them.
    """

    def __init__(self, make: Callable[[], Callable[..., Any]], workers: int) -> None:
        self.make, self.workers = make, workers
        self.threads = max(1, num_cores() // workers)
        self._executor: ProcessPoolExecutor | None = None
        self._function: Callable[..., Any] | None = None
        self._board: Any = []
        self._watch: Watch = lambda parts: None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """The pool as a judge, where its functions are: (index, Estimate or Failure) of each."""
        if not thresholds:
            return self.run([(arch,) for arch in archs])
        return self.run(list(zip(archs, thresholds, strict=True)))

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result or Failure) of each task, a network and what goes with it, as it ends."""
        if self.workers == 1:
            yield from self._run_here(tasks)
            return
        # the longest first, so that no worker is left with it alone at the end
        order = sorted(range(len(tasks)), key=lambda i: -cost(tasks[i][0]).macs)
        self._board[:] = [-1.0, 0.0] * (len(self._board) // 2)  # not what an earlier call left
        died, asked = [], {}
        for i in order:
            if (future := self._submit(i, tasks[i])) is None:
                died.append(i)
            else:
                asked[future] = i
        for future in self._as_completed(asked):
            try:
                yield asked[future], future.result()
            except BrokenProcessPool:
                died.append(asked[future])
        for i in sorted(died):
            yield i, self._run_alone(i, tasks[i])

    def _run_here(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """One task after the other, in this process."""
        self._function = function = self._function or self.make()

        def report(index: int, part: float) -> None:
            self._watch({index: part})

        for i, task in enumerate(tasks):
            yield i, _reported(partial(report, i), function, task)

    @contextmanager
    def watched(self, watch: Watch) -> Iterator[None]:
        """Within, `watch` is told now and then how much is done (0 to 1) of what is under way.

        By index of the task; only functions that call `part_done` are heard of.
        """
        before, self._watch = self._watch, watch
        try:
            yield
        finally:
            self._watch = before

    def _as_completed(self, asked: Mapping[Future[Any], int]) -> Iterator[Future[Any]]:
        """The futures as they end; meanwhile the watcher is told how far the others are."""
        pending = set(asked)
        while pending:
            with defer_sigint():  # or it may keep the futures' locks; not for longer than this
                done, pending = futures.wait(pending, REPORT_SECONDS, futures.FIRST_COMPLETED)
            yield from done
            left, board = {asked[future] for future in pending}, list(self._board)
            parts = zip(board[::2], board[1::2], strict=True)
            self._watch({int(i): part for i, part in parts if i in left})

    def _submit(self, index: int, task: Task) -> Future[Any] | None:
        """A future result, or None where the pool is broken already."""
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._board = context.Array("d", [-1.0, 0.0] * self.workers, lock=False)
            shared = (self._board, context.Value("i", 0))
            self._executor = ProcessPoolExecutor(
                self.workers, context, _start, (self.make, self.threads, *shared)
            )
        try:
            with block_sigint():
                return self._executor.submit(_run, index, task)
        except BrokenProcessPool:
            return None

    def _run_alone(self, index: int, task: Task) -> Any:
        """A second try, in a new pool by itself: a process died, over this network or another."""
        self.close()
        future = self._submit(index, task)
        assert future is not None
        try:
            return future.result()
        except BrokenProcessPool:
            self.close()
            return Failure("its process died (out of memory?)")

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        if self._executor is not None:
            for process in list((self._executor._processes or {}).values()):
                process.kill()
            # waited for: the executor's thread may not outlive it into the end of Python, where
            # it fails on pipes that are closed already
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
