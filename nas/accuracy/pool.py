"""Judging several networks at once, in processes of their own.

One network that fails, even one that takes its process down, costs that network and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from nas.arch import Arch
from nas.cost import cost
from nas.errors import UserError

Judge = Callable[[Arch], Any]


@dataclass(frozen=True)
class Failure:
    """Why a network has no score, in one line."""

    reason: str


_judge: Judge | None = None


def _start(make: Callable[[], Judge], threads: int) -> None:
    """Prepare a worker: it ignores Ctrl-C (its parent stops it) and ends with its parent."""
    import torch

    global _judge
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _judge = make()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _work(arch: Arch) -> Any:
    assert _judge is not None
    return judged(_judge, arch)


def judged(judge: Judge, arch: Arch) -> Any:
    """The judge's answer, or a Failure with whatever it raised, in one line."""
    try:
        return judge(arch)
    except UserError:
        raise  # the user's to mend, and the same for every network
    except Exception as error:
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {text}"[:300])


class Pool:
    """`workers` processes with a judge each, made there by `make` (which must pickle).

    With one worker the judge runs in this process.  `close` (or leaving a `with`) ends them.
    """

    def __init__(self, make: Callable[[], Judge], workers: int) -> None:
        self.make, self.workers = make, workers
        self.threads = max(1, len(os.sched_getaffinity(0)) // workers) if workers > 1 else 0
        self._executor: ProcessPoolExecutor | None = None
        self._judge: Judge | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, archs: Sequence[Arch]) -> Iterator[Any]:
        """Judge `archs`; answers (or Failures) come in their order."""
        if self.workers == 1:
            self._judge = self._judge or self.make()
            yield from (judged(self._judge, arch) for arch in archs)
            return
        # the longest first, so that no worker is left with it alone at the end
        order = sorted(range(len(archs)), key=lambda i: -cost(archs[i]).macs)
        futures = {i: self._submit(archs[i]) for i in order}
        for i, arch in enumerate(archs):
            yield self._answer(arch, futures[i])

    def _submit(self, arch: Arch) -> Future[Any] | None:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self.workers, context, _start, (self.make, self.threads)
            )
        try:
            return self._executor.submit(_work, arch)
        except BrokenProcessPool:
            return None

    def _answer(self, arch: Arch, future: Future[Any] | None) -> Any:
        """The answer; when a process died, try this network once more, alone in a new pool."""
        try:
            if future is not None:
                return future.result()
        except BrokenProcessPool:
            pass  # it, or one beside it, took the process down: the second try below tells which
        self.close()
        again = self._submit(arch)
        assert again is not None
        try:
            return again.result()
        except BrokenProcessPool:
            self.close()
            return Failure("its process died (out of memory?)")

    def close(self) -> None:
        """End the workers now, whatever they are doing."""
        if self._executor is not None:
            processes = list((self._executor._processes or {}).values())
            self._executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
            self._executor = None
