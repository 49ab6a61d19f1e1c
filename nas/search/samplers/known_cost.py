"""An Optuna sampler for architectures: values are expensive, costs are known beforehand.

    sampler = KnownCostSampler(search_space, cost=macs_of, canonical=network_of, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

A Gaussian process predicts the value of every network from its choices and its cost; the network
that adds most to the front in expectation is proposed, and no network is proposed twice.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from nas.core.errors import UserError
from nas.search.samplers.candidates import Candidates, Gain
from nas.search.samplers.genomes import Callback, Floats, Genomes, Ints, SearchSpace
from nas.search.samplers.observations import Evidence, History, Known, Observations
from nas.search.samplers.surrogate import Expected, Points, Surrogate
from nas.stats.gaussian_process import scale_of
from nas.stats.rewards import Calibrated, Objective, expected_gain, expected_hypervolume

Rule = Objective | Calibrated | None

# Networks that are spread over the space before the model is asked: enough for quartiles, and
# since costs are known the model needs no more to do better than a blind draw.
NUM_INITIAL = 6
# Values further below the quartiles than this many interquartile ranges count for no hypervolume
# (Tukey's outer fence, "Exploratory Data Analysis", 1977): networks that learn nothing.
FENCE = 3.0
NO_GAIN = 1e-300  # times the deviation, in place of a gain of zero
_LOCK = threading.Lock()


class ExhaustedError(UserError):
    """Every network of the space that is within the limit was proposed already."""


class KnownCostSampler(optuna.samplers.BaseSampler):
    """Proposes networks by expected gain at their known cost, each at most once.

    search_space   choices, categorical or integer
    cost           (n,) positive costs of networks; infinite or NaN where one cannot be had
    canonical      equal keys mean the same network; without it all genomes are different ones
    features       (n, f) what else is known of networks: log parameters, depth, a supernet's score
    limit          the most that a proposed network may cost
    value_of       what a told value is to model and objective; None for itself
    objective      how value and cost make one number (nas.stats.rewards); None for the front.
                   Trials follow several in turns
    reference      (value, cost) that bound the hypervolume; without it FENCE and the largest cost
    prior          (n,) cheap guesses of the value in any unit, of some hundred networks at each
                   proposal.  They are the model's prior mean, with a slope that is learnt
    earlier        networks and their values by another budget, on other data or another device:
                   a lower fidelity, never a result of this study
    takes_genomes  whether the callbacks take genomes (n, choices), indices of labels in the order
                   of `search_space`, and not parameter values: much faster

    In a study of two directions (value, cost) the front is sought, in one of one direction the
    best value.  A proposal depends on the seed, the number of the trial and what was told; trials
    under way count with the value that the model expects of them.  Failed, pruned and infeasible
    trials are not repeated, and have no values.  Values reported on the way are a lower fidelity
    for each step: those of `trial.report`, or, since Optuna refuses that to two objectives, the
    user attribute "rungs", {step: value}.  Other parameters of the study are drawn at random.

    Raises `ExhaustedError` where no network is left (Optuna's trial is then still running: tell
    it as failed), `UserError` where the study's directions, a cost or the limit cannot be used.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        cost: Callback,
        canonical: Callback | None = None,
        features: Callback | None = None,
        limit: float | None = None,
        seed: int | None = None,
        *,
        value_of: Callable[[float], float] | None = None,
        objective: Rule | tuple[Rule, ...] = None,
        reference: tuple[float, float] | None = None,
        prior: Callback | None = None,
        earlier: Sequence[tuple[Mapping[str, Any], float]] = (),
        takes_genomes: bool = False,
    ) -> None:
        self.search_space = dict(search_space)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.value_of = value_of or float
        self.objectives = objective if isinstance(objective, tuple) else (objective,)
        self.reference = reference
        self.genomes = Genomes(self.search_space, cost, canonical, features, prior, takes_genomes)
        self.candidates = Candidates(self.genomes, limit, self.seed, fold=canonical is not None)
        self.surrogate = Surrogate(self.candidates.groups)
        self.earlier = [
            (genome, value)
            for picks, value in earlier
            if (genome := self.genomes.genome(picks)) is not None
            and np.isfinite(self.genomes.costs(np.array([genome]))).all()
        ]
        self._histories: WeakKeyDictionary[optuna.Study, History] = WeakKeyDictionary()
        self._models: WeakKeyDictionary[Known, Expected] = WeakKeyDictionary()

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
            picks = self._propose(study, trial)
            self._history(study).proposed[trial.number] = picks
        return {
            name: picks[name]
            if name in picks
            else self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def _history(self, study: optuna.Study) -> History:
        if study not in self._histories:
            minimised = study.directions[0] == optuna.study.StudyDirection.MINIMIZE
            value_of = (lambda v: -self.value_of(v)) if minimised else self.value_of
            self._histories[study] = History(self.genomes, value_of, self.earlier)
        return self._histories[study]

    def _propose(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        two = self._is_two(study)
        now = self._history(study).read(study, trial)
        told = now.known.told
        rng = np.random.default_rng([self.seed, trial.number])
        if not len(told.values) or len(told.values) + len(now.pending) < NUM_INITIAL:
            known = np.concatenate((told.genomes, now.pending))
            best = self.candidates.farthest(known, now, rng)
        else:
            rule = self._rule(told, trial.number)
            parents = told.genomes[_good(told, rule, two)]
            best = self.candidates.best(self._gain(now, rule, two), parents, now, rng)
        if best is None:
            raise ExhaustedError(
                f"all {len(now.seen)} networks of the space within the limit were proposed "
                "(each is proposed once): stop here, widen the space, or raise the limit"
            )
        return self.genomes.picks([best])[0]

    def _is_two(self, study: optuna.Study) -> bool:
        """Whether the study has two objectives; UserError where the sampler cannot serve it."""
        names = [direction.name.lower() for direction in study.directions]
        suits = len(names) == 1 or names[1:] == ["minimize"]
        suits &= self.objectives == (None,) or names[0] == "maximize"
        if not suits:
            raise UserError(
                f"a study of directions {names} does not suit known costs (allowed: ['maximize', "
                "'minimize'] for value and cost, one direction for the value alone, and 'maximize' "
                "under an objective)"
            )
        return len(names) == 2

    def _rule(self, told: Evidence, number: int) -> Objective | None:
        """The objective of that trial, as it stands after what was told; None for the front."""
        objective = self.objectives[number % len(self.objectives)]
        if isinstance(objective, Calibrated):
            return objective.at(told.values[told.front], told.costs[told.front])
        return objective

    def _model(self, known: Known) -> Expected:
        """What is expected after all that is known, learnt once for each state of knowledge."""
        if known not in self._models:
            lower = {name: self._points(rows) for name, rows in known.lower.items()}
            self._models[known] = self.surrogate(self._points(known.told), lower)
        return self._models[known]

    def _points(self, evidence: Evidence) -> Points:
        rows = evidence.informative
        return self.candidates.columns(evidence.genomes[rows]), evidence.values[rows]

    def _gain(self, now: Observations, rule: Objective | None, two: bool) -> Gain:
        told, model = now.known.told, self._model(now.known)
        top, for_front = model.top, rule is None and two
        rows = told.front if for_front else slice(None)
        values, costs = told.values[rows], told.costs[rows]
        worst = float(np.quantile(told.values, 0.25) - FENCE * scale_of(told.values))
        least = float(told.values.min())
        if len(now.pending):  # each is believed to turn out as expected
            columns = self.candidates.columns(now.pending)
            model = model.believing(columns)
            believed = top - np.exp(-model.predict(columns)[0])
            costs = np.concatenate((costs, self.genomes.costs(now.pending)))
            values = np.concatenate((values, believed))
            least = min(least, float(believed.min()))
        reference = self.reference or (max(least, worst), self.candidates.largest_cost)
        front = np.column_stack((values, costs))

        def gain(x: Floats, c: Floats) -> Floats:
            mean, sd = model.predict(x)
            if for_front:
                expected = expected_hypervolume(mean, sd, c, front, reference, top)
            else:
                expected = expected_gain(rule, mean, sd, c, front, self.candidates.limit, top)
            # where nothing is to be expected of any, the least known comes first
            return np.where(expected > 0, expected, NO_GAIN * sd)

        return gain


def _good(told: Evidence, rule: Objective | None, two: bool) -> Ints:
    """Indices of networks that better ones may descend from: the front, or the best."""
    if two and rule is None:
        return told.front
    values = told.values if rule is None else rule(told.values, told.costs)
    return np.argsort(-values, kind="stable")[:NUM_INITIAL]
