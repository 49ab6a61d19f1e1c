"""How well the judges rank networks of near-equal latency, where a search has to choose.

    python -m benchmarks.judges_near_target      writes results/benchmarks/judges_near_target.json
    python -m benchmarks.judges_near_target data=cifar10 data.root=DIR --networks 24

Random networks of the default space, at most 3 % faster than the default target, are trained with
budget=standard and two seeds (--seeds); their mean accuracy on the test images is the truth.  They
are judged by what a search has: the judges that train none; the default one, with and without what
is transferred, after labels that are evenly over latency, near the target, or half of each as in a
search; and single trainings with the search's own budget, as its finalists have.  Trainings are
kept one by one in --folder, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.judges import LABELS, TRANSFER, Known, judges, values_of
from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import JudgeContext
from nas.accuracy.oneshot import OneShotSettings
from nas.accuracy.predictor import PredictorSettings
from nas.accuracy.scratch import Scratch
from nas.accuracy.transferred import loss_ratios
from nas.accuracy.worker_pool import WorkerPool
from nas.accuracy.zero_cost import LOG_MACS, ZeroCostSettings
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.serialization import dumps, loads
from nas.core.journal import KeyedJournal
from nas.core.progress import ProgressBar
from nas.core.run_folder import environment, write_json
from nas.search.settings import SearchSettings
from nas.search.setup import SearchRun, open_search
from nas.stats.correlation import interval, kendall

RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "judges_near_target.json"
TRUTH, QUICK = "standard", "quick"  # budgets
TRUTH_SEEDS, QUICK_SEEDS, LABEL_SEED = (1001, 1002), (0, 1), 2
DRAWING = ("accuracy=log_macs", "references=[]", "device=cpu")  # no judge is opened
Floats = NDArray[np.float64]


class Trainings:
    """Networks trained alone, each once in the life of the folder."""

    def __init__(self, run: SearchRun, folder: Path) -> None:
        self.run, self.kept = run, KeyedJournal(folder / "trained.jsonl")

    def __call__(
        self, archs: Sequence[Arch], budget: str, seed: int, *more: str
    ) -> list[dict[str, Any]]:
        """Cross-entropy, accuracy and seconds of each, by the validation and the test images.

        `more` are settings of the budget; one folder has one set of them.
        """
        keys = [f"{budget}-{seed}-{network_id(arch)}" for arch in archs]
        missing = [arch for arch, key in zip(archs, keys, strict=True) if key not in self.kept]
        make = SearchSettings.of(f"budget={budget}", *more).budget.make()
        work = partial(Scratch.open, self.run.load, make, "cpu", seed)
        with (
            WorkerPool(work, self.run.settings.workers) as pool,
            ProgressBar(self.run.console, f"{budget}-{seed}", len(missing)) as bar,
        ):
            for done, (i, estimate) in enumerate(pool.estimate(missing), 1):
                if isinstance(estimate, Failure):
                    raise SystemExit(estimate.reason)
                assert estimate.val
                assert estimate.test
                row = {"value": estimate.value, "seconds": estimate.seconds}
                row |= {"val": estimate.val.accuracy, "test": estimate.test.accuracy}
                self.kept.add({"key": f"{budget}-{seed}-{network_id(missing[i])}", **row})
                bar(done, "")
        return [self.kept[key] for key in keys]

    def column(self, archs: Sequence[Arch], budget: str, seed: int, name: str) -> Floats:
        """One figure of each network."""
        return np.array([row[name] for row in self(archs, budget, seed)], np.float64)


def distinct(archs: Sequence[Arch], number: int) -> list[Arch]:
    """The first so many that differ."""
    return list({network_id(arch): arch for arch in archs}.values())[:number]


def networks(run: SearchRun, number: int, path: Path) -> list[Arch]:
    """The networks to judge: drawn once, so that another machine's table changes none of them."""
    if not path.exists():
        near = run.problem.sample_near(run.problem.target_ms, 10 * number, run.settings.seed)
        write_json(path, [dumps(arch) for arch in distinct(near, number)])
    return [loads(text) for text in json.loads(path.read_text(encoding="utf-8"))][:number]


