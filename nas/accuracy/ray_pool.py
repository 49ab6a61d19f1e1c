"""Networks judged by the workers of a Ray cluster, or of a Ray that begins and ends with the run.

One owner, this process, says which network is next; Ray finds a worker with what it needs.  A
worker that is lost (killed, out of memory, its machine gone) costs a repetition; what a network
itself raises is its answer, and is not tried again.  Where workers are lost whatever they judge (a
full disk, say) no network is blamed for it.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import torch

from nas.accuracy.estimate import Failure
from nas.accuracy.judge import Load
from nas.accuracy.pool import REPORT_SECONDS, Make, Pool, Task, call_reporting, longest_first
from nas.core.cluster import (
    IDLE_S,
    Lost,
    Needs,
    answer_of,
    check_resources,
    check_versions,
    connect,
    import_ray,
    versions,
)
from nas.core.errors import UserError

PATIENCE, PATIENCE_S = 10.0, 600.0  # times the longest answer, seconds


class Shared:
    """Images that every worker reads from Ray's object store: `shared()` as any other `load`."""

    def __init__(self, data: Any) -> None:
        self.reference = import_ray().put(data)

    def __call__(self) -> Any:
        """The images."""
        return import_ray().get(self.reference)


class Board:
    """An actor that knows how much is done of each call, by its number."""

    def __init__(self) -> None:
        self.parts: dict[int, float] = {}

    def tell(self, call: int, part: float) -> None:
        """Take down a part, from 0 to 1."""
        self.parts[call] = part

    def read(self) -> dict[int, float]:
        """The part of each call that began."""
        return self.parts


class Unwanted(BaseException):
    """In a worker: the board is gone, so nobody waits for the answer.

    No Exception, which would be taken for the network's own.
    """


def tell(board: Any, call: int, part: float) -> None:
    """Tell the board how much is done; Unwanted where its pool has ended it."""
    ray = import_ray()
    try:
        ray.get(board.tell.remote(call, part), timeout=REPORT_SECONDS)
    except ray.exceptions.ActorDiedError:
        raise Unwanted from None
    except ray.exceptions.RayError:
        return  # its machine is away; it is begun anew, and told the next time


# Of this process, if it is a worker: the function that it made last, and for which pool
_made: tuple[str, Callable[..., Any]] | None = None


def judge_in_worker(
    pool: str, ours: Mapping[str, str], make: Make, cpus: float, board: Any, call: int, task: Task
) -> Any:
    """What a pool's function, which is made once in each process, says of a task."""
    global _made
    last = 0.0

    def report(part: float) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            tell(board, call, part)

    try:
        tell(board, call, 0.0)
        if _made is None or _made[0] != pool:
            check_versions(ours)
            torch.set_num_threads(max(1, int(cpus)))
            _made = pool, make()
        return call_reporting(report, _made[1], task)
    except Unwanted:
        return None
    except torch.AcceleratorError:
        os._exit(1)  # this process can use its GPU no more; Ray starts another


