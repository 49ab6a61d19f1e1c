"""What a trial costs beside its evaluation: milliseconds of one core, by how many were told before.

    OMP_NUM_THREADS=1 python -m benchmarks.overhead
    OMP_NUM_THREADS=1 python -m benchmarks.overhead --trials 300 1000 --batches 3

writes results/benchmarks/overhead.json: for every part of PARTS the median over some batches, and
its ratio to that at 300 trials where they are among `--trials`.  The time is that of the process,
so that other work on the machine hardly counts.

The search is the default one (space=mbconv at 28 pixels, latencies of the reference table) with
accuracy=log_macs.  The trials told are random networks within the limit, all different.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nas.arch.scaling import for_resolution
from nas.core.run_folder import environment, write_json
from nas.latency.lookup import Lookup
from nas.search.samplers.for_space import KnownCost
from nas.space.constrained import ConstrainedSpace
from nas.space.trellis.trellis import Trellis
from search_spaces.mbconv import mbconv

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "results" / "reference" / "latency" / "table.csv"
RESULT = ROOT / "results" / "benchmarks" / "overhead.json"
TARGET_MS = 0.15  # MobileNetV2 at width 0.25 takes this long by the table
LATENCY_SLACK = 1.2  # times the target: slower ones are not evaluated, as in a search
TRIALS = (100, 300, 1000, 3000, 10_000)
BASE = 300  # trials that ratios refer to
BATCH = 8  # networks asked for at a time, as many as a search asks for
DRAWN = 4000  # random networks at a time

Ints = NDArray[np.int64]


def default_space() -> ConstrainedSpace:
    """The default space for the embedded images, within its latency limit."""
    space = for_resolution(mbconv(width=0.25, channels=1, classes=10, dropout=0.0), 28)
    trellis, table = Trellis(space), Lookup(str(TABLE))
    row_ms = np.array([table.row_ms(row, space.resolution) for row in trellis.rows])
    return ConstrainedSpace(trellis, row_ms, table.overhead_ms, LATENCY_SLACK * TARGET_MS)


def random_networks(space: ConstrainedSpace, num: int, seed: int = 0) -> Ints:
    """Genomes [num, choices] of different random networks within the limit."""
    rng = np.random.default_rng(seed)
    networks: dict[bytes, Ints] = {}
    while len(networks) < num:
        genomes = space.trellis.random(DRAWN, rng)
        genomes = genomes[space.allows(genomes)]
        for ids, genome in zip(space.trellis.networks(genomes), genomes, strict=True):
            networks.setdefault(ids.tobytes(), genome)
    return np.array(list(networks.values())[:num]).reshape(num, len(space.trellis.keys))


@dataclass
class Trials:
    """A study in memory of a space to which trials were told."""

    space: ConstrainedSpace
    study: optuna.Study
    distributions: dict[str, BaseDistribution] = field(init=False)

    def __post_init__(self) -> None:
        labels = self.space.trellis.labels
        self.distributions = {key: CategoricalDistribution(own) for key, own in labels.items()}

    @classmethod
    def told(cls, space: ConstrainedSpace, num: int) -> Trials:
        """With `num` random networks told, and the sampler that a search has by default."""
        study = optuna.create_study(
            directions=["maximize", "minimize"],
            sampler=KnownCost().for_space(space, target_ms=TARGET_MS, seed=0),
        )
        trials = cls(space, study)
        genomes = random_networks(space, num)
        picks, values = space.trellis.decode(genomes), trials.values(genomes)
        for params, pair in zip(picks, values, strict=True):
            study.add_trial(
                optuna.create_trial(params=params, distributions=trials.distributions, values=pair)
            )
        return trials

    def values(self, genomes: Ints) -> list[list[float]]:
        """Log multiply-adds and milliseconds of each of `genomes`."""
        logs = np.log(self.space.trellis.costs(genomes).macs)
        return [list(pair) for pair in zip(logs.tolist(), self.space.ms(genomes), strict=True)]

    def ask(self) -> optuna.Trial:
        """The next trial."""
        return self.study.ask(dict(self.distributions))

    def tell(self, trials: Sequence[optuna.Trial]) -> None:
        """Evaluate `trials`."""
        genomes = self.space.trellis.encode([trial.params for trial in trials])
        for trial, values in zip(trials, self.values(genomes), strict=True):
            self.study.tell(trial, values)


def proposal_ms(trials: Trials, batches: int) -> float:
    """Milliseconds of a proposal, as the mean of a batch: its first one learns what was told."""
    trials.tell([trials.ask() for _ in range(BATCH)])  # reads all that was told before
    seconds = []
    for _ in range(batches):
        began = time.process_time()
        asked = [trials.ask() for _ in range(BATCH)]
        seconds.append(time.process_time() - began)
        trials.tell(asked)
    return 1000 * median(seconds) / BATCH


# What a trial pays for, each measured by one function of the trials told and a number of batches.
PARTS: dict[str, Callable[[Trials, int], float]] = {"proposal": proposal_ms}


def main() -> None:
    """Measure every part after every number of trials, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS, help="told before")
    parser.add_argument("--batches", type=int, default=5, help="measured, of 8 proposals each")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = default_space()
    ms: dict[str, dict[str, float]] = {name: {} for name in PARTS}
    for num in args.trials:
        for name, measure in PARTS.items():
            ms[name][str(num)] = round(measure(Trials.told(space, num), args.batches), 2)
            print(f"{num:6} trials told: {name} {ms[name][str(num)]:.4g} ms", flush=True)
    base = str(BASE)
    ratios = {
        name: {num: round(value / found[base], 2) for num, value in found.items()}
        for name, found in ms.items()
        if base in found
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    content = {"ms": ms, f"ratio_to_{base}": ratios, "environment": environment(seed=0)}
    write_json(args.out, content)


if __name__ == "__main__":
    main()
