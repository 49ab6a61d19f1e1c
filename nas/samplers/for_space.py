"""The sampler for a search space whose latencies and costs are known row by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.distributions import CategoricalDistribution

from nas.errors import unknown
from nas.objective import OBJECTIVES
from nas.samplers import KnownCostSampler
from nas.samplers.genomes import Batch
from nas.trellis import Trellis


def known_cost(
    trellis: Trellis,
    values: ArrayLike,
    overhead_ms: float,
    *,
    most_ms: float = float("inf"),
    limits: Mapping[str, float | None] | None = None,
    objective: str = "pareto",
    target_ms: float = 1.0,
    seed: int = 0,
) -> KnownCostSampler:
    """A `KnownCostSampler` of the space of `trellis`, its cost the latency in milliseconds.

    values   (rows,) milliseconds of each row, with `overhead_ms` of a network beside them.
    most_ms, limits   what no proposal exceeds: milliseconds, and macs, params, memory_kb.
    objective   a name of `nas.objective.OBJECTIVES`; all but pareto look at `target_ms`.
    """
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    rule = OBJECTIVES[objective]

    def cost(batch: Batch) -> NDArray[np.float64]:
        genomes = trellis.encode(batch)
        ms = trellis.totals(values, genomes) + overhead_ms
        ms[_over(trellis, genomes, limits or {})] = np.inf
        return np.asarray(ms, float)

    def canonical(batch: Batch) -> list[Hashable]:
        return [ids.tobytes() for ids in trellis.networks(trellis.encode(batch))]

    return KnownCostSampler(
        {key: CategoricalDistribution(labels) for key, labels in trellis.labels.items()},
        cost,
        canonical,
        limit=most_ms if np.isfinite(most_ms) else None,
        seed=seed,
        objective=partial(rule, target=target_ms) if rule else None,
    )


def _over(
    trellis: Trellis, genomes: NDArray[Any], limits: Mapping[str, float | None]
) -> NDArray[np.bool_]:
    """(n,) whether a network exceeds one of the limits on its costs."""
    costs = trellis.costs(genomes)
    has = {
        "macs": costs.macs,
        "params": costs.params,
        "memory_kb": costs.peak_memory_bytes / 1024,
    }
    over = np.zeros(len(genomes), bool)
    for name, limit in limits.items():
        if limit is not None and name in has:
            over |= has[name] > limit
    return over
