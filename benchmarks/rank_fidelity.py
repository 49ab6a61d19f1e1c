"""How well a supernet ranks NAS-Bench-Macro's networks, whose real accuracies are known.

    python benchmarks/rank_fidelity.py         writes results/benchmarks/rank_fidelity.json

The table holds the CIFAR-10 accuracy of every network after three real trainings of 50 epochs
(Su et al. 2021); the supernet sees crops of 24 pixels and has half the width.  It is scored on
training images that are held out of its training, weighed by what they tell about 128 random
networks (nas.supernet.image_weights).  Settings were chosen on other networks (--development) than
those that are scored here, and with other seeds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.accuracy.predictor import predictor_fidelity
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.scaling import scaled
from nas.core.run_folder import environment, write_json
from nas.data.augment import Batches as Images
from nas.data.dataset import ImageData, load_data
from nas.space.choices import choices, fill, random_picks
from nas.stats.correlation import interval, kendall, spearman, top_regret
from nas.supernet.history import SupernetHistory
from nas.supernet.image_weights import NUM_PROBES, image_weights
from nas.supernet.scoring import subnet_losses
from nas.supernet.supernet import Supernet
from nas.supernet.training import SupernetBudget, train_supernet
from nas.training.loop import Budget
from search_spaces.nas_bench_macro import nas_bench_macro

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULT = ROOT / "results" / "benchmarks" / "rank_fidelity.json"
MARGIN = 4  # pixels of CIFAR's 32 that are cut off on every side
GOOD = 91.0  # %; the networks that a search has to tell apart
VAL = 1500  # images that networks are scored on
LABELS, DRAWS = (20, 50), 10  # true accuracies given to the predictor; draws of whose they are
CPU = torch.device("cpu")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Networks of the half-width space with the accuracies (%) of their full-width selves."""

    archs: list[Arch]
    accuracy: Floats


def space() -> Arch:
    """NAS-Bench-Macro at half its width, for the inner pixels."""
    return scaled(nas_bench_macro(resolution=32 - 2 * MARGIN), width=0.5)


