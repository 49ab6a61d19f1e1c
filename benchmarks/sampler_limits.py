"""How far the best accuracy under a limit of multiply-adds is from the best there is.

    python -m benchmarks.sampler_limits       writes results/benchmarks/sampler_limits.json

NAS-Bench-Macro, one objective; ours knows the costs and keeps within the limit, and so does random
search here, which draws until a network is within.  TPE is told of networks over the limit by
Optuna's constraints, and they count.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from benchmarks.sampler_problems import Problem, nas_bench_macro
from nas.core.run_folder import environment, write_json
from nas.search.samplers.known_cost import KnownCostSampler

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "sampler_limits.json"
Proposals = Callable[[Problem, float, int, int], list[dict[str, Any]]]
OVER = "over"  # user attribute: MACs above the limit


def with_optuna(
    make: Callable[[Problem, float, int], optuna.samplers.BaseSampler],
) -> Proposals:
    """What a sampler tries in a study of one objective."""

    def tried(problem: Problem, limit: float, seed: int, budget: int) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize", sampler=make(problem, limit, seed))
        for _ in range(budget):
            trial = study.ask(dict(problem.search_space))
            trial.set_user_attr(OVER, float(problem.cost([trial.params])[0]) - limit)
            study.tell(trial, float(problem.value([trial.params])[0]))
        return [trial.params for trial in study.trials]

    return tried


def at_random(problem: Problem, limit: float, seed: int, budget: int) -> list[dict[str, Any]]:
    """Random networks within the limit."""
    rng, found = np.random.default_rng(seed), list[dict[str, Any]]()
    while len(found) < budget:
        picks = {name: str(rng.integers(3)) for name in problem.search_space}
        found += [picks] * bool(problem.cost([picks])[0] <= limit)
    return found


def over(trial: FrozenTrial) -> tuple[float]:
    """Optuna's constraint: at most zero is within."""
    return (trial.user_attrs[OVER],)


CONTESTANTS: dict[str, Proposals] = {
    "ours": with_optuna(
        lambda p, limit, s: KnownCostSampler(
            p.search_space, p.cost, p.canonical, limit=limit, seed=s
        )
    ),
    "random": at_random,
    "TPE": with_optuna(
        lambda p, limit, s: optuna.samplers.TPESampler(seed=s, constraints_func=over)
    ),
}


def best_within(problem: Problem, batch: list[dict[str, Any]], limit: float) -> float:
    """The highest value among those within the limit; minus infinity where none is."""
    values = np.where(problem.cost(batch) <= limit, problem.value(batch), -np.inf)
    return float(values.max())


def main() -> None:
    """Try, compare, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", type=float, nargs="+", default=[40e6, 80e6])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=40)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = nas_bench_macro()
    digits = itertools.product("012", repeat=len(problem.search_space))
    everything = [dict(zip(problem.search_space, d, strict=True)) for d in digits]
    found: dict[str, Any] = {}
    for limit in args.limits:
        best = best_within(problem, everything, limit)
        for name, tried in CONTESTANTS.items():
            regrets = [
                best - best_within(problem, tried(problem, limit, seed, args.evaluations), limit)
                for seed in range(args.seeds)
            ]
            quartiles = np.quantile(regrets, (0.25, 0.5, 0.75)).round(4).tolist()
            found.setdefault(f"{limit / 1e6:g} M", {})[name] = quartiles
            print(f"{limit / 1e6:g} M MACs, {name}: regret {quartiles} points", flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {"seeds": args.seeds, "evaluations": args.evaluations, "regret_quartiles": found}
    write_json(RESULT, {**told, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