def labellings(
    run: SearchRun, without: Sequence[Arch], numbers: Sequence[int]
) -> Iterator[tuple[str, list[Arch]]]:
    """Networks to learn from, by how they are drawn."""
    problem, seed = run.problem, run.settings.seed
    avoided = {network_id(arch) for arch in without}
    for number in numbers:
        even = problem.sample_evenly(number, seed)
        near = problem.sample_near(problem.target_ms, 10 * number, seed + 1)
        near = distinct([arch for arch in near if network_id(arch) not in avoided], number)
        yield f"even_{number}", even
        yield f"near_{number}", near
        yield f"half_{number}", [*even[::2], *near[: number // 2]]


def judged(
    run: SearchRun, archs: list[Arch], trained: Trainings, free: bool
) -> Iterator[tuple[str, Floats]]:
    """What each judge says of the networks, by its name; `free`: those that train none of them."""
    for seed in () if free else QUICK_SEEDS:
        yield f"trained_{seed}_accuracy", trained.column(archs, QUICK, seed, "val")
        yield f"trained_{seed}_cross_entropy", trained.column(archs, QUICK, seed, "value")
    context = JudgeContext(run.problem.space, run.load, "cpu", run.settings.seed)
    for name, judge in judges():
        if isinstance(judge, PredictorSettings) or (free and isinstance(judge, OneShotSettings)):
            continue  # with other labels, below
        yield name, np.array(values_of(judge, context, archs))
    yield "transferred", -loss_ratios()(archs)
    for name, others in labellings(run, archs, (LABELS,) if free else (LABELS, 2 * LABELS)):
        rows = trained(others, QUICK, LABEL_SEED)
        labels = [Estimate(row["value"], 0.0, row["seconds"], QUICK) for row in rows]

        def draw(number: int, others: list[Arch] = others) -> list[Arch]:
            few = number == len(others)
            return others if few else run.problem.sample_evenly(number, run.settings.seed)

        learnt = replace(context, label=Known(labels), draw=draw)
        for more, transfer in TRANSFER.items():
            own = PredictorSettings(ZeroCostSettings(LOG_MACS), len(others), transfer=transfer)
            yield f"blend_{name}{more}", np.array(values_of(own, learnt, archs))


def main() -> None:
    """Train, judge, compare, print, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=24, help="that are judged")
    parser.add_argument("--seeds", type=int, choices=(1, 2), default=2, help="of the truth")
    parser.add_argument("--free", action="store_true", help="no supernet, no single trainings")
    parser.add_argument("--folder", type=Path, default=RESULT.with_suffix(""))
    args, words = parser.parse_known_args()
    own = [f"results={args.folder}", "run=judged", *DRAWING, *words]
    with ExitStack() as stack:
        run = open_search(SearchSettings.of(*own), stack, Console(stderr=True))
        target = run.problem.target_ms
        archs = networks(run, args.networks, args.folder / "networks.json")
        trained, truths = Trainings(run, args.folder), TRUTH_SEEDS[: args.seeds]
        by_seed = [trained.column(archs, TRUTH, seed, "test") for seed in truths]
        truth = np.mean(by_seed, axis=0)
        fidelity = {}
        for name, values in judged(run, archs, trained, args.free):
            tau = interval(kendall, values, truth)
            lead = float(truth[int(values.argmax())] - truth.mean())
            fidelity[name] = {**asdict(tau), "gain_of_its_best": lead, "values": values.tolist()}
            print(f"{name:28} tau {tau.value:5.2f} ({tau.low:5.2f} to {tau.high:5.2f})"
                  f"   its best {lead:+.2%}", flush=True)  # fmt: skip
        ms = [metrics.latency_ms for metrics in run.evaluator.measure(archs)]
    both = len(by_seed) > 1
    noise = float((by_seed[0] - by_seed[1]).std() / 2**0.5) if both else None
    summary = {
        "networks": len(archs),
        "target_ms": target,
        "truth": {
            "seeds_agree": kendall(*by_seed) if both else None,
            "between_networks": float(truth.std(ddof=1)),
            "between_seeds": noise,
            "mean": float(truth.mean()),
            "best": float(truth.max()),
        },
        "judges": fidelity,
    }
    print(summary["truth"])
    rows = [
        {"arch": dumps(arch), "latency_ms": m, "macs": cost(arch).macs, "test": list(values)}
        for arch, m, values in zip(archs, ms, np.transpose(by_seed).tolist(), strict=True)
    ]
    write_json(RESULT, {**summary, "rows": rows, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
