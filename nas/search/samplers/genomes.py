"""Genomes of a search space: from parameter values and back, their costs, keys and features.

A genome is a row of integers, the index of the label that each choice takes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from nas.core.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Batch = Sequence[Mapping[str, Any]]  # parameter values, as trial.params
Callback = Callable[[Any], Any]  # of a Batch, or of genomes [n, choices]; one answer for each
SearchSpace = Mapping[str, CategoricalDistribution | IntDistribution]

MAX_LABELS = 10_000  # of one choice, which are kept in a list
# Answers of each callback; a proposal looks at some 700 genomes, mostly at those of the last few.
MAX_REMEMBERED = 20_000


class Genomes:
    """The genomes of a search space; the arguments are those of `KnownCostSampler`.

    Raises `UserError` where a choice is neither categorical nor integer, and where a callback's
    answer cannot be used.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        cost: Callback,
        canonical: Callback | None,
        features: Callback | None,
        prior: Callback | None = None,
        takes_genomes: bool = False,
    ) -> None:
        if not search_space:
            raise UserError("a search space needs at least one choice, not none: add one")
        self.labels = {name: _labels(name, d) for name, d in search_space.items()}
        self.index = {n: {x: i for i, x in enumerate(ls)} for n, ls in self.labels.items()}
        self.sizes = np.array([len(labels) for labels in self.labels.values()], np.int64)
        asked: Callable[[Ints], Any] = (lambda g: g) if takes_genomes else self.picks
        self._costs = _Remembered(lambda g: _positive(cost(asked(g))))
        self._keys = _Remembered(lambda g: canonical(asked(g))) if canonical else rows
        self._features = features and _Remembered(lambda g: _finite(features(asked(g)), len(g)))
        self._prior = prior and _Remembered(lambda g: _finite(prior(asked(g)), len(g)))

    def array(self, genomes: Sequence[Sequence[int]]) -> Ints:
        """Genomes, also none, as one array [n, choices]."""
        return np.array(genomes, np.int64).reshape(-1, len(self.sizes))

    def picks(self, genomes: Iterable[Iterable[int]]) -> list[dict[str, Any]]:
        """Parameter values of genomes [n, choices]."""
        items = list(self.labels.items())
        return [
            {name: labels[i] for (name, labels), i in zip(items, row, strict=True)}
            for row in (g.tolist() if isinstance(g, np.ndarray) else g for g in genomes)
        ]

    def genome(self, params: Mapping[str, Any]) -> list[int] | None:
        """The genome of parameter values, or None where they are no network of the space."""
        try:
            return [index[params[name]] for name, index in self.index.items()]
        except (KeyError, TypeError):
            return None

    def fixed(self, params: Mapping[str, Any]) -> dict[int, int]:
        """Labels that `params` give to choices, both as indices: {choice: label}."""
        return {
            i: index[params[name]]
            for i, (name, index) in enumerate(self.index.items())
            if name in params and params[name] in index
        }

    def costs(self, genomes: Ints) -> Floats:
        """Costs [n] of genomes [n, choices], infinite where there is none."""
        return np.array(self._costs(genomes), np.float64)

    def keys(self, genomes: Ints) -> list[Hashable]:
        """What tells the networks of genomes [n, choices] apart."""
        return list(self._keys(genomes))

    def features(self, genomes: Ints) -> Floats:
        """Features [n, f] of genomes [n, choices], n > 0."""
        return _table(self._features, genomes)

    def prior(self, genomes: Ints) -> Floats:
        """Prior guesses of the value [n, 0 or 1] of genomes [n, choices], n > 0."""
        return _table(self._prior, genomes)

    def all(self) -> Ints:
        """All genomes [n, choices]."""
        axes = np.meshgrid(*(np.arange(n) for n in self.sizes), indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)

    def uniform(self, num: int, rng: np.random.Generator) -> Ints:
        """Random genomes [num, choices], every label of a choice as likely."""
        return rng.integers(self.sizes, size=(num, len(self.sizes)))

    def children(self, parents: Ints, num: int, rng: np.random.Generator) -> Ints:
        """Children [num, choices]: half of them of two parents, with one to three genes new."""
        one, other = (parents[rng.integers(len(parents), size=num)] for _ in range(2))
        crossed = (rng.random((num, 1)) < 0.5) & (rng.random(one.shape) < 0.5)
        order = rng.random(one.shape).argsort(axis=1)
        new = order < rng.integers(1, 4, size=(num, 1))
        children: Ints = np.where(crossed, other, one)
        return np.where(new, rng.integers(self.sizes, size=one.shape), children)


class _Remembered:
    """A function of genomes [n, choices] to n answers, which remembers the latest."""

    def __init__(self, function: Callable[[Ints], Iterable[Any]]) -> None:
        self.function = function
        self.known: dict[bytes, Any] = {}

    def __call__(self, genomes: Ints) -> list[Any]:
        if len(self.known) > MAX_REMEMBERED:
            self.known.clear()
        rows = [row.tobytes() for row in np.ascontiguousarray(genomes, np.int32)]
        new = {row: i for i, row in enumerate(rows) if row not in self.known}
        if new:
            answers = list(self.function(genomes[list(new.values())]))
            if len(answers) != len(new):
                raise UserError(
                    f"cost, canonical and features must answer for each network: received "
                    f"{len(answers)} answers for {len(new)} networks; return one row for each"
                )
            self.known.update(zip(new, answers, strict=True))
        return [self.known[row] for row in rows]


def _table(function: _Remembered | None, genomes: Ints) -> Floats:
    if function is None:
        return np.empty((len(genomes), 0))
    return np.array(function(genomes), np.float64).reshape(len(genomes), -1)


def rows(genomes: Ints) -> list[tuple[int, ...]]:
    """Genomes [n, choices] as tuples."""
    return list(map(tuple, genomes.tolist()))


def _positive(answer: Any) -> Floats:
    costs: Floats = np.array(answer, np.float64).ravel()
    costs[np.isnan(costs)] = np.inf
    if (costs <= 0).any():
        raise UserError(
            f"a cost must be a positive number, not {costs.min():.4g} (allowed: any unit, and "
            "infinite for networks that cannot be had)"
        )
    return costs


def _finite(answer: Any, num: int) -> Floats:
    features: Floats = np.array(answer, np.float64).reshape(num, -1)
    if not np.isfinite(features).all():
        raise UserError(
            "a feature or prior is missing or infinite (allowed: finite numbers); leave it out, or "
            "give a number for every network"
        )
    return features


def _labels(name: str, distribution: CategoricalDistribution | IntDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        labels = range(distribution.low, distribution.high + 1, distribution.step)
        if len(labels) <= MAX_LABELS:
            return list(labels)
        raise UserError(
            f"{name} has {len(labels)} values (allowed: {MAX_LABELS}); give it a larger step"
        )
    raise UserError(
        f"{name} cannot be a {type(distribution).__name__} (allowed: CategoricalDistribution, "
        "IntDistribution); list its values as choices"
    )
