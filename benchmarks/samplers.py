"""How many evaluations samplers need for a front whose truth is known, all on one problem.

    python benchmarks/samplers.py                         all, on NAS-Bench-Macro
    python benchmarks/samplers.py --only ours,random --seeds 5
    python benchmarks/samplers.py --problem my_module:my_problem

writes results/benchmarks/samplers.json, after every contestant, and samplers.html beside it.

Another table or function is a function without arguments that returns a `Problem`.  Evaluations
count whether or not they repeat; milliseconds are the wall clock of a proposal, mean of a run,
median over the seeds.  pymoo's algorithms and BoTorch's run where they are installed and are
named as skipped elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial

from nas.files import write_text
from nas.gaussian_process import GaussianProcess, fit, scaled
from nas.pareto import hypervolume
from nas.results import environment
from nas.samplers import KnownCostSampler
from nas.samplers.genomes import Batch

Floats = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
TABLE = ROOT.parent / "shared" / "data" / "nas_bench_macro.csv.gz"
SHARES = (0.95, 0.99, 0.995)


@dataclass(frozen=True)
class Problem:
    """A front to find: highest value, lowest cost.

    reference   (value, cost) that bound the hypervolume; `volume` is that of the true front
    """

    name: str
    search_space: dict[str, CategoricalDistribution | IntDistribution]
    cost: Callable[[Batch], Floats]
    value: Callable[[Batch], Floats]
    reference: tuple[float, float]
    volume: float
    canonical: Callable[[Batch], Sequence[Hashable]] | None = None
    features: Callable[[Batch], Floats] | None = None


def nas_bench_macro() -> Problem:
    """Mean accuracy against MACs of all 6,561 codes; reference 80 % and the largest MACs."""
    table = pd.read_csv(TABLE, dtype={"arch": str})
    row = {arch: i for i, arch in enumerate(table["arch"])}
    accuracy, macs = table["mean_acc"].to_numpy(), table["flops"].to_numpy(np.float64)
    params = table["params"].to_numpy(np.float64)
    measured = table[["flops", "params", "acc1", "acc2", "acc3"]]
    networks = list(measured.itertuples(index=False, name=None))  # copies share all of these
    names = [f"layer{i}" for i in range(8)]

    def rows(batch: Batch) -> list[int]:
        return [row["".join(picks[name] for name in names)] for picks in batch]

    def features(batch: Batch) -> Floats:
        digits = np.array([[int(picks[name]) for name in names] for picks in batch])
        sums = [digits[:, a:b].sum(axis=1) for a, b in ((0, 2), (2, 5), (5, 8))]
        return np.column_stack((np.log(params[rows(batch)]), *sums))

    reference = (80.0, float(macs.max()))
    volume = hypervolume(np.column_stack((accuracy, macs)), reference, (True, False))
    return Problem(
        "NAS-Bench-Macro",
        {name: CategoricalDistribution(("0", "1", "2")) for name in names},
        lambda batch: macs[rows(batch)],
        lambda batch: accuracy[rows(batch)],
        reference,
        volume,
        lambda batch: [networks[i] for i in rows(batch)],
        features,
    )


@dataclass(frozen=True)
class Run:
    """What one seed found: the share of the volume after each evaluation, and what it took."""

    shares: list[float]
    ms: float
    distinct: int


Proposals = Iterator[Mapping[str, Any]]
# A contestant proposes parameters and is told (value, cost) through `send`.
Contestant = Callable[[Problem, int, int], Any]


def with_optuna(make: Callable[[Problem, int], optuna.samplers.BaseSampler]) -> Contestant:
    """A contestant from a sampler of Optuna's kind."""

    def propose(problem: Problem, seed: int, budget: int) -> Any:
        sampler = make(problem, seed)
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        for _ in range(budget):
            trial = study.ask(dict(problem.search_space))
            told = yield trial.params
            study.tell(trial, told)

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
        centre, scale = scaled(x, groups)
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
    integration: Any = importlib.import_module("optuna_integration")  # untyped, and an extra
    sampler: optuna.samplers.BaseSampler = integration.BoTorchSampler(
        n_startup_trials=10, seed=seed
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


def run(contestant: Contestant, problem: Problem, seed: int, budget: int) -> Run:
    """One seed of one contestant."""
    points: list[tuple[float, float]] = []
    shares: list[float] = []
    seconds: list[float] = []
    networks = set()
    proposals = contestant(problem, seed, budget)
    told = None
    for _ in range(budget):
        began = time.perf_counter()
        try:
            picks = proposals.send(told)
        except StopIteration:
            break
        seconds.append(time.perf_counter() - began)
        told = float(problem.value([picks])[0]), float(problem.cost([picks])[0])
        networks.add((problem.canonical or (lambda b: [tuple(b[0].items())]))([picks])[0])
        points.append(told)
        known = shares[-1] * problem.volume if shares else 0.0
        if not any(v >= told[0] and c <= told[1] for v, c in points[:-1]):
            known = hypervolume(points, problem.reference, (True, False))
        shares.append(known / problem.volume)
    return Run(shares, 1000 * statistics.fmean(seconds), len(networks))


def summary(runs: Sequence[Run], budget: int) -> dict[str, Any]:
    """Quartiles over the seeds: evaluations to each share (null: not within the budget), curves."""
    needed = {}
    for share in SHARES:
        first = [next((i for i, s in enumerate(r.shares, 1) if s >= share), math.inf) for r in runs]
        quartiles = np.quantile(first, (0.25, 0.5, 0.75), method="inverted_cdf")
        needed[f"{share:.1%}"] = [int(q) if np.isfinite(q) else None for q in quartiles]
    curves = np.array([r.shares[:budget] for r in runs])
    return {
        "seeds": len(runs),
        "evaluations": budget,
        "needed": needed,
        "ms_per_proposal": round(statistics.median(r.ms for r in runs), 2),
        "distinct": statistics.median(r.distinct for r in runs),
        "curve": np.quantile(curves, (0.25, 0.5, 0.75), axis=0).round(5).tolist(),
    }


def picture(results: Mapping[str, Any], problem: str) -> go.Figure:
    """Hypervolume against evaluations, median and quartiles."""
    figure = go.Figure()
    colours = ("#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#999999", "#d55e00", "#e69f00")
    shown = [(name, r) for name, r in results.items() if "skipped" not in r]
    for i, (name, result) in enumerate(shown):
        low, middle, high = (np.array(row) for row in result["curve"])
        x = np.arange(1, len(middle) + 1)
        colour, group = colours[i % len(colours)], {"legendgroup": name, "hoverinfo": "skip"}
        figure.add_scatter(
            x=np.concatenate((x, x[::-1])), y=np.concatenate((low, high[::-1])), mode="lines",
            fill="toself", fillcolor=colour, opacity=0.15, line_width=0, showlegend=False, **group,
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=middle, name=name, legendgroup=name, line_color=colour,
            line_dash="solid" if i < len(colours) else "dot",
        )  # fmt: skip
    figure.update_xaxes(title="evaluations", type="log")
    figure.update_yaxes(title="share of the true hypervolume", tickformat=".1%", range=(0.7, 1.0))
    return figure.update_layout(title=f"{problem}: median and quartiles", template="simple_white")


def main() -> None:
    """Run the contestants in turn and write what they did after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="names, by commas")
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--problem", default="", help="module:function that returns a Problem")
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/samplers.json")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    module, _, function = args.problem.partition(":")
    make = getattr(importlib.import_module(module), function) if module else nas_bench_macro
    problem: Problem = make()
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    results = kept.get("results", {}) if kept.get("problem") == problem.name else {}
    for name in args.only.split(","):
        contestant, budget, most = CONTESTANTS[name]
        try:
            runs = [
                run(contestant, problem, s, budget)
                for s in range(args.first, args.first + min(args.seeds, most))
            ]
            results[name] = summary(runs, budget)
        except ImportError as error:
            results[name] = {"skipped": f"{error.name} is not installed"}
        short = {k: v for k, v in results[name].items() if k != "curve"}
        print(f"{name:32} {json.dumps(short)}", flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        ordered = {k: results[k] for k in CONTESTANTS if k in results}
        content = {"problem": problem.name, "environment": environment(seed=0), "results": ordered}
        write_text(args.out, json.dumps(content, indent=1) + "\n")
    page = picture(ordered, problem.name).to_html(include_plotlyjs=True)
    write_text(args.out.with_suffix(".html"), page)


if __name__ == "__main__":
    main()
