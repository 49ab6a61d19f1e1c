"""What backends share, and those that run on this machine: groups, and measuring again."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.layers import Operator
from nas.arch.operators import operators
from nas.core.typed import Count, Natural, Positive, check_fields
from nas.latency.timing import Backend, OnTiming, Timing, measure

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


Rows = Sequence[Operator]
Padded = tuple[Rows, str]  # rows, and the padding of their convolutions
Try = tuple[Timing, float]  # a timing, and the reference's milliseconds in the same rounds


def least_disturbed(tries: Sequence[Try], best_ms: float) -> Timing:
    """The timing of the least disturbed try; among undisturbed ones, of the narrowest interval.

    `best_ms` is the reference undisturbed; the timing of a disturbed one is noisy.
    """
    bar = DISTURBED * best_ms

    def rank(attempt: Try) -> tuple[float, float]:
        timing, reference_ms = attempt
        return max(reference_ms, bar), timing.ci_high_ms - timing.ci_low_ms

    timing, reference_ms = min(tries, key=rank)
    return replace(timing, noisy=timing.noisy or reference_ms > bar)


class PartsBackend(Backend):
    """A backend that times whole networks like parts of them: as rows, with their padding."""

    @abstractmethod
    def _measure_parts(
        self, parts: Sequence[Padded], on_timing: OnTiming | None
    ) -> list[Timing]: ...

    def measure_many(
        self, archs: Sequence[Arch], on_timing: OnTiming | None = None
    ) -> list[Timing]:
        """The time of one call of each of `archs`, in order."""
        return self._measure_parts([(operators(arch), arch.padding) for arch in archs], on_timing)

    def measure_rows(
        self, parts: Sequence[Rows], padding: str = "symmetric", on_timing: OnTiming | None = None
    ) -> list[Timing]:
        """The time of one call of each of `parts`, in order."""
        return self._measure_parts([(rows, padding) for rows in parts], on_timing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(PartsBackend):
    """Random weights, random inputs; UserError for settings out of range.

    threads    inside an operator; 0 for as many as the runtime likes.
    batch      inputs in one call; the figure is the time of the whole call.
    together   how many networks or blocks are held in memory and timed in the same rounds, with a
               reference call.  Those that came out noisy or disturbed are timed again at the end,
               at most twice, and the least disturbed timing counts.
    The rest is `nas.latency.timing.measure`'s; `seed` also gives weights and inputs.
    """

    threads: Natural = 1
    batch: Count = 1
    together: Count = 8
    warmup: Count = 5
    min_rounds: Count = 12
    max_rounds: Count = 1000
    rel_ci: Positive = 0.01
    max_seconds: Positive = 0.3
    seed: Natural = 0
    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_fields(self, "latency")

    @abstractmethod
    def prepare(self, rows: Rows, padding: str) -> Callable[[], object]:
        """A call that runs `rows` once on (batch, cin, side, side)."""

    def _measure_parts(
        self, parts: Sequence[Padded], on_timing: OnTiming | None, **clocks: Any
    ) -> list[Timing]:
        if not parts:
            return []
        reference = self.prepare(REFERENCE, "symmetric")
        tries: list[list[Try]] = [[] for _ in parts]
        reported: dict[int, Timing] = {}
        waiting, best_ms = list(range(len(parts))), math.inf
        for _ in range(1 + RETRIES):
            for start in range(0, len(waiting), self.together):
                group = waiting[start : start + self.together]
                *measured, of_reference = self._measure_group(
                    [parts[i] for i in group], reference, start, clocks
                )
                best_ms = min(best_ms, of_reference.median_ms)
                for i, timing in zip(group, measured, strict=True):
                    tries[i].append((timing, of_reference.median_ms))
                    reported[i] = least_disturbed(tries[i], best_ms)
                    if on_timing:
                        on_timing(i, reported[i])
            timings = [least_disturbed(of_part, best_ms) for of_part in tries]
            waiting = [i for i, timing in enumerate(timings) if timing.noisy]
        for i, timing in enumerate(timings):
            if on_timing and reported[i] != timing:  # the last pass had the best reference
                on_timing(i, timing)
        return timings

    def _measure_group(
        self,
        parts: Sequence[Padded],
        reference: Callable[[], object],
        start: int,
        clocks: dict[str, Any],
    ) -> list[Timing]:
        """Timings of `parts`, and as the last one that of the reference."""
        calls = {i: self.prepare(*part) for i, part in enumerate(parts)} | {len(parts): reference}
        timings = measure(
            calls,
            warmup=self.warmup,
            min_rounds=self.min_rounds,
            max_rounds=self.max_rounds,
            rel_ci=self.rel_ci,
            max_seconds=self.max_seconds,
            seed=self.seed + start,
            throughout=len(parts),
            **clocks,
        )
        return [timings[i] for i in range(len(calls))]
