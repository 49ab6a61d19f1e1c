"""How to time anything.

Several calls are timed together, in rounds and in random order, so that what slows the machine
for a while slows all of them (Google Benchmark's random interleaving).  In a round each call has
a visit of some milliseconds: two calls that are not counted, since the others have emptied the
caches (small networks take 1.6 to 1.9 times as long right after others), then as many as fit.
The median of a visit is one observation: runs within a visit share their disturbances, so the
confidence interval counts visits and not runs.  Time that the thread waited for a core is taken
off where the system (Linux) tells it.
"""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from nas.arch.arch import Arch
from nas.arch.layers import Operator

K = TypeVar("K")
Clock = Callable[[], int]  # nanoseconds

VISIT_NS = 5_000_000  # one turn of a call: long beside its cold start, short beside disturbances
BATCH_NS = 50_000  # calls faster than this are timed in batches, as the clock takes 0.1 us
READINGS = 21  # of the clock, whose median is what one of them costs
REFRESH = 2  # calls at the start of a visit that are not counted


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a call takes, in milliseconds.

    median_ms   over visits of the median run of each.
    iqr_ms      interquartile range of single runs (of means over a batch, if under 50 us).
    ci_low_ms, ci_high_ms   95 % confidence interval of the median, by order statistics of visits.
    runs        calls timed; 0 for a figure that was not measured here.
    noisy       the interval was still too wide when time was up.
    host        the machine that timed it, where several do.
    """

    median_ms: float
    iqr_ms: float
    ci_low_ms: float
    ci_high_ms: float
    runs: int
    noisy: bool
    host: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data; without a host where there is none."""
        return {key: value for key, value in asdict(self).items() if key != "host" or value}


OnTiming = Callable[[int, Timing], None]  # (index, its timing)


class Backend(Protocol):
    """A way to know the latency of networks, and of parts of them, on one device.

    `on_timing(i, timing)` is called once the i-th is timed, and again where it was timed better.
    """

    name: ClassVar[str]  # as in `latency=...`

    def measure(self, arch: Arch) -> Timing:
        """The time of one input through `arch`."""
        return self.measure_many([arch])[0]

    def measure_many(
        self, archs: Sequence[Arch], on_timing: OnTiming | None = None
    ) -> list[Timing]:
        """As `measure`, for each of `archs` in order; measured together where that is fairer."""

    def measure_rows(
        self,
        parts: Sequence[Sequence[Operator]],
        padding: str = "symmetric",
        on_timing: OnTiming | None = None,
    ) -> list[Timing]:
        """The time of each of `parts`, consecutive rows of a network, as a model of its own."""

    def describe(self) -> dict[str, Any]:
        """The backend, its settings and its device, for environment.json."""

    def identity(self) -> dict[str, Any]:
        """Only what decides the figures and is the same in the next run: the key of a table."""


def report_each(timings: Iterable[Timing], on_timing: OnTiming | None) -> list[Timing]:
    """The timings; `on_timing` is called with each as soon as it is known."""
    known = []
    for i, timing in enumerate(timings):
        known.append(timing)
        if on_timing:
            on_timing(i, timing)
    return known


@lru_cache(maxsize=4096)
def median_interval(n: int) -> tuple[int, int]:
    """Indices of the sorted `n` samples that bound their median with 95 % confidence.

    The narrowest symmetric pair whose coverage, by the binomial distribution, is 95 % or more;
    under six samples the extremes, which cover less.
    """
    below, low = 0, -1
    while low + 1 < (n + 1) // 2:
        below += math.comb(n, low + 1)
        if 2 * below > 0.05 * 2**n:
            break
        low += 1
    low = max(low, 0)
    return low, n - 1 - low


@dataclass(frozen=True, slots=True)
class Repeated:
    """A call that is `times` calls of what is to be timed, launched at once."""

    call: Callable[[], object]
    times: int

    def __call__(self) -> object:
        """All of them."""
        return self.call()


