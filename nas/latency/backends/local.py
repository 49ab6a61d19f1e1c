"""What the backends that run on this machine share: settings, groups, and measuring again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.checks import check_number, check_whole
from nas.latency.timing import Timing, Told, measure

# Timed in every group, so that groups can be compared: an inverted residual of 1.4 M
# multiply-adds with a 5x5 kernel, as small as the blocks of mobile networks at 28 pixels.
REFERENCE = operators(
    Arch((Stage(24, blocks=Block(kernel=5, expand=4)),), Stem(24, act="hswish"), resolution=28)
)[1:2]
# A group is disturbed when its reference is this much slower than the best one: three times what
# the medians of the reference differ by among quiet groups (1 %), and well below the 5 % within
# which a sum of blocks is to be right.
DISTURBED = 1.03
RETRIES = 2

_LEAST = {
    "threads": 0, "batch": 1, "together": 1, "warmup": 1, "min_rounds": 1, "max_rounds": 1,
    "seed": 0,
}  # fmt: skip

Rows = Sequence[Operator]


@dataclass(frozen=True, slots=True)
class _Try:
    """A timing, and how long the reference took in the same rounds."""

    timing: Timing
    reference_ms: float


def chosen(tries: Sequence[_Try], best_ms: float) -> Timing:
    """The timing of the least disturbed try, and of the narrowest interval among undisturbed ones.

    It is noisy if its interval is too wide or its reference was disturbed, beside `best_ms`.
    """

    def rank(one: _Try) -> tuple[float, float]:
        width = one.timing.ci_high_ms - one.timing.ci_low_ms
        return max(one.reference_ms, DISTURBED * best_ms), width

    one = min(tries, key=rank)
    return replace(one.timing, noisy=one.timing.noisy or one.reference_ms > DISTURBED * best_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(ABC):
    """Random weights, random inputs, `batch` of them at a time.

    threads    inside an operator; 0 for as many as the runtime likes.
    batch      inputs in one call; the figure is the time of the whole call.
    together   how many networks or blocks are held in memory and timed in the same rounds, with a
               reference call.  Those that came out noisy, and those of a group whose reference
               was slower than the best one of all by 3 %, are timed again in the end, twice at
               most; what is kept is the least disturbed timing, and `told` hears of it again.
    The rest is `nas.latency.timing.measure`'s; `seed` also gives weights and inputs.
    Raises UserError for settings out of range.
    """

    threads: int = 1
    batch: int = 1
    together: int = 8
    warmup: int = 5
    min_rounds: int = 12
    max_rounds: int = 1000
    rel_ci: float = 0.01
    max_seconds: float = 0.3
    seed: int = 0
    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field, least in _LEAST.items():
            check_whole(f"latency.{field}", getattr(self, field), least)
        for field in ("rel_ci", "max_seconds"):
            check_number(f"latency.{field}", getattr(self, field), 0, above=True)

    @abstractmethod
    def prepared(self, rows: Rows, padding: str) -> Callable[[], object]:
        """A call that runs `rows` once on (batch, cin, side, side)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Settings, runtime and device, as plain data."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""

    def measure(self, arch: Arch) -> Timing:
        """The time of one call of `arch`."""
        return self.measure_many([arch])[0]

    def measure_many(self, archs: Sequence[Arch], told: Told | None = None) -> list[Timing]:
        """The time of one call of each of `archs`, in order."""
        return self._timed([(operators(arch), arch.padding) for arch in archs], told)

    def measure_rows(
        self, parts: Sequence[Rows], padding: str = "symmetric", told: Told | None = None
    ) -> list[Timing]:
        """The time of one call of each of `parts`, in order."""
        return self._timed([(rows, padding) for rows in parts], told)

    def _timed(
        self, parts: Sequence[tuple[Rows, str]], told: Told | None, **clocks: Any
    ) -> list[Timing]:
        if not parts:
            return []
        reference = self.prepared(REFERENCE, "symmetric")
        tries: list[list[_Try]] = [[] for _ in parts]
        known: dict[int, Timing] = {}
        heard: dict[int, Timing] = {}
        waiting, best = list(range(len(parts))), math.inf
        for _ in range(1 + RETRIES):
            for start in range(0, len(waiting), self.together):
                group = waiting[start : start + self.together]
                found = self._group([parts[i] for i in group], reference, start, clocks)
                best = min(best, found[-1].median_ms)
                for i, timing in zip(group, found[:-1], strict=True):
                    tries[i].append(_Try(timing, found[-1].median_ms))
                    heard[i] = chosen(tries[i], best)
                    if told:
                        told(i, heard[i])
            known = {i: chosen(tries[i], best) for i in range(len(parts))}
            waiting = [i for i, timing in known.items() if timing.noisy]
        for i, timing in known.items():
            if told and heard[i] != timing:  # the last pass had the best reference
                told(i, timing)
        return [known[i] for i in range(len(parts))]

    def _group(
        self,
        parts: Sequence[tuple[Rows, str]],
        reference: Callable[[], object],
        start: int,
        clocks: dict[str, Any],
    ) -> list[Timing]:
        """Timings of `parts`, and as the last one that of the reference."""
        calls = {i: self.prepared(*part) for i, part in enumerate(parts)} | {len(parts): reference}
        found = measure(
            calls,
            warmup=self.warmup, min_rounds=self.min_rounds, max_rounds=self.max_rounds,
            rel_ci=self.rel_ci, max_seconds=self.max_seconds, seed=self.seed + start,
            throughout=len(parts), **clocks,
        )  # fmt: skip
        return [found[i] for i in range(len(calls))]
