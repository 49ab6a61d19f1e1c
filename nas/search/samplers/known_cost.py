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
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.core.errors import UserError
from nas.search.samplers.candidates import Candidates
from nas.search.samplers.genomes import Batch, SearchSpace
from nas.search.samplers.observations import Observations, observe, reported
from nas.search.samplers.surrogate import Surrogate
from nas.stats.gaussian_process import scale_of
from nas.stats.pareto import non_dominated
from nas.stats.rewards import Calibrated, Objective, expected_gain, expected_hypervolume

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Networks that are spread over the space before the model is asked: enough for quartiles, and
# since costs are known the model needs no more to do better than a blind draw.
FIRST = 6
# Values further below the quartiles than this many interquartile ranges count for no hypervolume
# (Tukey's outer fence, "Exploratory Data Analysis", 1977): networks that learn nothing.
FENCE = 3.0
NOTHING = 1e-300
_LOCK = threading.Lock()


class ExhaustedError(UserError):
    """Every network of the space that is within the limit was proposed already."""


class KnownCostSampler(optuna.samplers.BaseSampler):
    """Proposes networks by expected gain at their known cost, each at most once.

    search_space   choices, categorical or integer
    cost           (n,) positive costs of networks, known before any is evaluated; an infinite or
                   missing (NaN) cost says that a network cannot be had
    canonical      equal keys mean the same network; without it all genomes are different ones
    features       (n, f) what else is known of networks: log parameters, depth, a supernet's score
    limit          the most a network may cost; nothing dearer is ever proposed
    objective      how value and cost make one number (nas.stats.rewards), instead of the front
    reference      (value, cost) that bound the hypervolume; without it FENCE and the largest cost
    prior          (n,) cheap guesses of the value in any unit, of some hundred networks at each
                   proposal: a proxy, a judge trained elsewhere.  They are the model's prior mean,
                   with a slope that is learnt: cheap evidence raises, the values told decide
    earlier        networks and their values by another budget, on other data or another device:
                   a lower fidelity, never a result of this study

    In a study of two directions (value, cost) the front is sought, in one of one direction the
    best value.  A proposal depends on the seed, the number of the trial and what was told, never
    on time or process; trials under way count with the value that the model expects of them.
    Failed, pruned and infeasible trials are not repeated, and have no values.  Values reported on
    the way are a lower fidelity for each step: those of `trial.report`, or, since Optuna refuses
    that to two objectives, the user attribute "rungs", {step: value}.  Parameters of the study
    that are not in `search_space` are drawn at random.

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
        objective: Objective | Calibrated | None = None,
        reference: tuple[float, float] | None = None,
        prior: Callable[[Batch], Floats] | None = None,
        earlier: Sequence[tuple[Mapping[str, Any], float]] = (),
    ) -> None:
        self.search_space = dict(search_space)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.objective, self.reference = objective, reference
        self.candidates = Candidates(
            self.search_space, cost, canonical, features, limit, self.seed, prior
        )
        self.genomes = self.candidates.genomes
        self.surrogate = Surrogate(self.candidates.groups)
        known = [(self.genomes.genome(picks), value) for picks, value in earlier]
        self.earlier = [
            (genome, value)
            for genome, value in known
            if genome is not None and np.isfinite(self.genomes.costs(np.array([genome]))).all()
        ]
        self._proposed: dict[tuple[str, int], dict[str, Any]] = {}

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

    def _good(self, told: Observations, two: bool) -> Ints:
        """Indices of networks that better ones may descend from: the front, or the best."""
        costs = self.genomes.costs(told.genomes)
        if two and self.objective is None:
            return np.flatnonzero(
                non_dominated(np.column_stack((told.values, costs)), (True, False))
            )
        goal = self._goal(told)
        values = told.values if goal is None else goal(told.values, costs)
        return np.argsort(-values, kind="stable")[:FIRST]

    def _told(self, study: optuna.Study, trial: FrozenTrial | None = None) -> Observations:
        """What the study knows beside `trial`."""
        proposed = {
            n: picks
            for (name, n), picks in list(self._proposed.items())
            if name == study.study_name
        }
        return observe(study, self.genomes, trial, proposed, self.earlier)

    def promising(self, study: optuna.Study, most: int = 1) -> list[FrozenTrial]:
        """The stopped trials that most deserve to be trained to the end, the best first.

        Those that are pruned and have reported values, by the gain that is expected of them after
        all that was told: at most `most`, none while fewer than FIRST values are told.
        """
        two, told = self._is_two(study), self._told(study)
        stopped = [
            (trial, genome)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
            if (genome := self.genomes.genome(trial.params)) is not None and reported(trial)
        ]
        if len(told.values) < FIRST or not stopped:
            return []
        genomes = np.array([genome for _, genome in stopped], np.int64)
        costs = self.genomes.costs(genomes)
        gains = self._gain(told, two)(self.candidates.columns(genomes), costs)
        gains = np.where(costs <= self.candidates.limit, gains, -np.inf)
        return [stopped[i][0] for i in np.argsort(-gains, kind="stable")[:most]]

    def _goal(self, told: Observations) -> Objective | None:
        """The objective as it stands after what was told; None for the front."""
        if isinstance(self.objective, Calibrated):
            return self.objective.at(told.values, self.genomes.costs(told.genomes))
        return self.objective

    def _gain(self, told: Observations, two: bool) -> Callable[[Floats, Floats], Floats]:
        """The expected gain of networks, from their encoding [m, d] and their costs [m]."""
        columns, goal = self.candidates.columns, self._goal(told)
        lower = {name: (columns(genomes), found) for name, (genomes, found) in told.lower.items()}
        pending = columns(told.pending) if len(told.pending) else np.empty((0, 0))
        expected = self.surrogate((columns(told.genomes), told.values), lower, pending)
        costs, values, top = self.genomes.costs(told.genomes), told.values, expected.top
        worst = float(np.quantile(values, 0.25) - FENCE * scale_of(values))
        if len(pending):  # each is believed to turn out as expected
            costs = np.concatenate((costs, self.genomes.costs(told.pending)))
            values = np.concatenate((values, top - np.exp(-expected.predict(pending)[0])))
        worst = max(float(values.min()), worst)
        reference = self.reference or (worst, self.candidates.largest_cost)
        front = np.column_stack((values, costs))

        def gain(x: Floats, c: Floats) -> Floats:
            mean, sd = expected.predict(x)
            if goal is None and two:
                found = expected_hypervolume(mean, sd, c, front, reference, top)
            else:
                found = expected_gain(goal, mean, sd, c, front, self.candidates.limit, top)
            # where nothing is to be expected of any, the least known comes first
            return np.where(found > 0, found, NOTHING * sd)

        return gain
