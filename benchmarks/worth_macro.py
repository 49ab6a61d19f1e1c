"""Is searching worth it where truth is known: NAS-Bench-Macro, one noisy training told of each.

    python -m benchmarks.worth_macro             writes results/benchmarks/worth_macro.json

As benchmarks/worth.py, on a table of 6,561 networks: a method is told the accuracy of one of a
network's three trainings and hands over the network of highest told accuracy within the target;
what counts is its mean of all three.  Equal compute is an equal number of trainings; networks over
the target are never trained by the others, while the search trains up to 1.2 times the target, as
by default.  Its sampler seeks the front and the best within the target in turns (`ours`, the
default), or the latter alone (`ours, limit`).  Successive halving is left out: the table has the
ends of trainings only.  Differences are paired by seed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import optuna

from benchmarks.sampler_problems import Problem, nas_bench_macro
from benchmarks.worth import mean_and_interval
from nas.core.run_folder import environment, write_json
from nas.search.problem import LATENCY_SLACK
from nas.search.samplers.known_cost import KnownCostSampler
from nas.stats.rewards import OBJECTIVES

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "worth_macro.json"
TARGETS = (40e6, 80e6)  # multiply-adds
BUDGETS = (16, 32, 64, 128)  # trainings
GUESSING = 10.0  # per cent, told of networks that are not trained
MAX_ASKED = 50  # proposals for each training
Make = Callable[[Problem, float, int], optuna.samplers.BaseSampler]


def ours(aims: tuple[str, ...], problem: Problem, target: float, seed: int) -> KnownCostSampler:
    """Our sampler with these objectives in turns, as a search makes it."""
    rules = [OBJECTIVES[aim] for aim in aims]
    return KnownCostSampler(
        problem.search_space, problem.cost, problem.canonical,
        limit=LATENCY_SLACK * target, seed=seed,
        objective=tuple(rule and partial(rule, target=target) for rule in rules),
    )  # fmt: skip


S = optuna.samplers
Directions = tuple[Literal["maximize", "minimize"], ...]
BOTH: Directions = ("maximize", "minimize")
VALUE: Directions = ("maximize",)
METHODS: dict[str, tuple[Make, Directions, float]] = {  # and up to how many targets it trains
    "ours": (partial(ours, ("pareto", "limit")), BOTH, LATENCY_SLACK),
    "ours, limit": (partial(ours, ("limit",)), BOTH, LATENCY_SLACK),
    "random": (lambda p, t, s: S.RandomSampler(seed=s), VALUE, 1.0),
    "tpe": (lambda p, t, s: S.TPESampler(seed=s), VALUE, 1.0),
    "nsga2": (lambda p, t, s: S.NSGAIISampler(population_size=20, seed=s), BOTH, 1.0),
}


def hands_over(
    method: str, told: Problem, target: float, seed: int, budget: int
) -> dict[int, dict[str, str]]:
    """The choices of the network that a method would hand over after each of BUDGETS."""
    make, directions, slack = METHODS[method]
    sampler = make(told, target, seed)
    study = optuna.create_study(directions=directions, sampler=sampler)
    best: tuple[float, dict[str, str]] = (-np.inf, {})
    known: dict[object, float] = {}
    found: dict[int, dict[str, str]] = {}
    for _ in range(MAX_ASKED * budget):
        trial = study.ask(dict(told.search_space))
        cost = float(told.cost([trial.params])[0])
        if cost > slack * target:  # never trained, and told to be so
            trial.set_constraint("cost", cost - slack * target)
            study.tell(trial, (GUESSING, cost)[: len(directions)])
            continue
        assert told.canonical
        key = told.canonical([trial.params])[0]
        known[key] = value = float(told.value([trial.params])[0])
        study.tell(trial, (value, cost)[: len(directions)])
        if cost <= target and value > best[0]:
            best = value, trial.params
        if len(known) in BUDGETS:
            found[len(known)] = best[1]
        if len(known) == budget:
            break
    return found


def main() -> None:
    """Search with every method and seed, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=30, help="how many")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    true = nas_bench_macro()
    columns = [nas_bench_macro(f"acc{i}") for i in (1, 2, 3)]
    every = [dict(zip(true.search_space, code, strict=True)) for code in product("012", repeat=8)]
    values, costs = true.value(every), true.cost(every)
    rows = []
    for target in TARGETS:
        accuracy: dict[tuple[str, int], list[float]] = {}
        for method, seed in product(METHODS, range(args.seeds)):
            told = columns[seed % len(columns)]
            for budget, picks in hands_over(method, told, target, seed, BUDGETS[-1]).items():
                accuracy.setdefault((method, budget), []).append(float(true.value([picks])[0]))
        for (method, budget), found in accuracy.items():
            gains = np.subtract(accuracy["ours", budget], found).tolist()
            row = {"target_macs": target, "method": method, "trainings": budget}
            row |= {
                "accuracy": statistics.fmean(found),
                "best": float(values[costs <= target].max()),
            }
            row |= {"gain_of_ours": mean_and_interval(gains) if method != "ours" else None}
            rows.append(row)
            print(row, flush=True)
    write_json(RESULT, {"rows": rows, "seeds": args.seeds, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
