"""Which replacement for which block: the least sum of scores within every budget, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_KEPT = 20_000  # sums after each block; more are thinned, evenly over cost

Floats = NDArray[np.float64]


def best_sums(
    costs: Sequence[ArrayLike], scores: Sequence[ArrayLike]
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Every choice that no other beats: one option a block, least sum of scores for its cost.

    costs, scores   of the options of each block.
    Returns sums of cost (n,) ascending, of score (n,) descending, and the options (n, blocks).
    Blocks are added one by one, and what is slower and worse than another is dropped (Nemhauser
    and Ullmann 1969); exact while at most MAX_KEPT are left.
    """
    total, score = np.zeros(1), np.zeros(1)
    chosen = np.zeros((1, 0), np.intp)
    for own_costs, own_scores in zip(costs, scores, strict=True):
        own_cost, own_score = np.asarray(own_costs, float), np.asarray(own_scores, float)
        cost_sums = (total[:, None] + own_cost).ravel()
        score_sums = (score[:, None] + own_score).ravel()
        order = np.lexsort((score_sums, cost_sums))
        order = order[np.isfinite(score_sums[order])]  # without what breaks the network
        least = np.minimum.accumulate(score_sums[order])
        better = np.append(True, least[1:] < least[:-1])
        kept = order[better]
        if len(kept) > MAX_KEPT:
            kept = kept[np.linspace(0, len(kept) - 1, MAX_KEPT).round().astype(int)]
        total, score = cost_sums[kept], score_sums[kept]
        before, option = np.divmod(kept, len(own_cost))
        chosen = np.column_stack([chosen[before], option])
    return total, score, chosen
