"""How well the judges rank random networks of the default space, trained as a search trains them.

    python benchmarks/judges.py              writes results/benchmarks/judges.json

Networks are trained with the default budget on the embedded data, with two seeds, whose mean is
the truth; how far two single trainings agree is told beside.  `blend` learns from labels of other
networks, trained with a third seed.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import Estimates, JudgeContext, JudgeSettings, Thresholds, make_judge
from nas.accuracy.predictor import PredictorSettings
from nas.accuracy.scratch import Scratch
from nas.accuracy.worker_pool import WorkerPool
from nas.accuracy.zero_cost import LOG_MACS, ZeroCostSettings
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.run_folder import environment, write_json
from nas.search.defining import sized_space
from nas.search.settings import SearchSettings
from nas.space.choices import fill, random_picks
from nas.stats.correlation import interval, kendall

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "judges.json"
LABELS = 20  # as many as the default search trains
PROXIES = ("naswot", "grad_norm")
TRANSFER = {"": False, "_transfer": True}  # of `blend`, by what is added to its name


def sample(space: Arch, number: int, seed: int) -> list[Arch]:
    """Distinct random networks, evenly over the logarithm of multiply-adds, in random order."""
    rng = random.Random(seed)
    many = {network_id(a): a for a in (fill(space, random_picks(space, rng)) for _ in range(4000))}
    logs = np.log([cost(arch).macs for arch in many.values()])
    wanted = np.linspace(logs.min(), logs.max(), number)
    left = dict(enumerate(many.values()))
    chosen = []
    for value in wanted:
        nearest = min(left, key=lambda i: abs(logs[i] - value))
        chosen.append(left.pop(nearest))
    rng.shuffle(chosen)
    return chosen


def train_all(settings: SearchSettings, archs: list[Arch], seed: int) -> list[Estimate]:
    """The estimate of each, after a training with the default budget."""
    train = partial(Scratch.open, settings.data.make, settings.budget.make(), "cpu", seed)
    with WorkerPool(train, settings.workers) as pool:
        estimates = {}
        for i, estimate in pool.estimate(archs):
            if isinstance(estimate, Failure):
                raise SystemExit(estimate.reason)
            estimates[i] = estimate
            print(f"\r  seed {seed}: {len(estimates)}/{len(archs)} trained ", end="", flush=True)
    return [estimates[i] for i in range(len(archs))]


@dataclass(frozen=True)
class Known:
    """Labels that were trained before, one for each network that is asked for."""

    estimates: Sequence[Estimate]

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """The labels, in order."""
        yield from enumerate(self.estimates)


def judges() -> Iterator[tuple[str, JudgeSettings]]:
    """The judges that do not train, by name."""
    for proxy in (LOG_MACS, *PROXIES):
        yield proxy, ZeroCostSettings(proxy)
    yield "oneshot", make_judge(SearchSettings.of("accuracy=oneshot").accuracy)
    for name, transfer in TRANSFER.items():
        prior = ZeroCostSettings(LOG_MACS)
        yield f"blend_{LABELS}_labels{name}", PredictorSettings(prior, LABELS, transfer=transfer)


def values_of(judge: JudgeSettings, context: JudgeContext, archs: list[Arch]) -> list[float]:
    """What the judge thinks of each."""
    values = {}
    for i, estimate in judge.open(context).estimate(archs):
        if isinstance(estimate, Failure):
            raise SystemExit(estimate.reason)
        values[i] = estimate.value
    return [values[i] for i in range(len(archs))]


def main() -> None:
    """Train, score, compare, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=24, help="that are judged")
    parser.add_argument("--seed", type=int, default=0)
    args, words = parser.parse_known_args()
    settings = SearchSettings.of(*words)
    settings, space = sized_space(settings, settings.data.make())
    archs = sample(space, args.networks + LABELS, args.seed)
    judged, others = archs[: args.networks], archs[args.networks :]
    runs = [train_all(settings, judged, args.seed + i) for i in (0, 1)]
    values = np.array([[estimate.value for estimate in run] for run in runs])
    correct = np.array([[e.val.accuracy for e in run if e.val] for run in runs])
    truth = values.mean(0)
    labels = train_all(settings, others, args.seed + 2)
    between = {"cross_entropy": kendall(*values), "accuracy": kendall(*correct)}
    context = JudgeContext(
        space=space,
        load=settings.data.make,
        device="cpu",
        seed=args.seed,
        label=Known(labels),
        draw=lambda number: others if number == LABELS else sample(space, number, args.seed + 1),
    )
    fidelity: dict[str, Any] = {}
    for name, judge in judges():
        start = time.process_time()
        scores = values_of(judge, context, judged)
        seconds = time.process_time() - start  # without the labels of `blend`
        tau = interval(kendall, scores, truth)
        fidelity[name] = {**asdict(tau), "cpu_seconds": seconds}
        print(f"\r{name:28} tau {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})", flush=True)
    print("two seeds agree at", {k: round(v, 2) for k, v in between.items()})
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    summary = {
        "networks": args.networks,
        "labels": LABELS,
        "seeds_agree": between,
        "judges": fidelity,
    }
    noise = float((values[0] - values[1]).std() / 2**0.5)
    spread = {"between_networks": float(truth.std()), "between_seeds": noise}
    write_json(RESULT, {**summary, "nats": spread, "environment": environment(seed=args.seed)})


if __name__ == "__main__":
    main()
