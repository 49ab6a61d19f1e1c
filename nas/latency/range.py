"""What a space can reach on a device, known exactly before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError
from nas.latency.lookup import Lookup
from nas.latency.store import LatencySource
from nas.space.choices import Picks
from nas.space.trellis.trellis import NetworkCosts
from nas.stats.correlation import spearman

SAMPLE = 10_000  # random networks; their quantiles are then known to half a per cent


@dataclass(frozen=True)
class LatencyRange:
    """The fastest and the slowest network of a space (ms, picks), and `SAMPLE` random ones."""

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
                f"takes {self.fastest[0]:.4g} ms, the slowest {self.slowest[0]:.4g}; raise it, "
                "or lower the input's side (data.resolution=) or, where the space has one, its "
                "width (width=)"
            )


def latency_range(latencies: LatencySource) -> LatencyRange:
    """The range of the space whose rows `latencies` knows; UserError where one takes no time."""
    trellis, row_ms = latencies.trellis, latencies.row_ms
    whole_ms = latencies.source.whole_ms
    genomes = trellis.random(SAMPLE, np.random.default_rng(0))
    ends = [trellis.extreme(row_ms, most=most) for most in (False, True)]
    low, high = whole_ms(np.array([ms for ms, _ in ends])).tolist()
    if isinstance(latencies.source, Lookup):
        latencies.source.require_time(low)
    return LatencyRange(
        fastest=(low, ends[0][1]),
        slowest=(high, ends[1][1]),
        ms=whole_ms(trellis.totals(row_ms, genomes)),
        costs=trellis.costs(genomes),
    )


@dataclass(frozen=True)
class Findings:
    """What a table tells of its space.

    published     MACs and milliseconds of the published networks inside, by name.
    target_name   the published network that the target, in milliseconds, is of.
    """

    latencies: LatencySource
    range: LatencyRange
    published: Mapping[str, Mapping[str, float]]
    target_ms: float | None
    target_name: str | None
