"""A machine whose clock is of our own making."""

from __future__ import annotations

from collections.abc import Callable

from nas.latency.timing import Timing, measure

MS = 1_000_000


class Machine:
    """A machine whose clock moves only as told: every call takes what its `cost` says."""

    def __init__(self) -> None:
        self.now = 0
        self.waited = 0
        self.log: list[str] = []

    def clock(self) -> int:
        return self.now

    def call(self, name: str, cost: Callable[[], int]) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.now += cost()

        return run

    def measure(self, calls: dict[str, Callable[[], None]], **options: object) -> dict[str, Timing]:
        return measure(calls, clock=self.clock, waited=lambda: self.waited, **options)  # type: ignore[arg-type]
