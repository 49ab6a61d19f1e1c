"""How many workers one search feeds: the part of their time in which workers are busy.

    OMP_NUM_THREADS=1 python -m benchmarks.feeding          writes results/benchmarks/feeding.json
    OMP_NUM_THREADS=1 python -m benchmarks.feeding --seconds 5 --workers 2 64

The search is that of benchmarks/overhead.py after 300 trials.  Its judge sleeps as long as a
training takes (a fifth more or less, by the network), in as many threads as there are workers.
What is measured is one batch, twice as many networks as workers, from the first proposal until the
last is written.  A search proposes a whole batch before the first of it is trained, so workers wait
for proposals, and at the end for the longest training.  What --out has is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any

import optuna

from benchmarks.overhead import Bench
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.run_folder import environment, write_json
from nas.search.metrics import Metrics

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "feeding.json"
TOLD = 300  # networks before
VARIES = 0.2  # of a training's time


class SleepingBench(Bench):
    """A search whose judge sleeps; `busy` counts the seconds."""

    def __init__(self, folder: Path, seconds: float, workers: int) -> None:
        super().__init__(folder)
        self.sleep_s, self.workers, self.busy = seconds, workers, 0.0

    def evaluate(self, archs: Sequence[Arch]) -> Iterator[tuple[int, Metrics]]:
        """Each network once a worker has slept for it."""
        known = dict(super().evaluate(archs))
        with ThreadPoolExecutor(self.workers) as pool:
            asked = {pool.submit(self._sleep, arch): i for i, arch in enumerate(archs)}
            for future in as_completed(asked):
                self.busy += future.result()
                yield asked[future], known[asked[future]]

    def _sleep(self, arch: Arch) -> float:
        place = int(network_id(arch), 16) / 16**12  # from 0 to 1, the same for a network each time
        seconds = self.sleep_s * (1 + VARIES * (2 * place - 1))
        time.sleep(seconds)
        return seconds

    def feed(self) -> dict[str, float]:
        """A batch: the busy part of the workers' time, and the seconds of it all."""
        sleep_s, self.sleep_s = self.sleep_s, 0.0
        self.run(TOLD, optuna.samplers.RandomSampler)
        self.run(TOLD + 8, self.sampler)  # reads all that was told before
        self.sleep_s, self.busy, began = sleep_s, 0.0, time.perf_counter()
        number = 2 * self.workers
        self.study.sampler = self.sampler
        trials = TOLD + 8 + number
        self.study.run(self.evaluate, trials=trials, batch=number, on_result=lambda metrics: None)
        wall = time.perf_counter() - began
        return {"busy": self.busy / (self.workers * wall), "seconds": wall}


def main() -> None:
    """Feed, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 60, 600])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16, 64, 256])
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    known = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.exists() else []
    rows: list[dict[str, Any]] = known
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for seconds, workers in product(args.seconds, args.workers):
        if not any(row["training_s"] == seconds and row["workers"] == workers for row in rows):
            with tempfile.TemporaryDirectory() as folder:
                found = SleepingBench(Path(folder), seconds, workers).feed()
            rows.append({"training_s": seconds, "workers": workers, **found})
            print(rows[-1], flush=True)
            write_json(args.out, {"rows": rows, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
