"""Whether two groups of numbers differ, without a model of how they are spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.stats.correlation import Interval

PERMUTATIONS = 10_000  # smallest p: 0.0001; a p of 0.05 is known to 0.002
RESAMPLES = 2000


def permutation_p(
    group: ArrayLike, others: ArrayLike, two_sided: bool = False, seed: int = 0
) -> float:
    """How often chance alone puts the mean of `group` (n,) so far above that of `others` (m,).

    Labels are permuted; the permutation that happened counts too (Phipson and Smyth 2010), so no
    p is 0.  `two_sided`: so far away.  Numbers that are NaN drop out; NaN where a group is empty.
    """
    a, b = _finite(group), _finite(others)
    if not len(a) or not len(b):
        return float("nan")
    pooled, rng = np.concatenate((a, b)), np.random.default_rng(seed)
    lots = rng.random((PERMUTATIONS, len(pooled)), np.float32)
    chosen = np.argpartition(lots, len(a) - 1, axis=1)[:, : len(a)]
    drawn = pooled[chosen].sum(1)
    centre = pooled.mean() * len(a)
    found, by_chance = a.sum() - centre, drawn - centre
    if two_sided:
        found, by_chance = abs(found), np.abs(by_chance)
    rounding = 1e-9 * max(1.0, float(np.abs(pooled).sum()))
    return float((1 + np.sum(by_chance >= found - rounding)) / (1 + PERMUTATIONS))


def difference_interval(group: ArrayLike, others: ArrayLike, seed: int = 0) -> Interval:
    """Mean of `group` less that of `others`, with its 95 % bootstrap interval (percentiles).

    Both groups are resampled.  NaN drops out, as in `permutation_p`.
    """
    a, b = _finite(group), _finite(others)
    if not len(a) or not len(b):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    draws = [x[rng.integers(len(x), size=(RESAMPLES, len(x)))].mean(1) for x in (a, b)]
    low, high = np.quantile(draws[0] - draws[1], [0.025, 0.975])
    return Interval(float(a.mean() - b.mean()), float(low), float(high))


def holm(ps: Sequence[float]) -> list[float]:
    """The p of each hypothesis of a family after Holm's correction (1979), NaN for NaN."""
    values = np.asarray(ps, float)
    adjusted, largest = np.full(len(values), np.nan), 0.0
    known = np.flatnonzero(np.isfinite(values))
    for rank, i in enumerate(known[np.argsort(values[known], kind="stable")]):
        largest = max(largest, min(1.0, (len(known) - rank) * values[i]))
        adjusted[i] = largest
    return [float(p) for p in adjusted]


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, float)
    return np.asarray(array[np.isfinite(array)])
