"""Is searching worth it: the network that a search hands over, against others' for equal CPU time.

    python -m benchmarks.worth                           writes results/benchmarks/worth.json
    python -m benchmarks.worth --task cifar10 --methods default random --seeds 0 1 data.root=DIR

Every method is the real command with one worker.  What `default` takes to its winner is measured,
and each other method is stopped after as many CPU seconds: random networks within the target,
trained alike; the same with trainings that stop early (successive halving); Optuna's TPE; NSGA-II.
What counts is the *true* accuracy of the network that each hands over, the best on validation
images within the target: trained again, longer (budget=standard), with two seeds that no search
had, and taken on the test images.  Differences are paired by seed of the search.  Rows are kept one
by one in --folder, and the same command goes on.  Other settings of nas.search may follow.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from scipy.special import stdtrit

from nas.accuracy.scratch import Scratch
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.serialization import loads
from nas.core.journal import KeyedJournal
from nas.core.run_folder import environment, write_json
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.search.setup import open_search

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "worth.json"
ALIKE = ("workers=1", "device=cpu", "references=[]", "spread=0")
EACH = ("accuracy=scratch", "trials=100000")
METHODS = {
    "default": (),
    "random": (*EACH, "accuracy.prune=false", "sampler=random"),
    "halving": (*EACH, "sampler=random"),
    "tpe": (*EACH, "accuracy.prune=false", "sampler=tpe"),
    "nsga2": (*EACH, "accuracy.prune=false", "sampler=nsga2"),
}
TASKS = {
    "embedded": (),
    "cifar10": ("data=cifar10", "data.train=10000", "data.val=2500", "data.test=5000"),
}
TRUTH_SEEDS = (1001, 1002)
ROWS = "*/*-[0-9]*.json"


def settings_of(args: argparse.Namespace, method: str, seed: int) -> SearchSettings:
    """The command's settings; all but the default stay within the target, as their users would."""
    words = [*TASKS[args.task], *ALIKE, *METHODS[method], f"target={args.target}"]
    if method != "default":
        words.append(f"limit.latency_ms={args.target}")
    where = [f"results={args.folder / args.task}", f"run={method}-{seed}", f"seed={seed}"]
    return SearchSettings.of(*words, *where, *args.more)


def search_for(settings: SearchSettings, seconds: float | None) -> tuple[float, dict[str, Any]]:
    """CPU seconds to the winner, of `seconds` at most, and what summary.json holds."""
    torch.set_num_threads(1)
    start = time.process_time()
    if seconds is not None:  # as Ctrl-C does: what is being written is written
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        search(settings)
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    path = Path(settings.results) / "search" / settings.run / "summary.json"
    return time.process_time() - start, json.loads(path.read_text(encoding="utf-8"))


def known_target(args: argparse.Namespace) -> float:
    """The target in ms; the latency table is measured now, before any clock runs."""
    words = [*TASKS[args.task], *ALIKE, f"results={args.folder / args.task}", "run=target"]
    with ExitStack() as stack:
        run = open_search(SearchSettings.of(*words, *args.more), stack, Console(stderr=True))
        return run.problem.target_ms


def true_accuracy(settings: SearchSettings, arch: Arch, kept: KeyedJournal) -> list[float]:
    """Accuracy on the test images after longer trainings, for each of TRUTH_SEEDS."""
    torch.set_num_threads(1)
    found = []
    for seed in TRUTH_SEEDS:
        key = f"{network_id(arch)}-{seed}"
        if key not in kept:
            longer = SearchSettings.of("budget=standard").budget.make()
            estimate = Scratch(settings.data.make(), longer, "cpu", seed)(arch)
            assert estimate.test
            kept.add({"key": key, "accuracy": estimate.test.accuracy, "seconds": estimate.seconds})
        found.append(float(kept[key]["accuracy"]))
    return found


def row_of(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """What a method's search handed over, and its truth."""
    settings = settings_of(args, method, seed)
    run = Path(settings.results) / "search" / settings.run
    path = run / "spent.json"
    if not path.exists():
        allowed = None if method == "default" else row_path(args, "default", seed)
        seconds = (
            json.loads(allowed.read_text(encoding="utf-8"))["cpu_seconds"] if allowed else None
        )
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            spent, summary = alone.submit(search_for, settings, seconds).result()
        trained = summary.get("trained", summary["asked"])
        known = {"cpu_seconds": spent, "trained": trained, "winner": summary["winner"]}
        write_json(path, known)
    found = json.loads(path.read_text(encoding="utf-8"))
    arch = loads((run / "winner.yaml").read_text(encoding="utf-8"))
    kept = KeyedJournal(args.folder / args.task / "truth.jsonl")
    truth = true_accuracy(settings, arch, kept)
    winner = found.pop("winner")
    return {
        "task": args.task,
        "method": method,
        "seed": seed,
        **found,
        "id": winner["id"],
        "latency_ms": winner["latency_ms"],
        "val": winner["accuracy"],
        "truth": statistics.fmean(truth),
        "truths": truth,
    }


def row_path(args: argparse.Namespace, method: str, seed: int) -> Path:
    """Where a row is kept."""
    return Path(args.folder / args.task / f"{method}-{seed}.json")


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By task and method: mean truth, and the default's paired gain over it with its interval."""
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["method"]), {})[row["seed"]] = row
    found = []
    for (task, method), group in groups.items():
        ours = groups.get((task, "default"), {})
        gains = [ours[seed]["truth"] - row["truth"] for seed, row in group.items() if seed in ours]
        found.append(
            {
                "task": task,
                "method": method,
                "seeds": len(group),
                "truth": statistics.fmean(row["truth"] for row in group.values()),
                "cpu_seconds": statistics.fmean(row["cpu_seconds"] for row in group.values()),
                "gain_of_default": mean_and_interval(gains) if method != "default" else None,
            }
        )
    return found


def mean_and_interval(gains: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard error and 95 % interval (Student's t) of paired differences."""
    mean, number = statistics.fmean(gains), len(gains)
    if number < 2:
        return {"mean": mean, "se": None, "low": None, "high": None}
    error = statistics.stdev(gains) / math.sqrt(number)
    half = float(stdtrit(number - 1, 0.975)) * error
    return {"mean": mean, "se": error, "low": mean - half, "high": mean + half}


def write_summary(result: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows and what they say together, and print that."""
    summary = summarise(rows)
    result.parent.mkdir(parents=True, exist_ok=True)
    write_json(result, {"summary": summary, "rows": rows, "environment": environment()})
    for line in summary:
        print(json.dumps(line))


def main() -> None:
    """Run what is missing, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=TASKS, default="embedded")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--folder", type=Path, default=RESULT.with_suffix(""))
    args, more = parser.parse_known_args()
    args.more = more
    (args.folder / args.task).mkdir(parents=True, exist_ok=True)
    args.target = known_target(args)
    for seed, method in product(args.seeds, ["default", *args.methods]):
        if not (path := row_path(args, method, seed)).exists():
            write_json(path, row := row_of(args, method, seed))
            print(json.dumps(row), flush=True)
    paths = sorted(args.folder.glob(ROWS))
    write_summary(RESULT, [json.loads(path.read_text(encoding="utf-8")) for path in paths])


if __name__ == "__main__":
    main()
