"""Train random networks of a space on one data set: what a learnt prior is fitted to.

    python -m benchmarks.prior_networks data=cifar10 data.root=DIR data.train=10000

Half of the networks are as fast as the default target, half evenly over latency; each is trained
with one seed.  Trainings are kept one by one in --folder, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from rich.console import Console

from benchmarks.judges_near_target import Trainings, distinct
from nas.arch.serialization import dumps, loads
from nas.core.run_folder import write_json
from nas.search.settings import SearchSettings
from nas.search.setup import open_search

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "prior_networks"
SEED = 3


def main() -> None:
    """Draw, train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=RESULT)
    args, words = parser.parse_known_args()
    own = [f"results={args.folder}", "run=drawn", "references=[]", "device=cpu", *words]
    with ExitStack() as stack:
        run = open_search(SearchSettings.of(*own), stack, Console(stderr=True))
        path = args.folder / "networks.json"
        if not path.exists():
            half = args.networks // 2
            near = run.problem.sample_near(run.problem.target_ms, half, SEED)
            even = run.problem.sample_evenly(half, SEED)
            mixed = distinct(list(chain(*zip(near, even, strict=False))), args.networks)
            write_json(path, [dumps(arch) for arch in mixed])
        archs = [loads(text) for text in json.loads(path.read_text(encoding="utf-8"))]
        Trainings(run, args.folder)(archs, "standard", SEED, f"budget.epochs={args.epochs}")


if __name__ == "__main__":
    main()
