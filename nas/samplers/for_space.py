"""The sampler for a search space whose latencies and costs are known row by row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.errors import unknown
from nas.objective import OBJECTIVES
from nas.samplers import KnownCostSampler
from nas.samplers.genomes import Batch
from nas.trellis import Trellis

AIMS = ("both", *OBJECTIVES)


class InTurns(BaseSampler):
    """Several samplers of one search space, each for the trials of its turn."""

    def __init__(self, samplers: Sequence[KnownCostSampler]) -> None:
        self.samplers = tuple(samplers)

    def _whose(self, trial: FrozenTrial) -> KnownCostSampler:
        return self.samplers[trial.number % len(self.samplers)]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The search space that they were made for."""
        return self._whose(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next network to evaluate."""
        return self._whose(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is not in the search space."""
        return self._whose(trial).sample_independent(study, trial, name, distribution)


def known_cost(
    trellis: Trellis,
    values: ArrayLike,
    overhead_ms: float,
    *,
    most_ms: float = float("inf"),
    limits: Mapping[str, float | None] | None = None,
    objective: str = "both",
    target_ms: float = 1.0,
    seed: int = 0,
) -> BaseSampler:
    """A `KnownCostSampler` of the space of `trellis`, its cost the latency in milliseconds.

    values   (rows,) milliseconds of each row, with `overhead_ms` of a network beside them.
    most_ms, limits   what no proposal exceeds: milliseconds, and macs, params, memory_kb.
    objective   one of AIMS: a name of `nas.objective.OBJECTIVES`, of which all but pareto look at
             `target_ms`; or both, pareto and limit in turns: the front alone would spend most
             trials on its fast end, where what is gained counts over all the latencies above.
    """
    if objective not in AIMS:
        raise unknown("objective", objective, AIMS)
    if objective == "both":
        return InTurns(
            [
                _sampler(trellis, values, overhead_ms, most_ms, limits, aim, target_ms, seed)
                for aim in ("pareto", "limit")
            ]
        )
    return _sampler(trellis, values, overhead_ms, most_ms, limits, objective, target_ms, seed)


def _sampler(
    trellis: Trellis,
    values: ArrayLike,
    overhead_ms: float,
    most_ms: float,
    limits: Mapping[str, float | None] | None,
    objective: str,
    target_ms: float,
    seed: int,
) -> KnownCostSampler:
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