def networks(number: int, skip: int) -> Truth:
    """`number` distinct networks in a fixed random order, after leaving out `skip`."""
    keys = list(choices(space()))
    with gzip.open(SHARED / "nas_bench_macro.csv.gz", "rt", encoding="utf-8") as file:
        rows = [(row["arch"], float(row["mean_acc"])) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    distinct: dict[str, tuple[Arch, float]] = {}
    for code, accuracy in rows:
        arch = fill(space(), dict(zip(keys, code, strict=True)))
        distinct.setdefault(network_id(arch), (arch, accuracy))
    chosen = list(distinct.values())[skip : skip + number]
    return Truth([arch for arch, _ in chosen], np.array([accuracy for _, accuracy in chosen]))


class Cropped:
    """The inner 24 x 24 pixels of the batches.

    Cut and not shrunk, since shrinking takes the fine detail that early stages are for.  Of images
    shifted by up to MARGIN, as training batches are, the inner ones are a random crop.
    """

    def __init__(self, data: ImageData, part: str, seed: int, batch_size: int) -> None:
        train = part == "train"
        self.inner = Images(
            getattr(data, part),
            data.mean,
            data.std,
            batch_size=batch_size,
            augment=train,
            shuffle=train,
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch."""
        for images, labels in self.inner.epoch(number):
            yield images[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN], labels


def train_one(
    data: ImageData, budget: SupernetBudget, seed: int, clock: Any
) -> tuple[Supernet, SupernetHistory]:
    """A supernet after that budget on the training images, cropped and flipped."""
    supernet = Supernet(space(), seed)
    batches = Cropped(data, "train", seed, budget.training.batch_size)

    def progress(done: float, left: float, history: SupernetHistory) -> None:
        if history.steps % 50 == 0 or done >= 1:
            loss = history.checks[-1].loss if history.checks else float("nan")
            print(f"\r  {done:4.0%}  {left:4.0f} s left  loss {loss:.3f} ", end="", flush=True)

    history = train_supernet(
        supernet, batches, budget, device=CPU, seed=seed, clock=clock, progress=progress
    )
    return supernet, history


def score(
    supernet: Supernet, data: ImageData, truth: Truth, seed: int, threads: int
) -> dict[str, Any]:
    """Minus the cross-entropy (nats) of each network, weighed and plain, and how fast."""
    batches = Cropped(data, "val", 0, 500)
    rng = random.Random(f"{seed}:probes")
    probes = [fill(space(), random_picks(space(), rng)) for _ in range(NUM_PROBES)]
    probed, _ = subnet_losses(supernet, probes, batches, device=CPU, threads=threads)
    start, cpu = time.perf_counter(), time.process_time()
    losses, _ = subnet_losses(supernet, truth.archs, batches, device=CPU, threads=threads)
    spent = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    weighed = -(losses @ image_weights(probed)) / losses.shape[1]
    return {
        "predicted": weighed.numpy(),
        "plain": -losses.mean(1).numpy(),
        "scored_per_second": len(truth.archs) / spent["wall"],
        "scored_per_cpu_second": len(truth.archs) / spent["cpu"],
    }


def fidelity(predicted: Floats, plain: Floats, truth: Truth) -> dict[str, Any]:
    """Rank correlations with the true accuracies, with bootstrap intervals over the networks.

    `blend` are those of a correction by so many true accuracies, over the others: medians over
    draws of the labelled ones.
    """
    true = truth.accuracy
    good = true > GOOD
    blend = {
        str(n): statistics.median(
            predictor_fidelity(truth.archs, predicted, true, n, draw) for draw in range(DRAWS)
        )
        for n in LABELS
    }
    return {
        "kendall": asdict(interval(kendall, predicted, true)),
        "kendall_top_half": kendall(predicted[good], true[good]),
        "kendall_plain_mean": kendall(plain, true),
        "kendall_blend": blend,
        "spearman": spearman(predicted, true),
        "top_5_regret": top_regret(5)(predicted, true),
    }


def measure(data: ImageData, truth: Truth, budget: SupernetBudget, seed: int, clock: Any) -> Any:
    """Train, score and compare, for one seed."""
    start, cpu = time.perf_counter(), time.process_time()
    supernet, history = train_one(data, budget, seed, clock)
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    scored = score(supernet, data, truth, seed, budget.threads)
    predicted = scored.pop("predicted")
    found = (
        fidelity(predicted, scored.pop("plain"), truth)
        | scored
        | {
            "seed": seed,
            "steps": history.steps,
            "train_seconds": seconds["wall"],
            "train_cpu_seconds": seconds["cpu"],
            "returns": [asdict(r) for r in history.returns],
            "predicted": predicted.tolist(),
        }
    )
    print(
        f"\r{budget.seconds:.0f} s, seed {seed}: {history.steps} steps, tau"
        f" {found['kendall']['value']:.3f}, above {GOOD:g} % {found['kendall_top_half']:.3f},"
        f" plain mean {found['kendall_plain_mean']:.3f}, with labels {found['kendall_blend']},"
        f" {found['scored_per_second']:.1f} networks/s, {seconds['wall']:.0f} s wall,"
        f" {seconds['cpu']:.0f} s cpu"
    )
    return found


def summary(long: list[Any], short: list[Any], truth: Truth) -> dict[str, Any]:
    """Medians over the seeds, and every seed's own figures."""

    def median(runs: list[Any], key: str) -> float:
        return float(statistics.median(run[key] for run in runs))

    taus = [run["kendall"]["value"] for run in long]
    return {
        "num_networks": len(truth.archs),
        "num_good": int((truth.accuracy > GOOD).sum()),
        "kendall": statistics.median(taus),
        "kendall_seeds": taus,
        "kendall_top_half": median(long, "kendall_top_half"),
        "kendall_plain_mean": median(long, "kendall_plain_mean"),
        "kendall_blend": {
            n: statistics.median(run["kendall_blend"][n] for run in long) for n in map(str, LABELS)
        },
        "kendall_60s": statistics.median(run["kendall"]["value"] for run in short),
        "train_seconds": median(long, "train_seconds"),
        "train_cpu_seconds": median(long, "train_cpu_seconds"),
        "scored_per_second": median(long, "scored_per_second"),
        "scored_per_cpu_second": median(long, "scored_per_cpu_second"),
        "runs": long,
        "runs_60s": short,
    }


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--seconds", type=float, default=400, help="of the longer training; 0: none"
    )
    parser.add_argument("--short", type=float, default=60, help="seconds; 0 to leave it out")
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--train", type=int, default=20_000, help="training images")
    parser.add_argument(
        "--cpu-seconds", action="store_true", help="a clock for a busy machine, of all cores"
    )
    parser.add_argument("--development", action="store_true", help="other networks; no file")
    parser.add_argument("--lr", type=float, default=0.08)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--random", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Measure, print, write the file."""
    args = options()
    if not SHARED.is_dir():
        raise SystemExit("rank_fidelity needs ../shared/data beside the repository: not there")
    clock = time.process_time if args.cpu_seconds else time.perf_counter
    torch.set_num_threads(1 if args.threads == 1 else torch.get_num_threads())
    truth = networks(args.networks, skip=args.networks if args.development else 0)
    data = load_data("cifar10", root=str(SHARED), train=args.train, val=VAL, test=10)
    training = Budget(epochs=1, batch_size=args.batch, lr=args.lr, warmup=0.05)

    def runs(seconds: float) -> list[Any]:
        if not seconds:
            return []
        budget = SupernetBudget(training, seconds, num_random=args.random, threads=args.threads)
        return [measure(data, truth, budget, seed, clock) for seed in args.seeds]

    short, long = runs(args.short), runs(args.seconds)
    if args.development or not (short and long):
        return
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    found = summary(long, short, truth)
    settings = {k: v for k, v in vars(args).items() if k != "development"}
    write_json(RESULT, found | {"settings": settings, "environment": environment(seed=0)})


if __name__ == "__main__":
    main()
