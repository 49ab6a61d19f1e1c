"""What a search found against as many random networks, judged alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.stats.pareto import hypervolume, non_dominated

AIMS = (True, False)  # score up, latency down
Floats = NDArray[np.float64]


def gain_over_random(scored: pd.DataFrame, random: pd.DataFrame) -> dict[str, Any] | None:
    """How the dominated hypervolume of both grew, as a share of what both dominate together.

    Frames have score and latency_ms, in the order of judging; the hypervolume is bounded by the
    worst score and the largest latency that either met.  None where either has no finite row.
    `search` and `random` are the shares after each network, `front` the number of networks on the
    search's front, `equal_after` how many of its networks the search needed for what all the
    random ones reached, if it did.
    """
    points = [_finite(frame) for frame in (scored, random)]
    if not all(len(p) for p in points):
        return None
    both = np.concatenate(points)
    reference = (both[:, 0].min(), both[:, 1].max())
    whole = hypervolume(both, reference, AIMS)
    if not whole:
        return None
    search, other = (_growth(p, reference) / whole for p in points)
    reached = np.flatnonzero(search >= other[-1])
    return {
        "num_random": len(other),
        "front": int(non_dominated(points[0], AIMS).sum()),
        "search": search.tolist(),
        "random": other.tolist(),
        "equal_after": int(reached[0]) + 1 if len(reached) else None,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """What was bought by searching, in one line."""
    bought = f"{found['search'][-1]:.3f} of the hypervolume, {found['random'][-1]:.3f} by as many"
    after = found["equal_after"]
    tail = f"reached after {after}" if after else "which the search did not reach"
    return f"front of {found['front']} · {bought} random networks, {tail}"


def _finite(frame: pd.DataFrame) -> Floats:
    points: Floats = frame[["score", "latency_ms"]].to_numpy(float)
    return np.asarray(points[np.isfinite(points).all(1)])


def _growth(points: Floats, reference: tuple[float, float]) -> Floats:
    """(n,) the hypervolume of the first 1, 2, ... n points [n, 2]."""
    return np.array([hypervolume(points[: i + 1], reference, AIMS) for i in range(len(points))])
