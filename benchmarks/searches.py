"""Whole searches with several samplers, each for the same time: which front is larger.

    python benchmarks/searches.py            writes results/benchmarks/searches.json

Every search is the real command on the embedded data, with shorter trainings (one epoch of 4,000
images) so that minutes hold many.  Those of one seed run side by side, each with one worker, and
are stopped by Ctrl-C together; all share one latency table, which is built before any clock runs.
Fronts are compared by hypervolume, in one unit for all searches of a seed: the share of what they
dominate together.  Other settings of nas.search may follow.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.core.run_folder import environment, write_json
from nas.stats.pareto import hypervolume

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "searches.json"
AIMS = (True, False)  # accuracy up, latency down


def started(folder: Path, sampler: str, seed: int, words: list[str]) -> subprocess.Popen[bytes]:
    """A search on one core, which goes on until it is stopped."""
    run = f"{sampler}_{seed}"
    command = [
        sys.executable, "-m", "nas.search", f"results={folder}", f"run={run}", f"seed={seed}",
        f"sampler={sampler}", "accuracy=scratch", "trials=1000", "workers=1", *words,
    ]  # fmt: skip
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / f"{run}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environ)


def searched(
    folder: Path, samplers: list[str], seed: int, seconds: float, words: list[str]
) -> dict[str, pd.DataFrame]:
    """The networks that searches trained side by side in the same time, as trials.csv has them."""
    running = {sampler: started(folder, sampler, seed, words) for sampler in samplers}
    end = time.monotonic() + seconds
    for process in running.values():
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    found = {}
    for sampler, process in running.items():
        process.wait()
        trials = folder / "search" / f"{sampler}_{seed}" / "trials.csv"
        if not trials.exists():
            log = (folder / f"{sampler}_{seed}.log").read_text(encoding="utf-8")
            raise SystemExit(f"sampler={sampler} seed={seed} left nothing: {log[-500:]}")
        frame = pd.read_csv(trials)
        found[sampler] = frame[frame["state"] == "complete"]
    return found


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
    parser.add_argument("--seconds", type=float, default=120, help="of each seed's searches")
    args, more = parser.parse_known_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a background job too
    words = ["budget.epochs=1", "data.train=4000", "references=[]", *more]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        searched(folder, ["random"], 10**6, 3600, ["trials=1", *words])
        found = {}
        for seed in args.seeds:
            runs = searched(folder, args.samplers, seed, args.seconds, words)
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
