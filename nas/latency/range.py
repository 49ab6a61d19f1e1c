"""What a space can reach on a device, known exactly before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError
from nas.space.choices import Picks
from nas.space.trellis.trellis import NetworkCosts, Trellis
from nas.stats.correlation import spearman

SAMPLE = 10_000  # random networks; their quantiles are then known to half a per cent


@dataclass(frozen=True)
class LatencyRange:
    """The range of a space, and random networks of it.

    fastest, slowest   (ms, picks), exact over the whole space.
    ms, costs          of `SAMPLE` random networks.
    """

    fastest: tuple[float, Picks]
    slowest: tuple[float, Picks]
    ms: NDArray[np.float64]
    costs: NetworkCosts

    @property
    def macs_rank(self) -> float:
        """Spearman's correlation of multiply-adds and latency among the random networks."""
        return spearman(self.costs.macs.astype(float), self.ms)

    def share_within(self, target_ms: float) -> float:
        """The part of the random networks that are at most this slow."""
        return float(np.mean(self.ms <= target_ms))

    def require(self, target_ms: float, what: str = "target") -> None:
        """Raise UserError where no network of the space is as fast as `target_ms`."""
        if target_ms < self.fastest[0]:
            raise UserError(
                f"{what}={target_ms:.4g} ms is out of reach: the fastest network of the space "
                f"takes {self.fastest[0]:.4g} ms, the slowest {self.slowest[0]:.4g}; raise it or "
                "lower width= or resolution="
            )


def latency_range(trellis: Trellis, source: Any, resolution: int, seed: int = 0) -> LatencyRange:
    """Survey the space of `trellis` with a table or a lookup."""
    values = np.array([source.row_ms(row, resolution) for row in trellis.rows])
    genomes = trellis.random(SAMPLE, np.random.default_rng(seed))
    (low, fast), (high, slow) = (trellis.extreme(values, most=most) for most in (False, True))
    beside = source.overhead_ms
    return LatencyRange(
        (low + beside, fast),
        (high + beside, slow),
        trellis.totals(values, genomes) + beside,
        trellis.costs(genomes),
    )
