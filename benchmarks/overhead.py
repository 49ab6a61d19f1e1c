"""What a trial costs beside its evaluation: milliseconds of one core, by how many were told before.

    OMP_NUM_THREADS=1 python -m benchmarks.overhead
    OMP_NUM_THREADS=1 python -m benchmarks.overhead --trials 300 1000 --batches 3

writes results/benchmarks/overhead.json: for the proposal, for storage and for the rest, a mean over
some batches, and its ratio to that at 300 trials where they are among `--trials`.  Time is that of
the process, so that other work on the machine hardly counts; of storage it is time on the clock,
since it waits for the disk.

The search is the default one (space=mbconv at 28 pixels, latencies of the reference table, a
journal in a folder) with accuracy=log_macs.  The trials told before are random networks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.accuracy.judge import JudgeContext
from nas.accuracy.zero_cost import LOG_MACS, ZeroCostSettings
from nas.arch.arch import Arch
from nas.arch.scaling import for_resolution
from nas.core.run_folder import environment, write_json
from nas.data.dataset import load_data
from nas.latency.lookup import Lookup
from nas.latency.store import LatencySource
from nas.search.evaluator import Evaluator
from nas.search.metrics import Metrics
from nas.search.problem import LATENCY_SLACK
from nas.search.samplers.for_space import KnownCost
from nas.search.storage import open_storage
from nas.search.study import SearchStudy
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "results" / "reference" / "latency" / "table.csv"
RESULT = ROOT / "results" / "benchmarks" / "overhead.json"
TARGET_MS = 0.15  # MobileNetV2 at width 0.25 takes this long by the table
TRIALS = (100, 300, 1000, 3000, 10_000)
BASE = 300  # trials that ratios refer to
BATCH = 8  # networks asked for at a time, as many as a search asks for


class Bench:
    """A search in `folder` that keeps count of where its time goes."""

    def __init__(self, folder: Path) -> None:
        space = for_resolution(mbconv(width=0.25, channels=1, classes=10, dropout=0.0), 28)
        latency = LatencySource(Lookup(str(TABLE)), None, Trellis(space))
        max_ms = LATENCY_SLACK * TARGET_MS
        feasible = ConstrainedSpace(
            latency.trellis, latency.row_ms, latency.source.whole_ms, max_ms
        )
        context = JudgeContext(space=space, load=lambda: load_data("embedded"))
        judge = ZeroCostSettings(LOG_MACS).open(context)
        self.evaluator = Evaluator(latency, judge, max_ms=max_ms)
        self.sampler = KnownCost().for_space(feasible, target_ms=TARGET_MS, seed=0)
        store = open_storage(folder, None, "overhead")
        self.study = SearchStudy(space, store, self.sampler, seed=0, infeasible_score=0.0)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._watch(self.sampler, "sample_relative", "proposal", time.process_time)
        self._watch(store, "add", "storage", time.perf_counter)
        self._watch(store, "add", "storage_cpu", time.process_time)

    def _watch(self, owner: Any, name: str, part: str, clock: Callable[[], float]) -> None:
        """Let the method's time count for that part."""
        method = getattr(owner, name)

        def timed(*args: Any) -> Any:
            began = clock()
            try:
                return method(*args)
            finally:
                self.seconds[part] += clock() - began

        setattr(owner, name, timed)

    def evaluate(self, archs: Sequence[Arch]) -> Iterator[tuple[int, Metrics]]:
        """Judge and measure networks; that time is no overhead."""
        began = time.process_time()
        results = list(self.evaluator(archs))
        self.seconds["evaluation"] += time.process_time() - began
        return iter(results)

    def run(self, trials: int, sampler: Any) -> None:
        """Go on to so many networks."""
        self.study.sampler = sampler
        self.study.run(self.evaluate, trials=trials, batch=BATCH, on_result=lambda metrics: None)

    def measure(self, told: int, batches: int) -> dict[str, float]:
        """Milliseconds a trial after `told` random networks, by part."""
        self.run(told - BATCH, optuna.samplers.RandomSampler)
        self.run(told, self.sampler)  # reads all that was told before
        self.seconds.clear()
        began, num = time.process_time(), self.study.num_trials
        self.run(told + BATCH * batches, self.sampler)
        spent, each = time.process_time() - began, 1000 / (self.study.num_trials - num)
        known = self.seconds
        rest = spent - known["proposal"] - known["storage_cpu"] - known["evaluation"]
        parts = {"proposal": known["proposal"], "storage": known["storage"], "rest": rest}
        return {part: round(each * seconds, 2) for part, seconds in parts.items()}


def main() -> None:
    """Measure after every number of trials, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS, help="told before")
    parser.add_argument("--batches", type=int, default=12, help="measured, of 8 trials each")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    ms: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for told in sorted(args.trials):
            ms[told] = bench.measure(told, args.batches)
            print(f"{told:6} trials told: {ms[told]}", flush=True)
    content: dict[str, Any] = {"ms": ms, "environment": environment(seed=0)}
    if BASE in ms:
        total = {told: sum(parts.values()) for told, parts in ms.items()}
        content[f"ratio_to_{BASE}"] = {n: round(t / total[BASE], 2) for n, t in total.items()}
        print(f"ratio to {BASE}: {content[f'ratio_to_{BASE}']}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.out, content)


if __name__ == "__main__":
    main()
