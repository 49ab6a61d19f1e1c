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
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch

from nas.accuracy.estimate import Failure
from nas.accuracy.pool import REPORT_SECONDS, Make, Pool, Task, call_reporting, longest_first
from nas.core.interrupts import block_sigint, defer_sigint

# Of this process: its function, and its place on the board of what is under way; or why it has none
_worker: tuple[Callable[..., Any], Any, int] | Exception


def _start(make: Make, threads: int, board: Any, started: Any) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where `block_sigint` could do nothing
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(min(threads, torch.get_num_threads()))  # as OMP_NUM_THREADS has it
    with started.get_lock():
        number = started.value
        started.value += 1
    use_own_gpu(number)
    try:
        _worker = make(), board, 2 * number
    except Exception as error:  # told to whoever asks; raised here, it would look like a crash
        _worker = error


def _run(index: int, task: Task) -> Any:
    if isinstance(_worker, Exception):
        raise _worker
    function, board, place = _worker

    def report(part: float) -> None:
        board[place + 1] = part  # first: who reads in between sees too little
        board[place] = index

    report(0.0)
    try:
        return call_reporting(report, function, task)
    except torch.AcceleratorError:
        os._exit(1)  # this process can use its GPU no more; the pool starts others


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def use_own_gpu(number: int) -> None:
    """Of several GPUs let the process of that number, from 0, use one; they share them evenly."""
    if (gpus := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(number % gpus)


def num_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class WorkerPool(Pool):
    """Processes of this machine; with one worker the function runs in this process."""

    def __init__(self, make: Make, workers: int) -> None:
        super().__init__(workers)
        self.make = make
        self.threads = max(1, num_cores() // workers)
        self._executor: ProcessPoolExecutor | None = None
        self._function: Callable[..., Any] | None = None
        self._board: Any = []

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result or Failure) of each task as it ends."""
        if self.workers == 1:
            self._function = function = self._function or self.make()
            for i, task in enumerate(tasks):
                yield i, call_reporting(partial(self._watch_one, i), function, task)
            return
        self._board[:] = [-1.0, 0.0] * (len(self._board) // 2)  # not what an earlier call left
        died, asked = [], {}
        for i in longest_first(tasks):
            try:
                asked[self._submit(i, tasks[i])] = i
            except BrokenProcessPool:
                died.append(i)
        for future in self._as_completed(asked):
            try:
                yield asked[future], future.result()
            except BrokenProcessPool:
                died.append(asked[future])
        if not died:
            return
        self.num_lost += 1  # one that ends has the pool give up all that are asked for
        running = {int(i) for i in self._board[::2]}
        suspects = [i for i in sorted(died) if i in running] or sorted(died)
        for i in suspects:
            yield i, self._run_alone(i, tasks[i])
        others, watch = [i for i in sorted(died) if i not in suspects], self.watch
        if others:
            with self.watched(lambda parts: watch({others[j]: p for j, p in parts.items()})):
                for j, answer in self.run([tasks[i] for i in others]):
                    yield others[j], answer

    def _watch_one(self, index: int, part: float) -> None:
        self.watch({index: part})

    def _as_completed(self, asked: Mapping[Future[Any], int]) -> Iterator[Future[Any]]:
        pending = set(asked)
        while pending:
            with defer_sigint():  # or it may keep the futures' locks; not for longer than this
                done, pending = futures.wait(pending, REPORT_SECONDS, futures.FIRST_COMPLETED)
            yield from done
            left, board = {asked[future] for future in pending}, list(self._board)
            parts = zip(board[::2], board[1::2], strict=True)
            self.watch({int(i): part for i, part in parts if part and i in left})

    def _submit(self, index: int, task: Task, workers: int | None = None) -> Future[Any]:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._board = context.Array("d", [-1.0, 0.0] * self.workers, lock=False)
            args = self.make, self.threads, self._board, context.Value("i", 0)
            number = workers or self.workers
            self._executor = ProcessPoolExecutor(number, context, _start, args)
        with block_sigint():
            return self._executor.submit(_run, index, task)

    def _run_alone(self, index: int, task: Task) -> Any:
        """A second try, in a process of its own: one died, over this network or another."""
        self.close()
        try:
            return self._submit(index, task, 1).result()
        except BrokenProcessPool:
            self.num_lost += 1
            return Failure("its process died (out of memory?)")
        finally:
            self.close()

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        if self._executor is not None:
            for process in list((self._executor._processes or {}).values()):
                process.kill()
            # waited for: the executor's thread may not outlive it into the end of Python, where
            # it fails on pipes that are closed already
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
