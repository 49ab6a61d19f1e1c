"""The networks of a space that are within limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.space.limits import COSTS
from nas.space.trellis.trellis import Trellis
from nas.space.trellis.units import Ints

NUM_DRAWN = 10_000  # random networks at a time, 20 ms of arithmetic
MAX_DRAWS = 200  # of those: a part of the space under one in a million counts as empty
NOTHING_NEW = 20  # of those, one after the other: all networks that there are have been found


@dataclass(frozen=True, eq=False)
class ConstrainedSpace:
    """The networks of `trellis` that are within limits.

    row_ms        (rows,) milliseconds of each row;  whole_ms: of networks, by the sums over them.
    max_ms        no network may be slower;  limits: nor exceed these, by the names in COSTS.
    min_ms        nor may it be faster.
    """

    trellis: Trellis
    row_ms: NDArray[np.float64]
    whole_ms: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.asarray
    max_ms: float = np.inf
    limits: Mapping[str, float | None] = field(default_factory=dict)
    min_ms: float = 0.0

    def ms(self, genomes: ArrayLike) -> NDArray[np.float64]:
        """(n,) milliseconds of genomes, infinite over a limit on a cost, and below `min_ms`."""
        ms = np.array(self.whole_ms(self.trellis.totals(self.row_ms, genomes)), float)
        ms[ms < self.min_ms] = np.inf
        limits = [(name, most) for name in COSTS if (most := self.limits.get(name)) is not None]
        costs = self.trellis.costs(genomes) if limits else None
        for name, most in limits:
            column, unit = COSTS[name]
            ms[getattr(costs, column) / unit > most] = np.inf
        return ms

    def allows(self, genomes: ArrayLike) -> NDArray[np.bool_]:
        """(n,) whether each genome is within all limits."""
        ms = self.ms(genomes)
        return np.asarray(np.isfinite(ms) & (ms <= self.max_ms))

    def random(self, n: int, rng: np.random.Generator) -> Ints:
        """Genomes of up to `n` distinct networks within the limits, uniform over such genomes."""
        found = np.empty((0, len(self.trellis.keys)), np.int64)
        idle = 0
        for _ in range(MAX_DRAWS):
            if len(found) >= n or idle == NOTHING_NEW:
                break
            drawn, before = self.trellis.random(NUM_DRAWN, rng), len(found)
            found = np.concatenate((found, drawn[self.allows(drawn)]))
            _, first = np.unique(self.trellis.networks(found), axis=0, return_index=True)
            found = found[np.sort(first)]
            idle = idle + 1 if len(found) == before > 0 else 0
        return found[:n]

    def sample_even_in_latency(self, n: int, rng: np.random.Generator) -> Ints:
        """Genomes of up to `n` distinct networks within the limits, evenly over log latency."""
        found = self.random(NUM_DRAWN, rng)
        if len(found) <= n:
            return found
        order = np.argsort(ms := self.ms(found), kind="stable")
        logs, steps = np.log(ms[order]), np.arange(n)
        places = np.searchsorted(logs, np.linspace(logs[0], logs[-1], n))
        places = np.maximum.accumulate(places - steps) + steps  # none twice
        return np.asarray(found[order[np.minimum(places, len(found) - n + steps)]])
