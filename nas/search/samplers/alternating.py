"""Several samplers of one space, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.search.samplers.known_cost import KnownCostSampler


class AlternatingSampler(BaseSampler):
    """Several samplers of one search space, each for the trials of its turn."""

    def __init__(self, samplers: Sequence[KnownCostSampler]) -> None:
        self.samplers = tuple(samplers)

    def _sampler_of(self, trial: FrozenTrial) -> KnownCostSampler:
        return self.samplers[trial.number % len(self.samplers)]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The search space that they were made for."""
        return self._sampler_of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next network to evaluate."""
        return self._sampler_of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """A random value of a parameter that is not in the search space."""
        return self._sampler_of(trial).sample_independent(study, trial, name, distribution)
