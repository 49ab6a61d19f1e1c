"""Whole searches with several samplers, each for the same time: which front is larger.

    python benchmarks/searches.py            writes results/benchmarks/searches.json

Every search is the real command on the embedded data, stopped by Ctrl-C when its time is over; all
of one machine share one latency table, which is built before any clock runs.  Fronts are compared
by hypervolume, in one unit for all searches of a seed: the share of what they dominate together.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.pareto import hypervolume
from nas.results import environment, write_json

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "searches.json"
AIMS = (True, False)  # accuracy up, latency down


def searched(folder: Path, sampler: str, seed: int, seconds: float, words: list[str]) -> Any:
    """The networks that a search trained in its time, in order: a frame as trials.csv."""
    run = f"{sampler}_{seed}"
    command = [
        sys.executable, "-m", "nas.search", f"results={folder}", f"run={run}", f"seed={seed}",
        f"sampler={sampler}", "accuracy=scratch", "trials=1000", "target=mobilenet_v2", *words,
    ]  # fmt: skip
    with (folder / f"{run}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
    trials = folder / "search" / run / "trials.csv"
    if not trials.exists():
        raise SystemExit(f"{run} left nothing: see {folder / f'{run}.log'}")
    frame = pd.read_csv(trials)
    return frame[frame["state"] == "complete"]


def compared(runs: dict[str, Any]) -> dict[str, Any]:
    """Shares of the common hypervolume, and the number trained, of the searches of one seed."""
    points = {name: f[["accuracy", "latency_ms"]].to_numpy(float) for name, f in runs.items()}
    every = np.concatenate(list(points.values()))
    reference = (every[:, 0].min(), every[:, 1].max())
    whole = hypervolume(every, reference, AIMS)
    return {
        name: {"share": hypervolume(p, reference, AIMS) / whole, "trained": len(p)}
        for name, p in points.items()
    }


def main() -> None:
    """Search, compare, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="+", default=["known_cost", "nsga2", "random"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--seconds", type=float, default=120, help="of each search, all in all")
    args, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        searched(folder, "random", 10**6, 3600, ["trials=1", "references=[]", *words])
        found = {}
        for seed in args.seeds:
            runs = {s: searched(folder, s, seed, args.seconds, words) for s in args.samplers}
            found[str(seed)] = compared(runs)
            print(
                seed,
                {s: f"{v['share']:.3f} of {v['trained']}" for s, v in found[str(seed)].items()},
            )
    median = {
        s: statistics.median(of_seed[s]["share"] for of_seed in found.values())
        for s in args.samplers
    }
    print("median", {s: round(v, 3) for s, v in median.items()})
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    settings = {"seconds": args.seconds, "words": words}
    write_json(
        RESULT, {"median": median, "seeds": found, **settings, "environment": environment(seed=0)}
    )


if __name__ == "__main__":
    main()
