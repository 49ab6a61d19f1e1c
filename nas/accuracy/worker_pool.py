"""Judging several networks at once, in processes of their own.

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
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.core.errors import UserError
from nas.core.interrupts import block_sigint, defer_sigint

Judge = Callable[..., Any]  # of an Arch, and what a Pool is given beside each
Told = Callable[[Mapping[int, float]], None]  # how much is done of each that is under way

TELL_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Failure:
    """Why a network has no score, in one line."""

    reason: str


_judge: Judge | None = None
_broken: Exception | None = None  # why there is no judge
_note: Callable[[int, float], None] | None = None  # of a worker: what it is at, and how far
_tell: Callable[[float], None] | None = None  # how much is done of what is judged now


def part_done(done: int, total: int) -> None:
    """For a judge to say how far it is; whoever watches the pool is told."""
    if _tell:
        _tell(done / total)


def _start(make: Callable[[], Judge], threads: int, board: Any, started: Any) -> None:
    """Prepare a worker, which ends with its parent (and which Ctrl-C does not reach)."""
    global _judge, _broken, _note
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where `block_sigint` could do nothing
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(min(threads, torch.get_num_threads()))  # as OMP_NUM_THREADS has it
    with started.get_lock():
        place = 2 * started.value
        started.value += 1

    def note(index: int, part: float) -> None:
        board[place + 1] = part  # first: who reads in between sees too little, never too much
        board[place] = index

    _note = note
    try:
        _judge = make()
    except Exception as error:  # told to whoever asks; raised here, it would look like a crash
        _broken = error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _work(index: int, *what: Any) -> Any:
    if _broken is not None:
        raise _broken
    assert _judge is not None
    assert _note is not None
    with _telling(partial(_note, index)):
        return call_safely(_judge, *what)


@contextmanager
def _telling(tell: Callable[[float], None]) -> Iterator[None]:
    global _tell
    _tell = tell
    try:
        yield
    finally:
        _tell = None


def call_safely(judge: Callable[..., Any], *what: Any) -> Any:
    """The judge's answer, or a Failure with whatever it raised, in one line."""
    try:
        return judge(*what)
    except UserError:
        raise  # the user's to mend, and the same for every network
    except Exception as error:
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {text}"[:300])


def num_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class WorkerPool:
    """`workers` processes with a judge each, made there by `make` (which must pickle).

    With one worker the judge runs in this process.  `close` (or leaving a `with`) ends them.
    """

    def __init__(self, make: Callable[[], Judge], workers: int) -> None:
        self.make, self.workers = make, workers
        self.threads = max(1, num_cores() // workers)
        self._executor: ProcessPoolExecutor | None = None
        self._judge: Judge | None = None
        self._board: Any = []
        self._told: Told = lambda parts: None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, archs: Sequence[Arch], *more: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Judge `archs`; (index, answer or Failure), each as soon as it is known.

        `more` are columns of plain values that the judge is given beside each network.
        """
        tasks = list(zip(archs, *more, strict=True))
        if self.workers == 1:
            self._judge = self._judge or self.make()

            def note(index: int, part: float) -> None:
                self._told({index: part})

            for i, task in enumerate(tasks):
                with _telling(partial(note, i)):
                    answer = call_safely(self._judge, *task)
                yield i, answer
            return
        # the longest first, so that no worker is left with it alone at the end
        order = sorted(range(len(archs)), key=lambda i: -cost(archs[i]).macs)
        self._board[:] = [-1.0, 0.0] * (len(self._board) // 2)  # not what an earlier call left
        died, asked = [], {}
        for i in order:
            if (future := self._submit(i, *tasks[i])) is None:
                died.append(i)
            else:
                asked[future] = i
        for future in self._as_completed(asked):
            try:
                yield asked[future], future.result()
            except BrokenProcessPool:
                died.append(asked[future])
        for i in sorted(died):
            yield i, self._alone(i, *tasks[i])

    @contextmanager
    def watched(self, told: Told) -> Iterator[None]:
        """Within, `told` hears now and then how much is done (0 to 1) of what is under way.

        By index in the call; only judges that call `part_done` are heard of.
        """
        before, self._told = self._told, told
        try:
            yield
        finally:
            self._told = before

    def _as_completed(self, asked: Mapping[Future[Any], int]) -> Iterator[Future[Any]]:
        """The futures as they end; meanwhile the watcher is told how far the others are."""
        pending = set(asked)
        while pending:
            with defer_sigint():  # or it may keep the futures' locks; not for longer than this
                done, pending = futures.wait(pending, TELL_EVERY, futures.FIRST_COMPLETED)
            yield from done
            left, board = {asked[future] for future in pending}, list(self._board)
            parts = zip(board[::2], board[1::2], strict=True)
            self._told({int(i): part for i, part in parts if i in left})

    def _submit(self, *task: Any) -> Future[Any] | None:
        """A future answer, or None where the pool is broken already."""
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._board = context.Array("d", [-1.0, 0.0] * self.workers, lock=False)
            shared = (self._board, context.Value("i", 0))
            self._executor = ProcessPoolExecutor(
                self.workers, context, _start, (self.make, self.threads, *shared)
            )
        try:
            with block_sigint():
                return self._executor.submit(_work, *task)
        except BrokenProcessPool:
            return None

    def _alone(self, *task: Any) -> Any:
        """A second try, in a new pool by itself: a process died, over this network or another."""
        self.close()
        future = self._submit(*task)
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
