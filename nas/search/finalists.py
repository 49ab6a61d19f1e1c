"""The networks of a search that are trained alone, and how far the order they had was right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from nas.stats.correlation import interval, kendall, spearman, top_regret
from nas.stats.pareto import non_dominated

DECIMALS = 9  # decimals of a score; what differs below them is rounding
NUM_TOP = 3  # networks whose best one is compared with the best of all


def choose_finalists(scored: pd.DataFrame, target_ms: float, best: int, spread: int) -> list[int]:
    """Numbers of the trials to train alone, the most promising first.

    Among equal scores the fastest network is kept.  First come the `best` of highest score within
    the target, or the fastest where none is; then `spread` others: half from the front, evenly
    over its latencies, half evenly over the order of all scores, since an order cannot be tested
    on its upper end alone.
    """
    ranked = scored.assign(score=scored["score"].round(DECIMALS))
    ranked = ranked.sort_values(["score", "latency_ms", "number"], ascending=[False, True, True])
    ranked = ranked.drop_duplicates("score")
    within = ranked[ranked["latency_ms"] <= target_ms]
    if within.empty:
        within = ranked.nsmallest(1, "latency_ms")
    chosen = within["number"].head(best).tolist()
    mask = non_dominated(ranked[["score", "latency_ms"]].to_numpy(float), (True, False))
    front = ranked[mask].sort_values("latency_ms")["number"].tolist()
    chosen += _pick_evenly([n for n in front if n not in chosen], spread // 2)
    rest = [n for n in ranked["number"].tolist() if n not in chosen]
    return [int(n) for n in chosen + _pick_evenly(rest, best + spread - len(chosen))]


def _pick_evenly(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of `numbers` at even distances, from the first to the last."""
    if count >= len(numbers):
        return list(numbers)
    places = np.linspace(0, len(numbers) - 1, max(count, 0)).round().astype(int)
    return [numbers[i] for i in places]


def measure_fidelity(scores: ArrayLike, alone: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """How well scores rank networks by the score that each has when it is trained alone.

    top_regret   what is lost of the latter by training only the NUM_TOP of highest score.
    Intervals are 95 %, by resampling the networks; `words` says what they mean.
    """
    a, b = np.asarray(scores, float), np.asarray(alone, float)
    found = {
        "kendall": interval(kendall, a, b, seed),
        "spearman": interval(spearman, a, b, seed),
        "top_regret": interval(top_regret(NUM_TOP), a, b, seed),
    }
    figures = {name: figure.value for name, figure in found.items()}
    intervals = {f"{name}_interval": [f.low, f.high] for name, f in found.items()}
    low = found["kendall"].low
    return {"num_networks": len(a), **figures, **intervals, "words": describe_tau(low, len(a))}


def describe_tau(low: float, number: int) -> str:
    """What the lower end of Kendall's tau over `number` networks lets one say."""
    if not low > 0 or number < 5:
        return "these networks do not show that the score ranks better than chance"
    if low < 1 / 3:  # under two right pairs for each wrong one
        return "the score tells good from bad; the order among close ones is not reliable"
    if low < 0.8:  # under nine right pairs for each wrong one
        return "the score ranks well; the order within the top few is not reliable"
    return "the score ranks as reliably as training does"
