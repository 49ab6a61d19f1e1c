"""What a search found against as many random networks, judged alike."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.stats.pareto import non_dominated

AIMS = (True, False)  # score up, latency down
Floats = NDArray[np.float64]


def gain_over_random(scored: pd.DataFrame, random: pd.DataFrame) -> dict[str, Any] | None:
    """How the dominated hypervolume of both grew, as a share of what both dominate together.

    Frames have score and latency_ms, in the order of judging; the hypervolume is bounded by the
    worst score and the largest latency of both.  None where either has no finite row.
    `search` and `random` are the shares after each network, `front` the number of networks on the
    search's front, `equal_after` how many of them the search needed to equal the random ones.
    """
    points = [_finite(frame) for frame in (scored, random)]
    if not all(len(p) for p in points):
        return None
    both = np.concatenate(points)
    reference = (float(both[:, 0].min()), float(both[:, 1].max()))
    if not (whole := hypervolume_growth(both, reference)[-1]):
        return None
    search, other = (hypervolume_growth(p, reference) / whole for p in points)
    reached = np.flatnonzero(search >= other[-1])
    return {
        "num_random": len(other),
        "front": int(non_dominated(points[0], AIMS).sum()),
        "search": search.tolist(),
        "random": other.tolist(),
        "equal_after": int(reached[0]) + 1 if len(reached) else None,
    }


def _finite(frame: pd.DataFrame) -> Floats:
    points: Floats = frame[["score", "latency_ms"]].to_numpy(float)
    return np.asarray(points[np.isfinite(points).all(1)])


def hypervolume_growth(points: Floats, reference: tuple[float, float]) -> Floats:
    """(n,) the hypervolume of the first 1, 2, ... n points (score, latency) [n, 2].

    A point adds the area between it and the steps of the front that it covers.
    """
    worst, slowest = reference
    costs: list[float] = []  # of the front, rising, and so do its scores
    scores: list[float] = []
    total, grown = 0.0, []
    for score, cost in points.tolist():
        at = bisect_left(costs, cost)
        below = scores[at - 1] if at else worst  # the best score at a lower cost
        if at < len(costs) and costs[at] == cost:
            below = max(below, scores[at])
        if score > below and cost < slowest:
            end = at
            height, left = scores[at - 1] if at else worst, cost
            while end < len(costs) and scores[end] <= score:  # steps that the point covers
                total += (costs[end] - left) * (score - height)
                height, left = scores[end], costs[end]
                end += 1
            right = costs[end] if end < len(costs) else slowest
            total += (right - left) * (score - height)
            costs[at:end], scores[at:end] = [cost], [score]
        grown.append(total)
    return np.array(grown)
