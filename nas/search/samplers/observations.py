"""What a study knows of the networks of a space, in the order of trial numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.search.samplers.genomes import Floats, Genomes, Ints
from nas.stats.pareto import non_dominated

Row = tuple[int, Sequence[int], float]  # a trial's number, a genome and a value

# The model reads this many networks at most, so that a proposal takes no longer at the 10,000th
# trial than at the 500th: the FIRST (its hyperparameters are fitted to them), the RECENT, those
# NEAR the front in equal shares from BINS ranges of the cost, and for the rest some by lot.
# Without the lot the poor networks are forgotten, and trials are spent on learning of them again.
MAX_OBSERVED = 480
FIRST, RECENT, NEAR, BINS = 128, 64, 160, 16
GOLDEN_RATIO = (5**0.5 - 1) / 2  # its multiples spread evenly over 0..1: a lot that never changes
EARLIER = "earlier"  # the fidelity of another run


@dataclass(frozen=True, eq=False)
class Evidence:
    """Networks and their values, in the order of trial numbers."""

    numbers: Ints  # [n]
    genomes: Ints  # [n, choices]
    values: Floats  # [n], higher is better
    costs: Floats  # [n]

    @classmethod
    def none(cls, space: Genomes) -> Evidence:
        """Of no network."""
        return cls(np.empty(0, np.int64), space.array([]), np.empty(0), np.empty(0))

    def with_rows(self, rows: Sequence[Row], space: Genomes) -> Evidence:
        """This, and `rows` at their places."""
        if not rows:
            return self
        numbers, genomes, values = zip(*rows, strict=True)
        new = space.array(genomes)
        old = (self.numbers, self.genomes, self.values, self.costs)
        added: tuple[Any, ...] = (numbers, new, values, space.costs(new))
        columns = [np.concatenate(pair) for pair in zip(old, added, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Evidence(*(column[order] for column in columns))

    @cached_property
    def front(self) -> Ints:
        """Indices of the networks that no other dominates."""
        points = np.column_stack((self.values, self.costs))
        return np.flatnonzero(non_dominated(points, (True, False)))

    @cached_property
    def informative(self) -> Ints:
        """Indices of those that the model reads, ascending: all, or MAX_OBSERVED of them."""
        num = len(self.values)
        if num <= MAX_OBSERVED:
            return np.arange(num)
        old = np.arange(FIRST, num - RECENT)
        finite = self.costs[np.isfinite(self.costs)]
        logs = np.log(np.minimum(self.costs, finite.max(initial=1.0)))
        bins = np.digitize(logs, np.linspace(logs.min(), logs.max(), BINS + 1)[1:-1])
        order = old[np.lexsort((-self.values[old], self._gaps[old], bins[old]))]
        rank = np.arange(len(order)) - np.searchsorted(bins[order], bins[order])
        order = order[np.argsort(rank, kind="stable")]
        near, far = order[:NEAR], order[NEAR:]
        lot = self.numbers[far] * GOLDEN_RATIO % 1
        far = far[np.argsort(lot, kind="stable")[: MAX_OBSERVED - FIRST - RECENT - NEAR]]
        recent = np.arange(num - RECENT, num)
        return np.sort(np.concatenate((np.arange(FIRST), near, far, recent)))

    @property
    def _gaps(self) -> Floats:
        """By how much each value [n] is below the best of all that cost no more."""
        order = np.lexsort((-self.values, self.costs))
        best = np.maximum.accumulate(self.values[order])
        gaps = np.empty(len(best))
        gaps[order] = best - self.values[order]
        return gaps


@dataclass(frozen=True, eq=False)
class Known:
    """All evidence of a study: values, and those of lower fidelities by name."""

    told: Evidence
    lower: Mapping[str, Evidence]


@dataclass(frozen=True)
class Observations:
    """What is known at one proposal."""

    known: Known
    pending: Ints  # [p, choices] of the networks under way
    seen: Set[Hashable]  # keys of all that may not come again
    fixed: Mapping[int, int]  # choices that the trial was enqueued with


class History:
    """Reads the trials of one study, each that has ended only once.

    value_of   what a told value is, higher is better
    earlier    genomes and values of another run, in the unit that they have there
    proposed   parameters of trials under way that the storage may not have yet, by number
    """

    def __init__(
        self,
        space: Genomes,
        value_of: Callable[[float], float],
        earlier: Sequence[tuple[Sequence[int], float]],
    ) -> None:
        self.space, self.value_of = space, value_of
        self.proposed: dict[int, Mapping[str, Any]] = {}
        self._num_read = 0
        self._unfinished: list[int] = []
        self._seen: set[Hashable] = set()
        self._told: set[tuple[int, ...]] = set()
        self._untold: dict[str, set[tuple[int, ...]]] = {}  # of the networks of each fidelity
        self._fidelities: dict[str, Evidence] = {}
        self.known = Known(Evidence.none(space), {})
        if earlier:
            self._learn([], {EARLIER: [(i, g, v) for i, (g, v) in enumerate(earlier)]})

    def read(self, study: optuna.Study, trial: FrozenTrial | None = None) -> Observations:
        """What `study` knows beside `trial`."""
        trials = study.get_trials(deepcopy=False)
        looked_at = (*self._unfinished, *range(self._num_read, len(trials)))
        self._num_read = len(trials)
        self._unfinished = [i for i in looked_at if not trials[i].state.is_finished()]
        under_way = [trials[i] for i in self._unfinished]
        numbers = {other.number for other in under_way}
        self.proposed = {n: picks for n, picks in self.proposed.items() if n in numbers}
        self._read_finished([t for i in looked_at if (t := trials[i]).state.is_finished()])
        own = -1 if trial is None else trial.number
        genomes = [self._genome(other) for other in under_way if other.number != own]
        pending = self.space.array([genome for genome in genomes if genome is not None])
        fixed = {} if trial is None else trial.system_attrs.get("fixed_params", {})
        seen = self._seen.union(self.space.keys(pending))
        return Observations(self.known, pending, seen, self.space.fixed(fixed))

    def _genome(self, trial: FrozenTrial) -> list[int] | None:
        """The genome of a trial, None where another sampler made it."""
        params = trial.system_attrs.get("fixed_params", {}) | trial.params
        if trial.state == TrialState.RUNNING:
            params = {**self.proposed.get(trial.number, {}), **params}
        return self.space.genome(params)

    def _read_finished(self, trials: Sequence[FrozenTrial]) -> None:
        told: list[Row] = []
        lower: dict[str, list[Row]] = {}
        genomes = []
        for trial in trials:
            if (genome := self._genome(trial)) is None:
                continue
            genomes.append(genome)
            if (value := _value(trial)) is not None:
                told.append((trial.number, genome, self.value_of(value)))
            for step, value in reported(trial).items():
                lower.setdefault(step, []).append((trial.number, genome, self.value_of(value)))
        self._seen.update(self.space.keys(self.space.array(genomes)))
        if told or lower:
            self._learn(told, lower)

    def _learn(self, told: Sequence[Row], lower: Mapping[str, Sequence[Row]]) -> None:
        self._told.update(tuple(genome) for _, genome, _ in told)
        for name, rows in lower.items():
            before = self._fidelities.get(name, Evidence.none(self.space))
            self._fidelities[name] = before.with_rows(rows, self.space)
            self._untold.setdefault(name, set()).update(tuple(genome) for _, genome, _ in rows)
        for untold in self._untold.values():
            untold -= self._told
        self.known = Known(self.known.told.with_rows(told, self.space), self._useful())

    def _useful(self) -> dict[str, Evidence]:
        """The fidelities that know of a network whose value is not told; others add nothing."""
        useful = [(name, rows) for name, rows in self._fidelities.items() if self._untold[name]]
        return dict(sorted(useful, key=lambda item: (item[0] == EARLIER, item[1].numbers[0])))


def _value(trial: FrozenTrial) -> float | None:
    """The finite value of a complete trial within its constraints, or None."""
    if trial.state != TrialState.COMPLETE or not np.isfinite(trial.values[0]):
        return None
    return None if any(c > 0 for c in trial.constraints.values()) else float(trial.values[0])


def reported(trial: FrozenTrial) -> dict[str, float]:
    """What a trial that was stopped or ran to its end reported on the way, by step."""
    if trial.state not in {TrialState.PRUNED, TrialState.COMPLETE}:
        return {}
    values = trial.intermediate_values or trial.user_attrs.get("rungs", {})
    return {str(step): float(v) for step, v in values.items() if np.isfinite(v)}