@dataclass
class _Series:
    """One call and the times taken of it so far, in nanoseconds; `reading` the clock costs as much.

    On a GPU that is 10 to 20 us, in which the device idles: it waits until the host, told that
    all is done, launches anew.
    """

    call: Callable[[], object]
    reading: int = 0
    batch: int = 1
    visit: int = 1
    spent: int = 0
    medians: list[float] = field(default_factory=list)  # of visits
    runs: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """In a batch, of what is to be timed."""
        return self.batch * (self.call.times if isinstance(self.call, Repeated) else 1)

    def warm_up(self, clock: Clock, times: int, batch_ns: int) -> None:
        """Call it `times`, then find how many calls last `batch_ns`; a lone one may be slower."""
        taken = min(self.run_batch(clock) for _ in range(max(times, 1)))
        if taken < batch_ns:
            self.batch = math.ceil(batch_ns / max(taken, 1))
            while (taken := self.run_batch(clock)) < batch_ns and self.batch < batch_ns:
                self.batch *= 2
        self.visit = math.ceil(VISIT_NS / max(taken, 1))

    def run_batch(self, clock: Clock) -> int:
        """Nanoseconds of `batch` calls in a row."""
        start = clock()
        for _ in range(self.batch):
            self.call()
        return max(clock() - start - self.reading, 0)

    def run_visit(self, clock: Clock, waited: Clock, refresh: int) -> None:
        begin = clock()
        for _ in range(refresh):
            self.call()
        runs = []
        for _ in range(self.visit):
            idle = waited()
            taken = self.run_batch(clock)
            runs.append((taken - min(waited() - idle, taken)) / self.calls)
        self.medians.append(statistics.median(runs))
        self.runs += runs
        self.spent += clock() - begin

    def interval(self) -> tuple[float, float, float]:
        """(low, median, high) in nanoseconds."""
        ordered = sorted(self.medians)
        low, high = median_interval(len(ordered))
        return ordered[low], statistics.median(ordered), ordered[high]

    def wide(self, rel_ci: float) -> bool:
        low, median, high = self.interval()
        return len(self.medians) < 6 or high - low > 2 * rel_ci * median

    def timing(self, rel_ci: float) -> Timing:
        low, median, high = (ns / 1e6 for ns in self.interval())
        iqr, runs = interquartile_range(self.runs) / 1e6, len(self.runs) * self.calls
        return Timing(median, iqr, low, high, runs, self.wide(rel_ci))


def interquartile_range(values: Sequence[float]) -> float:
    """The distance of the quartiles; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return high - low


def reading_cost(clock: Clock) -> int:
    """Nanoseconds between two readings with nothing in between."""
    return round(statistics.median(-clock() + clock() for _ in range(READINGS)))


@contextmanager
def waiting_clock() -> Iterator[Clock]:
    """Counts the nanoseconds that this thread waited for a core; stands still if unknown.

    The second figure of Linux's /proc/<pid>/schedstat (Documentation/scheduler/sched-stats.rst).
    """
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield lambda: 0
        return
    try:
        yield lambda: int(os.pread(file, 64, 0).split()[1])
    finally:
        os.close(file)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def measure(
    calls: Mapping[K, Callable[[], object]],
    *,
    warmup: int = 5,
    min_rounds: int = 12,
    max_rounds: int = 1000,
    rel_ci: float = 0.01,
    max_seconds: float = 0.3,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    waited: Clock | None = None,
    batch_ns: int = BATCH_NS,
    throughout: K | None = None,
) -> dict[K, Timing]:
    """Time every call, interleaved, until each median is known well enough.

    warmup       calls of each before anything counts.
    min_rounds, max_rounds   visits of each; under 6 every figure is noisy.
    rel_ci       a call is done when half its median's 95 % interval is at most this share of it,
    max_seconds  or when its own visits have taken this long.  `min_rounds` are made in any case.
    clock        counts nanoseconds; `waited` those without a core, by default `waiting_clock`.
    batch_ns     calls faster than this are timed several at once.
    throughout   the key of a call that has a visit in every round for as long as any other.
    """
    order, reading = random.Random(seed), reading_cost(clock)
    series = {key: _Series(call, reading) for key, call in calls.items()}
    pending = list(series.values())
    steady = None if throughout is None else series[throughout]
    with _no_garbage_collection(), waiting_clock() as real:
        for one in pending:
            one.warm_up(clock, warmup, batch_ns)
        for done in range(1, max(max_rounds, 1) + 1):
            order.shuffle(pending)
            refresh = REFRESH if len(pending) > 1 else 0
            for one in pending:
                one.run_visit(clock, waited or real, refresh)
            if done < min_rounds:
                continue
            limit = max_seconds * 1e9
            pending = [x for x in pending if x is steady or (x.wide(rel_ci) and x.spent < limit)]
            if all(one is steady for one in pending):
                break
    return {key: one.timing(rel_ci) for key, one in series.items()}
