"""The true accuracy of what a search finds under a limit of multiply-adds, told noisy accuracies.

    python -m benchmarks.sampler_limits       writes results/benchmarks/sampler_limits.json

NAS-Bench-Macro, one objective.  A search is told the accuracy of one of the table's three
trainings, in turns from seed to seed, and hands over the network for which that is highest within
the limit; what counts is the mean of all three.  Ours knows the costs and keeps within the limit,
and so does random search here, which draws until a network is within.  Optuna's TPE and NSGA-II are
told of networks over the limit by Optuna's constraints, and these count.
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

from benchmarks.sampler_problems import Floats, Problem, nas_bench_macro
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
    "NSGA-II": with_optuna(
        lambda p, limit, s: optuna.samplers.NSGAIISampler(
            population_size=10, seed=s, constraints_func=over
        )
    ),
}


def handed_over(told: Problem, true: Problem, batch: list[dict[str, Any]], limit: float) -> float:
    """The true value of the network within the limit whose told value is highest."""
    values = np.where(told.cost(batch) <= limit, told.value(batch), -np.inf)
    return float(true.value([batch[int(values.argmax())]])[0])


def paired_gain(ours: Floats, theirs: Floats) -> dict[str, float]:
    """Mean of the differences seed by seed, and its standard error."""
    gains = ours - theirs
    return {"mean": float(gains.mean()), "se": float(gains.std(ddof=1) / len(gains) ** 0.5)}


def main() -> None:
    """Try, compare, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", type=float, nargs="+", default=[40e6, 80e6])
    parser.add_argument("--seeds", type=int, default=21)
    parser.add_argument("--evaluations", type=int, default=40)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    true = nas_bench_macro()
    told = [nas_bench_macro(f"acc{i}") for i in (1, 2, 3)]
    digits = itertools.product("012", repeat=len(true.search_space))
    everything = [dict(zip(true.search_space, d, strict=True)) for d in digits]
    found: dict[str, Any] = {}
    for limit in args.limits:
        best = handed_over(true, true, everything, limit)
        accuracies = {
            name: np.array(
                [
                    handed_over(told[seed % 3], true, batch, limit)
                    for seed in range(args.seeds)
                    if (batch := tried(told[seed % 3], limit, seed, args.evaluations))
                ]
            )
            for name, tried in CONTESTANTS.items()
        }
        for name, values in accuracies.items():
            line: dict[str, Any] = {
                "accuracy": float(values.mean()),
                "regret_quartiles": np.quantile(best - values, (0.25, 0.5, 0.75)).round(4).tolist(),
            }
            if name != "ours":
                line["gain_of_ours"] = paired_gain(accuracies["ours"], values)
            found.setdefault(f"{limit / 1e6:g} M", {})[name] = line
            print(f"{limit / 1e6:g} M MACs, {name}: {line}", flush=True)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    known = {"seeds": args.seeds, "evaluations": args.evaluations, "limits": found}
    write_json(RESULT, {**known, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
