"""What is expected of networks, from the values told and from cheaper evidence of them.

Short trainings and runs of other data or budgets are lower fidelities.  Each is a Gaussian
process of its own, whose mean is a column of the trend of the process of the values: the
recursive form of co-kriging (Le Gratiet and Garnier 2014).  Slopes are learnt, so that a fidelity
may have any unit and may mean nothing; only values that are told decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.search.samplers.genomes import Floats, Ints
from nas.stats.gaussian_process import GaussianProcess, Hyperparameters, ceiling, fit

Points = tuple[Floats, Floats]  # columns [n, d], values [n]
Split = Callable[[Floats], tuple[Floats, Floats]]  # columns of the kernel, and of the trend

# Hyperparameters are fitted anew when a tenth more is known, and to this many values at most:
# a few numbers need no more, and their fit takes cubic time.
REFIT, MAX_FITTED = 1.1, 128
MIN_FITTED = 6  # networks; a fidelity known of fewer is left out, as the values alone would be


@dataclass(frozen=True)
class Expected:
    """The posterior: `predict` gives mean and deviation of -log(top - value)."""

    process: GaussianProcess
    top: float
    split: Split
    kept: list[int]  # columns of the trend

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """(mean [m], deviation [m]) at columns [m, d]."""
        return self.process.predict(*self._read(x))

    def believing(self, pending: Floats) -> Expected:
        """The same, if trials under way [p, d] turn out as expected."""
        if not len(pending):
            return self
        columns, trend = self._read(pending)
        mean = self.process.predict(columns, trend)[0]
        return replace(self, process=self.process.extended(columns, mean, trend))

    def _read(self, x: Floats) -> tuple[Floats, Floats | None]:
        columns, trend = self.split(x)
        return columns, _some(trend, self.kept)


class Surrogate:
    """Learns from columns of `nas.search.samplers.candidates`, of which the last may be a prior.

    groups   [d] of the columns that the kernel reads; those beyond are prior guesses of the value
    """

    def __init__(self, groups: Ints) -> None:
        self.groups = groups
        self._fitted: dict[str, tuple[Any, Hyperparameters, list[int]]] = {}

    def __call__(self, told: Points, lower: Mapping[str, Points]) -> Expected:
        """What to expect after `told` and after `lower` fidelities, by name."""
        useful = {n: points for n, points in lower.items() if len(points[1]) >= MIN_FITTED}
        models = [self._learn(name, points, self._prior) for name, points in useful.items()]

        def split(x: Floats) -> tuple[Floats, Floats]:
            guesses = [(m.predict(x)[0] - m.process.centre) / m.process.unit for m in models]
            columns, prior = self._prior(x)
            return columns, np.column_stack((*guesses, prior))

        return self._learn("", told, split)

    def _prior(self, x: Floats) -> tuple[Floats, Floats]:
        num = len(self.groups)
        return x[:, :num], x[:, num:]

    def _learn(self, name: str, told: Points, split: Split) -> Expected:
        x, values = told
        num = MIN_FITTED
        while (more := max(num + 1, int(num * REFIT))) <= min(len(values), MAX_FITTED):
            num = more
        columns, trend = split(x[:num])
        key = columns.tobytes(), values[:num].tobytes(), trend.tobytes()
        if name not in self._fitted or self._fitted[name][0] != key:
            y = -np.log(ceiling(values[:num]) - values[:num])
            self._fitted[name] = key, *self._fit(x[:num], y, split)
        _, hyper, kept = self._fitted[name]
        top = ceiling(values)
        y = -np.log(top - values)
        return Expected(self._process(x, y, split, hyper, kept), top, split, kept)

    def _fit(self, x: Floats, y: Floats, split: Split) -> tuple[Hyperparameters, list[int]]:
        """Hyperparameters, and the columns of the trend, each kept if that is more probable."""
        columns, trend = split(x)
        kept: list[int] = []
        hyper = fit(columns, y, self.groups)
        best = self._process(x, y, split, hyper, kept).log_evidence
        for i in range(trend.shape[1]):
            more = fit(columns, y, self.groups, trend[:, [*kept, i]])
            evidence = self._process(x, y, split, more, [*kept, i]).log_evidence
            if evidence > best:
                best, hyper, kept = evidence, more, [*kept, i]
        return hyper, kept

    def _process(
        self, x: Floats, y: Floats, split: Split, hyper: Hyperparameters, kept: list[int]
    ) -> GaussianProcess:
        columns, trend = split(x)
        return GaussianProcess(columns, y, self.groups, hyper, _some(trend, kept))


def _some(trend: Floats, kept: list[int]) -> Floats | None:
    return trend[:, kept] if kept else None
