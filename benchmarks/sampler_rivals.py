"""Who competes in benchmarks/samplers.py: ours, parts of ours, and other people's samplers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial

from benchmarks.sampler_problems import Problem
from nas.search.samplers.genomes import Batch
from nas.search.samplers.known_cost import KnownCostSampler
from nas.stats.gaussian_process import GaussianProcess, fit, standardisation

Floats = NDArray[np.float64]

# A contestant proposes parameters and is told (value, cost) through `send`.
Contestant = Callable[[Problem, int, int], Any]


def with_optuna(
    make: Callable[[Problem, int], optuna.samplers.BaseSampler], at_once: int = 1
) -> Contestant:
    """What a sampler of Optuna's proposes, so many networks before the first of them is told."""

    def propose(problem: Problem, seed: int, budget: int) -> Any:
        sampler = make(problem, seed)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        while True:
            trials = [study.ask(dict(problem.search_space)) for _ in range(at_once)]
            told = []
            for trial in trials:
                told.append((yield trial.params))
            for trial, values in zip(trials, told, strict=True):
                study.tell(trial, values)

    return propose


def with_pymoo(module: str, name: str, population: int) -> Contestant:
    """A contestant from pymoo, on genomes of integers, with its operators for those."""

    def propose(problem: Problem, seed: int, budget: int) -> Any:
        pymoo = importlib.import_module  # untyped, and an extra
        repair = pymoo("pymoo.operators.repair.rounding").RoundingRepair()
        labels = [_labels(distribution) for distribution in problem.search_space.values()]
        space = pymoo("pymoo.core.problem").Problem(
            n_var=len(labels), n_obj=2, xl=0, xu=[len(own) - 1 for own in labels], vtype=int
        )
        algorithm = getattr(pymoo(f"pymoo.algorithms.moo.{module}"), name)(
            pop_size=population,
            sampling=pymoo("pymoo.operators.sampling.rnd").IntegerRandomSampling(),
            crossover=pymoo("pymoo.operators.crossover.sbx").SBX(vtype=float, repair=repair),
            mutation=pymoo("pymoo.operators.mutation.pm").PM(vtype=float, repair=repair),
        )
        algorithm.setup(space, termination=("n_eval", budget), seed=seed, verbose=False)
        while algorithm.has_next():
            asked = algorithm.ask()
            told = []
            for genome in asked.get("X"):
                pairs = zip(problem.search_space, labels, genome, strict=True)
                value, cost = yield {key: own[int(i)] for key, own, i in pairs}
                told.append((-value, cost))
            static = pymoo("pymoo.problems.static").StaticProblem(space, F=np.array(told))
            pymoo("pymoo.core.evaluator").Evaluator().eval(static, asked)
            algorithm.tell(infills=asked)

    return propose


def _labels(distribution: CategoricalDistribution | IntDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return list(range(distribution.low, distribution.high + 1, distribution.step))


class LearntCost(optuna.samplers.BaseSampler):
    """Ours for whom costs are not known but predicted from those told, by a model like the other.

    The ablation that says what the knowledge of costs is worth.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.random = optuna.samplers.RandomSampler(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All of the problem's."""
        return dict(self.problem.search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """A random value."""
        return self.random.sample_independent(study, trial, name, distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal of ours under the costs predicted so far."""
        told = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        if len(told) < 2:
            return {}
        costs = np.array([t.values[1] for t in told])
        x = self._one_hot([t.params for t in told])
        groups = np.zeros(x.shape[1], np.int64)
        centre, scale = standardisation(x, groups)
        x, y = (x - centre) * scale, np.log(costs)
        model = GaussianProcess(x, y, groups, fit(x, y, groups))

        def predicted(batch: Batch) -> Floats:
            return np.exp(model.predict((self._one_hot(batch) - centre) * scale)[0])

        sampler = KnownCostSampler(
            self.problem.search_space, predicted, self.problem.canonical, seed=self.seed
        )
        return sampler.sample_relative(study, trial, search_space)

    def _one_hot(self, batch: Batch) -> Floats:
        space = self.problem.search_space.items()
        return np.array(
            [[picks[k] == x for k, d in space for x in _labels(d)] for picks in batch], np.float64
        )


def _botorch(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    botorch: Any = importlib.import_module("optuna_integration.botorch")  # untyped, and an extra
    sampler: optuna.samplers.BaseSampler = botorch.BoTorchSampler(
        candidates_func=botorch.qnehvi_candidates_func, n_startup_trials=10, seed=seed
    )
    return sampler


def ours(problem: Problem, seed: int) -> KnownCostSampler:
    """Our sampler with all that the problem gives."""
    return KnownCostSampler(
        problem.search_space, problem.cost, problem.canonical, problem.features, seed=seed
    )


S = optuna.samplers
# name: (contestant, evaluations, most seeds); the dear ones get few seeds and stop early.
CONTESTANTS: dict[str, tuple[Contestant, int, int]] = {
    "ours": (with_optuna(lambda p, s: ours(replace(p, features=None), s)), 120, 100),
    **{
        f"ours {n} at once": (
            with_optuna(lambda p, s: ours(replace(p, features=None), s), n), 320, 20,
        )
        for n in (8, 32, 128)
    },
    "ours with features": (with_optuna(ours), 120, 100),
    "ours without canonical networks": (
        with_optuna(lambda p, s: ours(replace(p, canonical=None, features=None), s)), 120, 100,
    ),
    "ours with learnt cost": (with_optuna(LearntCost), 120, 10),
    "random": (with_optuna(lambda p, s: S.RandomSampler(seed=s)), 1000, 100),
    "NSGA-II 20": (
        with_optuna(lambda p, s: S.NSGAIISampler(population_size=20, seed=s)), 1000, 100,
    ),
    "NSGA-II 50": (
        with_optuna(lambda p, s: S.NSGAIISampler(population_size=50, seed=s)), 1000, 100,
    ),
    "pymoo NSGA-II": (with_pymoo("nsga2", "NSGA2", 20), 1000, 100),
    "pymoo SMS-EMOA": (with_pymoo("sms", "SMSEMOA", 20), 1000, 20),
    "TPE": (with_optuna(lambda p, s: S.TPESampler(seed=s)), 1000, 5),
    "GP": (with_optuna(lambda p, s: S.GPSampler(seed=s)), 100, 4),
    "BoTorch qLogNEHVI": (with_optuna(_botorch), 60, 4),
}  # fmt: skip
