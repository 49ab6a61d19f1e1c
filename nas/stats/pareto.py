"""What is on the Pareto front, how large it is, and which of its points to take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.core.errors import UserError

Floats = NDArray[np.float64]


def non_dominated(points: ArrayLike, maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """A mask [n]: which rows of `points` [n, objectives] no other row dominates.

    One point dominates another if it is at least as good in every objective and better in one, so
    all copies of a front point are on the front.  A row that is not finite is never on it.
    """
    costs = _costs(points, maximize)
    finite = np.isfinite(costs).all(axis=1)
    distinct, copy_of = np.unique(costs[finite], axis=0, return_inverse=True)
    mask = np.zeros(len(costs), dtype=bool)
    mask[finite] = _first(distinct)[copy_of]
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike, maximize: Sequence[bool]) -> float:
    """The volume that `points` [n, objectives] dominate, bounded by `reference` [objectives].

    Exact for any number of objectives, by slicing (While et al. 2006, "A faster algorithm for
    calculating hypervolume"): n log n for two, n^2 log n for three.  Points that are not finite or
    not better than the reference in every objective count for nothing.
    """
    costs = _costs(points, maximize)
    worst = _costs(np.asarray(reference)[None], maximize)[0]
    inside = np.isfinite(costs).all(axis=1) & (costs < worst).all(axis=1)
    return _volume(costs[inside], worst)


def best_under(values: ArrayLike, costs: ArrayLike, limit: float) -> int | None:
    """The index of the largest finite value [n] whose cost [n] is at most `limit`, or None.

    Of equal values the cheapest is taken, of equal costs the first.
    """
    values, costs = np.asarray(values, np.float64), np.asarray(costs, np.float64)
    allowed = np.flatnonzero(np.isfinite(values) & np.isfinite(costs) & (costs <= limit))
    if not len(allowed):
        return None
    return int(allowed[np.lexsort((costs[allowed], -values[allowed]))[0]])


def knee(values: ArrayLike, costs: ArrayLike) -> int | None:
    """The index of the front's knee, values [n] maximised and costs [n] minimised.

    It is the point farthest above the straight line between the front's ends, both axes scaled to
    0..1 (Das 1999, "On characterizing the 'knee' of the Pareto curve based on normal-boundary
    intersection").  A front without a bulge gives its cheapest point; None if no row is finite.
    """
    values, costs = np.asarray(values, np.float64), np.asarray(costs, np.float64)
    front = np.flatnonzero(non_dominated(np.column_stack((values, costs)), (True, False)))
    if not len(front):
        return None
    front = front[np.argsort(costs[front], kind="stable")]
    return int(front[np.argmax(_unit(values[front]) - _unit(costs[front]))])


def _costs(points: ArrayLike, maximize: Sequence[bool]) -> Floats:
    """`points` [n, objectives] with every objective to be minimised."""
    array = np.asarray(points, np.float64)
    array = array if array.size else array.reshape(0, len(maximize))
    if array.ndim != 2 or array.shape[1] != len(maximize):
        raise UserError(
            f"points of shape {array.shape} do not fit {len(maximize)} objectives "
            f"(allowed: [n, {len(maximize)}]); give one column for each entry of maximize"
        )
    return np.where(maximize, -array, array)


def _first(costs: Floats) -> NDArray[np.bool_]:
    """Which of `costs` [n, objectives], distinct and in lexicographic order, are on the front."""
    if costs.shape[1] == 2:  # those that better the second objective of all before
        best = np.minimum.accumulate(costs[:, 1])
        return np.append(True, costs[1:, 1] < best[:-1])[: len(costs)]
    # no row is dominated by a later one: the first left is on the front and takes out others
    index = np.arange(len(costs))
    on_front = np.zeros(len(costs), dtype=bool)
    while len(costs):
        on_front[index[0]] = True
        keep = (costs < costs[0]).any(axis=1)
        costs, index = costs[keep], index[keep]
    return on_front


def _volume(costs: Floats, worst: Floats) -> float:
    """The volume between `costs` [n, objectives], all below `worst` [objectives], and it."""
    if not len(costs):
        return 0.0
    costs = costs[np.argsort(costs[:, -1])]
    depths = np.diff(costs[:, -1], append=worst[-1])  # [n] of the slice that each point opens
    if len(worst) == 1:
        return float(worst[0] - costs[0, 0])
    if len(worst) == 2:
        return float((worst[0] - np.minimum.accumulate(costs[:, 0])) @ depths)
    slices = np.flatnonzero(depths)
    return float(sum(_volume(costs[: i + 1, :-1], worst[:-1]) * depths[i] for i in slices))


def _unit(column: Floats) -> Floats:
    """`column` [n] scaled to 0..1; zeros if it is constant."""
    span = np.ptp(column)
    return (column - column.min()) / span if span else np.zeros_like(column)
