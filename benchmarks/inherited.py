"""Few pictures: what the search finds from published weights, against what one would do otherwise.

    python benchmarks/inherited.py data.root=DIR       writes results/benchmarks/inherited.json
    python benchmarks/inherited.py data.root=DIR --pictures 1000 --seeds 0 1 2

CIFAR-10 with so many training pictures; EfficientNet-Lite0; the targets are the latencies of Lite0
itself at 80, 64 and 48 pixels.  The winner is the real command's.  The baseline is Lite0 at that
side, with the same recipe, first weights and soft labels, trained on until it has had as many CPU
seconds as all that led to the winner: both trainings, the study of blocks, the whole ladder.
Networks of equal ratios and random ones, as fast as the winner, are finished as the winner is.
Accuracies are of the test images, which no decision saw.  One process, one core: several at once,
with other --seeds, write to one --folder.  Other settings of nas.search may follow.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from nas.accuracy.inheritance_worker import InheritanceWorker
from nas.accuracy.inherited import InheritedSettings
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.run_folder import environment, write_json
from nas.inheritance.files import load_tensors, weights_path
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.training.evaluation import paired_difference
from search_spaces.inherited import whole_network

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "inherited.json"
ARCH = "tf_efficientnet_lite0"
SIDES = (48, 64, 80)
DATA = ("data=cifar10", "data.val=500", "data.test=2000", "workers=1", "device=cpu")
METHODS = ("winner", "baseline", "equal ratios", "random")


def settings_of(folder: Path, pictures: int, seed: int, target: float, words: list[str]) -> Any:
    """The command's settings."""
    return SearchSettings.of(
        "weights=pretrained", f"arch={ARCH}", *DATA, f"data.train={pictures}", f"seed={seed}",
        f"results={folder}", f"run={pictures}-{seed}", f"target={target:.4f}", *words,
    )  # fmt: skip


def spent_seconds(folder: Path, summary: dict[str, Any]) -> float:
    """CPU seconds of all that led to the winner of a target."""
    lines = (folder / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    known = [json.loads(line) for line in lines]
    roles = ("trial", "choice")
    shared = sum(row["metrics"]["seconds"] for row in known if row["role"] in roles)
    return float(shared + sum(summary["prepared"].values()) + summary["finished_seconds"])


def compare(folder: Path, pictures: int, seed: int, side: int, words: list[str]) -> dict[str, Any]:
    """A target's row: accuracies of the four methods on the same test images, and their costs."""
    settings = settings_of(folder, pictures, seed, 1.0, words)
    arch = replace(whole_network(ARCH, side, 3, 10), name=ARCH)
    target = targets(folder, settings)[str(side)]
    settings = settings_of(folder, pictures, seed, target, words)
    summary = search(settings)
    run = folder / "search" / settings.run
    winner, seconds = summary["winner"], spent_seconds(run, summary)
    judge: InheritedSettings = settings.accuracy.make()
    data = settings.data.make()
    space = settings.space.make(channels=data.channels, classes=data.num_classes)
    budget = settings.budget.make()
    worker = InheritanceWorker.open(
        settings.data.make, judge.weights, space, budget, "cpu", seed, run
    )
    epochs = equal_epochs(summary, arch, seconds, worker.budget.epochs)
    estimate = worker(arch, "baseline", epochs)
    task = f"baseline-{epochs}"
    task = task if weights_path(run, arch, task).exists() else "baseline"
    theirs = load_tensors(weights_path(run, arch, task))["test_correct"]
    path = run / "weights" / f"{winner['id']}-finish.pt"
    gain, error = paired_difference(load_tensors(path)["test_correct"], theirs)
    timed = settings.latency.make().measure_many([arch])
    assert estimate.test
    return {
        "pictures": pictures, "target": f"{ARCH} at {side} px", "target_ms": target,
        "seed": seed, "winner": winner["test_accuracy"], "winner_ms": winner["measured_ms"],
        "winner_seconds": seconds, "winner_arch": winner["arch"],
        "baseline": estimate.test.accuracy, "baseline_ms": timed[0].median_ms,
        "baseline_seconds": estimate.seconds, "baseline_epochs": epochs,
        "gain": gain, "gain_se": error,
        **{name: mean_of(summary, name) for name in ("equal ratios", "random")},
    }  # fmt: skip


def targets(folder: Path, settings: Any) -> dict[str, float]:
    """Milliseconds of Lite0 at each side, measured once for all runs of a folder."""
    path = folder / "targets.json"
    if not path.exists():
        archs = [whole_network(ARCH, side, 3, 10) for side in SIDES]
        timings = settings.latency.make().measure_many(archs)
        ms = {str(s): round(t.median_ms, 4) for s, t in zip(SIDES, timings, strict=True)}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, ms)
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return known


def equal_epochs(summary: dict[str, Any], arch: Arch, seconds: float, epochs: int) -> int:
    """Of training again, so that the baseline has had as many CPU seconds as the winner.

    The soft labels' network is a part of both.  What an epoch takes is known from the baseline of
    the report, in proportion to multiply-adds where that is of another side.
    """
    prepared = summary["prepared"]
    row = next(row for row in summary["compared"] if row["role"] == "reference")
    side = int(str(row["name"]).split()[-2])
    other = whole_network(ARCH, side, 3, 10)
    trained = f"train:{network_id(other)}" in prepared
    each = row["seconds"] / (epochs if trained else 2 * epochs)
    each *= cost(arch).macs / cost(other).macs
    teacher = next(s for key, s in prepared.items() if key.startswith("train:"))
    first = prepared.get(f"train:{network_id(arch)}", epochs * each)
    return max(epochs, int((seconds - teacher - first) / each))


def mean_of(summary: dict[str, Any], name: str) -> float | None:
    """Mean test accuracy of the controls of that name."""
    found = [r["test_accuracy"] for r in summary["compared"] if str(r["name"]).startswith(name)]
    return statistics.fmean(found) if found else None


def summarised(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds with their standard errors, a row for pictures and target."""
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["pictures"], row["target"]), []).append(row)
    return [
        {
            "pictures": pictures,
            "target": target,
            "target_ms": group[0]["target_ms"],
            "seeds": len(group),
            **{name: mean_and_error([r[name] for r in group]) for name in (*METHODS, "gain")},
        }
        for (pictures, target), group in groups.items()
    ]


def mean_and_error(values: list[float | None]) -> tuple[float, float | None] | None:
    """Mean and standard error; None where nothing is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    error = statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
    return statistics.fmean(known), error


def main() -> None:
    """Run what is missing and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=RESULT.with_suffix(""))
    args, words = parser.parse_known_args()
    for pictures, seed, side in product(args.pictures, args.seeds, SIDES):
        path = args.folder / f"{pictures}-{seed}-{side}.json"
        if not path.exists():
            row = compare(args.folder, pictures, seed, side, words)
            print(json.dumps(row), flush=True)
            write_json(path, row)
    found = sorted(args.folder.glob("[0-9]*-[0-9]*-[0-9]*.json"))
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, {"means": summarised(rows), "rows": rows, "environment": environment()})
    for row in summarised(rows):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
