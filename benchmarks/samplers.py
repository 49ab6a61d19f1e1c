"""How many evaluations samplers need for a front whose truth is known, all on one problem.

    python -m benchmarks.samplers                         all, on NAS-Bench-Macro
    python -m benchmarks.samplers --only ours,random --seeds 5
    python -m benchmarks.samplers --problem benchmarks.sampler_problems:mbconv_macs

writes results/benchmarks/samplers.json, after every contestant, and samplers.html beside it.

Another table or function is a function without arguments that returns a `Problem`
(benchmarks/sampler_problems.py), named by --problem as module:function; another sampler is a line
of CONTESTANTS (benchmarks/sampler_rivals.py).  Evaluations count whether or not they repeat;
milliseconds are the wall clock of a proposal, mean of a run, median over the seeds.  pymoo's
algorithms and BoTorch's run where they are installed and are named as skipped elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go

from benchmarks.sampler_problems import Problem, nas_bench_macro
from benchmarks.sampler_rivals import CONTESTANTS, Contestant
from nas.core.files import write_text
from nas.core.run_folder import environment
from nas.stats.pareto import hypervolume

ROOT = Path(__file__).parents[1]
SHARES = (0.95, 0.99, 0.995)


@dataclass(frozen=True)
class Run:
    """What one seed found: the share of the volume after each evaluation, and what it took."""

    shares: list[float]
    ms: float
    distinct: int


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
