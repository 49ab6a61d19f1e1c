"""Is searching worth it, where every accuracy is known: NAS-Bench-Macro, by multiply-adds.

    python -m benchmarks.worth_macro                 writes results/benchmarks/worth_macro.json

As `benchmarks.worth`, but nothing is trained: a training tells one of the three accuracies that the
table has of each network, and costs its multiply-adds.  What the default search has spent when it
names its winner, every other method may spend.  Which accuracy is told changes with the seed; the
truth is the mean of the other two.  A million multiply-adds count as a millisecond of latency, and
in the figures as a second.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pandas as pd

from benchmarks.sampler_problems import TABLE
from benchmarks.worth import METHODS, write_summary
from nas.accuracy.estimate import Estimate
from nas.accuracy.executor import LocalExecutor
from nas.accuracy.pool import Pool, Task
from nas.arch.cost import cost, layers_cost
from nas.arch.operators import network_id
from nas.latency.block_features import signature
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.space.bounds import trellis_of
from nas.training.evaluation import Score
from search_spaces.nas_bench_macro import nas_bench_macro, network

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "worth_macro.json"
SPACE = (
    *("space=nas_bench_macro", "data=cifar10", "data.train=100", "data.val=100", "data.test=100"),
    *("latency=table", "workers=1", "device=cpu", "references=[]", "spread=0", "random=0"),
)
TARGETS = (40, 80)  # million multiply-adds
COLUMNS = ("acc1", "acc2", "acc3")
IMAGES = 10_000  # each accuracy is of so many
MACRO_METHODS = ("random", "tpe", "nsga2")  # no table tells where a training may stop early
Accuracies = Mapping[str, Sequence[float]]  # three fractions, by id


def accuracies() -> Accuracies:
    """Of every network of the table."""
    table = pd.read_csv(TABLE, dtype={"arch": str})
    rows = zip(table["arch"], (table[list(COLUMNS)] / 100).values.tolist(), strict=True)
    return {network_id(network(code)): row for code, row in rows}


def write_latencies(path: Path) -> None:
    """The multiply-adds of every row of the space, in millions, as its milliseconds."""
    rows = trellis_of(nas_bench_macro()).rows
    lines = [{**signature(row), "ms": layers_cost(row.layers)[0] / 1e6} for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


class Told(Pool):
    """Workers that look up one accuracy of each network, until `allowed` MACs are spent."""

    def __init__(self, known: Accuracies, column: int, allowed: float) -> None:
        super().__init__(workers=1)
        self.known, self.column, self.allowed = known, column, allowed
        self.spent = self.asked = 0

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Estimate]]:
        """Each in turn; KeyboardInterrupt, as by Ctrl-C, where one would be too much."""
        for i, (arch, *_) in enumerate(tasks):
            macs = cost(arch).macs
            if self.spent + macs > self.allowed:
                raise KeyboardInterrupt
            self.spent, self.asked = self.spent + macs, self.asked + 1
            accuracy = self.known[network_id(arch)][self.column]
            score = Score(accuracy, math.nan, math.nan, math.nan, IMAGES)
            yield i, Estimate(accuracy - 1, math.nan, 0.0, "table", score, score)

    def close(self) -> None:
        """There is nothing to end."""


def row_of(
    known: Accuracies, words: Sequence[str], method: str, target: int, seed: int, allowed: float
) -> dict[str, Any]:
    """What a method's search handed over, and its truth."""
    column = seed % len(COLUMNS)
    told = Told(known, column, allowed)
    limit = [] if method == "default" else [f"limit.latency_ms={target}"]
    with (
        TemporaryDirectory() as folder,
        redirect_stdout(StringIO()),
        patch.object(LocalExecutor, "open", lambda *_: told),
    ):
        path = Path(folder) / "macs.csv"
        write_latencies(path)
        own = [f"latency.path={path}", f"results={folder}", f"target={target}", f"seed={seed}"]
        settings = SearchSettings.of(*SPACE, *METHODS[method], *limit, *own, *words)
        with suppress(KeyboardInterrupt):
            search(settings)
        run = Path(folder) / "search" / settings.run
        winner = json.loads((run / "summary.json").read_text(encoding="utf-8"))["winner"]
    others = [known[winner["id"]][i] for i in range(len(COLUMNS)) if i != column]
    return {
        "task": f"{target} M",
        "method": method,
        "seed": seed,
        "cpu_seconds": told.spent / 1e6,
        "trained": told.asked,
        "val": winner["accuracy"],
        "truth": statistics.fmean(others),
    }


def main() -> None:
    """Search, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=MACRO_METHODS, default=MACRO_METHODS)
    args, words = parser.parse_known_args()
    known, rows = accuracies(), []
    for target, seed in product(TARGETS, range(args.seeds)):
        allowed = math.inf
        for method in ("default", *args.methods):
            rows.append(row := row_of(known, words, method, target, seed, allowed))
            allowed = allowed if method != "default" else 1e6 * row["cpu_seconds"]
            print(json.dumps(row), flush=True)
    write_summary(RESULT, rows)


if __name__ == "__main__":
    main()