class RayPool(Pool):
    """`workers` tasks at once on Ray, each where there is what it `needs`.

    make_with   makes `make` of what gives the images, which `load` loads once for all workers
    address     of the cluster; None for a Ray of this machine
    retries     how often a network is judged again whose worker was lost
    timeout_s   after which a worker that says nothing is given up; None: PATIENCE times the longest
                answer so far, and PATIENCE_S at least
    """

    def __init__(
        self,
        make_with: Callable[[Load], Make],
        load: Load,
        workers: int,
        *,
        address: str | None,
        needs: Needs,
        retries: int,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(workers)
        self.make_with, self.load = make_with, load
        self.address, self.needs, self.retries = address, needs, retries
        self.timeout_s, self._longest = timeout_s, 0.0
        self._ray = import_ray()
        self._running: dict[Any, tuple[int, int]] = {}  # index of the task and number of the call
        self._began: dict[int, float] = {}  # when a worker was seen to be at a call
        self._busy = 0.0  # when a worker was last seen at work
        self._calls = count()
        self._submit: Callable[..., Any] | None = None
        self._board: Any = None
        self._disconnect: Callable[[], None] = lambda: None

    def connect(self) -> Callable[..., Any]:
        """What hands a task to Ray; UserError where there is no cluster with what it needs."""
        if self._submit is None:
            self._disconnect = connect(self.address, self.needs, self.workers)
            options = {**self.needs.to_options(), "max_retries": 0}
            remote = self._ray.remote(**options)(judge_in_worker)
            name = hashlib.sha256(os.urandom(16)).hexdigest()
            make = self._ray.put(self.make_with(Shared(self.load())))
            what = (name, versions(), make, self.needs.cpus)
            self._submit = partial(remote.remote, *what)
        if self._board is None:
            # begun anew, and empty, where its machine is lost
            self._board = self._ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        return partial(self._submit, self._board)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result or Failure) of each task as it ends.

        UserError where a worker has other versions than this process, where several networks lost
        all their workers and no other was judged since, and where no machine is left for them.
        """
        if self._running:  # what a caller left that did not want all
            self._forget()
        submit, waiting, lost = self.connect(), deque(longest_first(tasks)), Counter[int]()
        given_up: list[tuple[int, Failure]] = []
        self._busy = time.monotonic()
        while waiting or self._running:
            while waiting and len(self._running) < self.workers:
                i, call = waiting.popleft(), next(self._calls)
                self._running[submit(call, tasks[i])] = i, call
            for i, answer in self._ended():
                if not isinstance(answer, Lost):
                    yield i, answer
                    yield from given_up  # workers live, so it was the networks
                    given_up.clear()
                    continue
                lost[i] += 1
                self.num_lost += 1
                if lost[i] > self.retries:
                    reason = f"its worker was lost {lost[i]} times: {answer.reason}"
                    given_up.append((i, Failure(reason)))
                else:
                    waiting.appendleft(i)
            self._look()
        if len(given_up) > 1:
            _, last = given_up[-1]
            raise UserError(
                f"{len(given_up)} networks lost every worker, and no other was judged since (one: "
                f"{last.reason}): see whether workers have disk and memory left; the same command "
                "goes on"
            )
        yield from given_up

    def _ended(self) -> Iterator[tuple[int, Any]]:
        """Tasks that ended now, and what of each; Lost where its worker was, or answers no more."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=REPORT_SECONDS)
        now = time.monotonic()
        for reference in done:
            i, call = self._running.pop(reference)
            self._longest = max(self._longest, now - self._began.pop(call, now))
            yield i, answer_of(reference)
        patience = max(PATIENCE * self._longest, PATIENCE_S) if self._longest else math.inf
        most = self.timeout_s or patience
        for reference, (i, call) in list(self._running.items()):
            if now - self._began.get(call, now) > most:
                self._ray.cancel(reference, force=True)
                del self._running[reference], self._began[call]
                yield i, Lost(f"no answer in {most:.0f} s")

    def _look(self) -> None:
        if time.monotonic() - self._busy > IDLE_S:
            try:
                check_resources(self._ray.nodes(), self.needs)
            except UserError as error:
                raise UserError(
                    f"workers were lost, and for {IDLE_S:.0f} s {error}; what is done is kept, and "
                    "the same command goes on when one is back"
                ) from None
            self._busy = time.monotonic()
        with suppress(self._ray.exceptions.RayError):  # the board's machine is away
            parts = self._ray.get(self._board.read.remote(), timeout=REPORT_SECONDS)
            under_way = [(i, call) for i, call in self._running.values() if call in parts]
            for _, call in under_way:
                self._busy = time.monotonic()
                self._began.setdefault(call, self._busy)
            self.watch({i: parts[call] for i, call in under_way if parts[call]})

    def _forget(self) -> None:
        """End what is under way: its workers see that their board is gone.

        Ray's own `cancel` ends this process where it meets a task that ends at that moment (2.60).
        """
        if self._board is not None:
            self._ray.kill(self._board)
        self._board = None
        self._running.clear()
        self._began.clear()

    def close(self) -> None:
        """End what is under way, and a Ray that was begun for this pool."""
        self._forget()
        self._submit = None
        self._disconnect()
        self._disconnect = lambda: None
