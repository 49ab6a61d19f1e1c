"""An Optuna sampler for architectures: values are expensive, costs are known beforehand.

    sampler = KnownCostSampler(search_space, cost=macs_of, canonical=network_of, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

A Gaussian process predicts the value of every network from its choices and its cost; the network
that adds most to the front in expectation, given what it costs, is proposed, and no network is
proposed twice.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.errors import UserError
from nas.gaussian_process import GaussianProcess, Hyperparameters, fit
from nas.objective import Objective, expected_excess, expected_hypervolume, line
from nas.pareto import non_dominated
from nas.samplers.candidates import Candidates
from nas.samplers.genomes import Batch, SearchSpace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Networks that are spread over the space before the model is asked: enough for quartiles, and
# since costs are known the model needs no more to do better than a blind draw.
FIRST = 6
# The highest conceivable value lies this many interquartile ranges above the best one known.
# Its logarithmic distance is what is modelled, since accuracy saturates: from 70 to 80 % is as
# far as from 92 to 92.5 %.  Half to twice of it propose equally well.
HEADROOM = 0.5
# Values further below the quartiles than this many interquartile ranges count for no hypervolume
# (Tukey's outer fence, "Exploratory Data Analysis", 1977): networks that learn nothing.
FENCE = 3.0
# Hyperparameters are fitted anew when a tenth more is known, and on this many trials at most:
# a few numbers need no more, and their fit takes cubic time.
REFIT, MOST_FITTED = 1.1, 128
NOTHING = 1e-300
_LOCK = threading.Lock()


class ExhaustedError(UserError):
    """Every network of the space that is within the limit was proposed already."""


@dataclass(frozen=True)
class Told:
    """What a study knows: the networks told, those under way, and all that may not come again."""

    genomes: Ints  # [n, choices]
    values: Floats  # [n], higher is better
    pending: Ints  # [p, choices]
    seen: frozenset[Hashable]
    held: Mapping[int, int]  # choices that the trial was enqueued with


class KnownCostSampler(optuna.samplers.BaseSampler):
    """Proposes networks by expected gain at their known cost, each at most once.

    search_space   choices, categorical or integer
    cost           (n,) positive costs of networks, known before any is evaluated; an infinite or
                   missing (NaN) cost says that a network cannot be had
    canonical      equal keys mean the same network; without it all genomes are different ones
    features       (n, f) what else is known of networks: log parameters, depth, a supernet's score
    limit          the most a network may cost; nothing dearer is ever proposed
    objective      how value and cost make one number (nas.objective), instead of the front
    reference      (value, cost) that bound the hypervolume; without it FENCE and the largest cost

    In a study of two directions (value, cost) the front is sought, in one of one direction the
    best value.  A proposal depends on the seed, the number of the trial and what was told, never
    on time or process; trials under way count with the value that the model expects of them.
    Failed, pruned and infeasible trials are not modelled and not repeated.  Parameters of the
    study that are not in `search_space` are drawn at random.

    Raises `ExhaustedError` where no network is left (Optuna's trial is then still running: tell
    it as failed), `UserError` where the study's directions, a cost or the limit cannot be used.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        cost: Callable[[Batch], Floats],
        canonical: Callable[[Batch], Sequence[Hashable]] | None = None,
        features: Callable[[Batch], Floats] | None = None,
        limit: float | None = None,
        seed: int | None = None,
        *,
        objective: Objective | None = None,
        reference: tuple[float, float] | None = None,
    ) -> None:
        self.search_space = dict(search_space)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.objective, self.reference = objective, reference
        self.candidates = Candidates(self.search_space, cost, canonical, features, limit, self.seed)
        self.genomes = self.candidates.genomes
        self._proposed: dict[tuple[str, int], dict[str, Any]] = {}
        self._fitted: tuple[Any, Hyperparameters] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The search space that the sampler was made for."""
        return dict(self.search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value of a parameter that is not in the search space."""
        seed = np.random.SeedSequence([self.seed, trial.number, zlib.crc32(param_name.encode())])
        random = optuna.samplers.RandomSampler(int(seed.generate_state(1)[0]))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next network to evaluate."""
        with _LOCK:
            picks = self._proposal(study, trial)
            self._proposed[study.study_name, trial.number] = picks
        return {
            name: picks[name]
            if name in picks
            else self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def _proposal(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        two = self._is_two(study)
        told = self._told(study, trial)
        rng = np.random.default_rng([self.seed, trial.number])
        known = np.concatenate((told.genomes, told.pending))
        if len(known) < FIRST or not len(told.genomes):
            best = self.candidates.spread(known, told.seen, told.held, rng)
        else:
            parents = told.genomes[self._good(told, two)]
            best = self.candidates.best(self._gain(told, two), parents, told.seen, told.held, rng)
        if best is None:
            raise ExhaustedError(
                f"all {len(told.seen)} networks of the space within the limit were proposed "
                "(each is proposed once): stop here, widen the space, or raise the limit"
            )
        return self.genomes.picks([best])[0]

    def _is_two(self, study: optuna.Study) -> bool:
        """Whether the study has two objectives; UserError where the sampler cannot serve it."""
        names = [direction.name.lower() for direction in study.directions]
        suits = len(names) == 1 or names[1:] == ["minimize"]
        if self.objective is not None:
            suits = suits and names[0] == "maximize"
        if not suits:
            raise UserError(
                f"a study of directions {names} does not suit known costs (allowed: ['maximize', "
                "'minimize'] for value and cost, one direction for the value alone, and 'maximize' "
                "under an objective)"
            )
        return len(names) == 2

    def _good(self, told: Told, two: bool) -> Ints:
        """Indices of networks that better ones may descend from: the front, or the best."""
        costs = self.genomes.costs(told.genomes)
        if two and self.objective is None:
            return np.flatnonzero(
                non_dominated(np.column_stack((told.values, costs)), (True, False))
            )
        values = told.values if self.objective is None else self.objective(told.values, costs)
        return np.argsort(-values, kind="stable")[:FIRST]

    def _told(self, study: optuna.Study, trial: FrozenTrial) -> Told:
        """What the study knows, in the order of trial numbers."""
        sign = -1.0 if study.directions[0] == optuna.study.StudyDirection.MINIMIZE else 1.0
        genomes, values, pending, seen = [], [], [], []
        for other in study.get_trials(deepcopy=False):
            params = other.system_attrs.get("fixed_params", {}) | other.params
            if other.state == TrialState.RUNNING:
                params = self._proposed.get((study.study_name, other.number), {}) | params
            genome = self.genomes.genome(params)
            if genome is None or other.number == trial.number:
                continue  # of another sampler's making, or the trial itself
            seen.append(genome)
            if other.state in {TrialState.RUNNING, TrialState.WAITING}:
                pending.append(genome)
            elif (value := _value(other)) is not None:
                genomes.append(genome)
                values.append(sign * value)
        held = self.genomes.held(trial.system_attrs.get("fixed_params", {}))
        shape = (-1, len(self.search_space))
        return Told(
            np.array(genomes, np.int64).reshape(shape),
            np.array(values, np.float64),
            np.array(pending, np.int64).reshape(shape),
            frozenset(self.genomes.keys(np.array(seen, np.int64).reshape(shape))),
            held,
        )

    def _gain(self, told: Told, two: bool) -> Callable[[Floats, Floats], Floats]:
        """The expected gain of networks, from their encoding [m, d] and their costs [m]."""
        x, costs = self.candidates.columns(told.genomes), self.genomes.costs(told.genomes)
        values = told.values
        low, high = np.quantile(values, (0.25, 0.75))
        unit = (high - low) or values.std() or 1.0
        top = float(values.max() + HEADROOM * unit)
        y = -np.log(top - values)
        groups, hyper = self.candidates.groups, self._hyperparameters(x, values)
        model = GaussianProcess(x, y, groups, hyper)
        if len(told.pending):  # each is believed to turn out as expected
            pending = self.candidates.columns(told.pending)
            believed, _ = model.predict(pending)
            model = GaussianProcess(
                np.concatenate((x, pending)), np.concatenate((y, believed)), groups, hyper
            )
            values = np.concatenate((values, top - np.exp(-believed)))
            costs = np.concatenate((costs, self.genomes.costs(told.pending)))
        worst = max(float(values.min()), float(low - FENCE * unit))
        reference = self.reference or (worst, self.candidates.largest_cost)
        front = np.column_stack((values, costs))

        def gain(x: Floats, c: Floats) -> Floats:
            mean, sd = model.predict(x)
            if self.objective is None and two:
                found = expected_hypervolume(mean, sd, c, front, reference, top)
            else:
                found = self._excess(mean, sd, c, front, top)
            # where nothing is to be expected of any, the least known comes first
            return np.where(found > 0, found, NOTHING * sd)

        return gain

    def _excess(self, mean: Floats, sd: Floats, c: Floats, front: Floats, top: float) -> Floats:
        """Expected gain over the best of one objective, a line in the value at each cost."""
        if self.objective is None:
            within = front[:, 1] <= (self.candidates.limit)
            best = front[within, 0].max(initial=-np.inf)
            best = best if np.isfinite(best) else front[:, 0].min()
            return expected_excess(mean, sd, np.full(len(c), best), top)
        rewards = self.objective(front[:, 0], front[:, 1])
        if not np.isfinite(rewards).any():  # nothing told is within the target
            return expected_excess(mean, sd, np.full(len(c), front[:, 0].min()), top) * (
                np.isfinite(self.objective(mean, c))
            )
        best = float(rewards[np.isfinite(rewards)].max())
        slope, intercept = line(self.objective, c)
        level = np.full(len(c), top)
        np.divide(best - intercept, slope, out=level, where=slope > 0)
        return slope * expected_excess(mean, sd, level, top)

    def _hyperparameters(self, x: Floats, values: Floats) -> Hyperparameters:
        num = FIRST
        while max(num + 1, int(num * REFIT)) <= min(len(values), MOST_FITTED):
            num = max(num + 1, int(num * REFIT))
        x, values = x[:num], values[:num]
        key = (x.tobytes(), values.tobytes())
        if self._fitted is None or self._fitted[0] != key:
            unit = np.subtract(*np.quantile(values, (0.75, 0.25))) or values.std() or 1.0
            y = -np.log(values.max() + HEADROOM * unit - values)
            self._fitted = key, fit(x, y, self.candidates.groups)
        return self._fitted[1]


def _value(trial: FrozenTrial) -> float | None:
    """The value of a complete trial within its constraints, if it has a finite one."""
    if trial.state != TrialState.COMPLETE or not np.isfinite(trial.values[0]):
        return None
    return None if any(c > 0 for c in trial.constraints.values()) else float(trial.values[0])
