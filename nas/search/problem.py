"""What a search decides over: the space, what is feasible in it, latency, target, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.arch.arch import Arch
from nas.latency.range import LatencyRange
from nas.latency.store import LatencySource
from nas.space.choices import Picks, fill
from nas.space.constrained import ConstrainedSpace
from nas.space.limits import COSTS, Limits

NUM_DRAWN = 10_000  # random networks, to find some of a certain latency among
AS_FAST = 0.03  # by how much of its latency a network may be faster than one that is as fast
LATENCY_SLACK = 1.2  # times the target: networks slower than that are not trained


@dataclass(frozen=True)
class Problem:
    """A search's question; nothing here reads or writes a file.

    members    picks of the published networks that the space contains, by name
    width      multiplier of the space, and of published networks that are named without one
    target_ms  the winner is the most accurate network within it
    exempt     ids of networks that are judged however slow they are
    """

    space: Arch
    width: float
    members: Mapping[str, Picks]
    latency: LatencySource
    latency_range: LatencyRange
    limits: Limits
    target_ms: float
    exempt: frozenset[str]

    @cached_property
    def max_ms(self) -> float:
        """The latency from which on nothing is judged: the limit, or LATENCY_SLACK targets.

        A published network that the space cannot reach is a mark to draw, and no limit.
        """
        if self.limits.latency_ms is not None:
            return self.limits.latency_ms
        slack = LATENCY_SLACK * self.target_ms
        return slack if self.latency_range.fastest[0] <= slack else math.inf

    @property
    def decisive_ms(self) -> float:
        """The latency near which the winner will be: the target, or a limit below it."""
        return min(self.target_ms, self.max_ms)

    @cached_property
    def feasible(self) -> ConstrainedSpace:
        """What the limits leave of the space."""
        limits = {name: getattr(self.limits, name) for name in COSTS}
        whole_ms = self.latency.source.whole_ms
        return ConstrainedSpace(
            self.latency.trellis,
            self.latency.row_ms,
            whole_ms,
            self.max_ms,
            limits,
            min_ms=self.limits.min_latency_ms or 0.0,
        )

    def sample_evenly(self, number: int, seed: int) -> list[Arch]:
        """So many feasible networks, evenly over the logarithm of their latencies."""
        genomes = self.feasible.sample_even_in_latency(number, np.random.default_rng(seed))
        return [fill(self.space, picks) for picks in self.feasible.trellis.decode(genomes)]

    def sample_near(self, latency_ms: float, number: int, seed: int, stream: int = 2) -> list[Arch]:
        """So many random networks as fast as that: at most AS_FAST of it faster, none slower.

        Those of another `stream` are others.
        """
        drawn = self.feasible.random(NUM_DRAWN, np.random.default_rng([seed, stream]))
        ms = self.feasible.ms(drawn)
        near = drawn[(ms <= latency_ms) & (ms >= (1 - AS_FAST) * latency_ms)][:number]
        return [fill(self.space, picks) for picks in self.feasible.trellis.decode(near)]

    def sample(self, number: int, seed: int) -> list[Arch]:
        """So many random feasible networks, as a random search would try them."""
        genomes = self.feasible.random(number, np.random.default_rng([seed, 1]))
        return [fill(self.space, picks) for picks in self.feasible.trellis.decode(genomes)]
