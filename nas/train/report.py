"""What `nas.train` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.files import write_text
from nas.core.run_folder import environment, write_json
from nas.train.setup import TrainingRun
from nas.training.evaluation import Score
from nas.training.loop import Epoch, History


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    scores   of the splits val and test;  by_class: a row a class, for classes.csv.
    onnx_difference   the largest one between answers of the ONNX model and of torch.
    """

    history: History
    scores: Mapping[str, Score]
    by_class: pd.DataFrame
    latency_ms: float | None
    onnx_difference: float


def print_line(console: Console, label: str, text: str) -> None:
    """One line behind its label."""
    console.print(f"{label:<9} {text}")


def print_scores(console: Console, scores: Mapping[str, Score], by_class: pd.DataFrame) -> None:
    """Accuracy with its standard error over the images, and the weakest classes."""
    val, test = (
        f"{score.accuracy:.1%} ± {score.accuracy_se:.1%}"
        for score in (scores["val"], scores["test"])
    )
    print_line(console, "accuracy", f"{val} (test {test})")
    worst = by_class.nsmallest(3, "test_accuracy")[["class", "test_accuracy"]]
    named = ", ".join(f"{name} {part:.0%}" for name, part in worst.itertuples(index=False))
    print_line(console, "weakest", f"{named} (of the class's test images)")


def write_results(run: TrainingRun, outcome: Outcome) -> dict[str, Any]:
    """Write history.csv, classes.csv, summary.json and environment.json; returns the summary."""
    rows = [
        {"epoch": i, "loss": epoch.loss, "seconds": epoch.seconds, **_val_columns(epoch)}
        for i, epoch in enumerate(outcome.history.epochs, 1)
    ]
    write_text(run.folder / "history.csv", pd.DataFrame(rows).to_csv(index=False))
    write_text(run.folder / "classes.csv", outcome.by_class.to_csv(index=False))
    found = summary(run, outcome)
    write_json(run.folder / "summary.json", found)
    made_with = environment(
        seed=run.settings.seed, device=str(run.device), latency=run.timer.describe()
    )
    write_json(run.folder / "environment.json", made_with)
    return found


def summary(run: TrainingRun, outcome: Outcome) -> dict[str, Any]:
    """What summary.json holds."""
    counts, settings = cost(run.arch), run.settings
    return {
        "name": run.arch.name,
        "arch": arch_string(run.arch),
        "id": network_id(run.arch),
        "resolution": run.arch.resolution,
        "macs": counts.macs,
        "params": counts.params,
        "classes": list(run.data.classes),
        "mean": run.stats.mean,
        "std": run.stats.std,
        "weights": settings.weights.name,
        "pretrained": asdict(run.pretrained) if run.pretrained else None,
        "data": run.data.name,
        "images": {part: len(getattr(run.data, part)) for part in ("train", "val", "test")},
        "budget": settings.budget.name,
        "seed": settings.seed,
        "seconds": outcome.history.seconds,
        **{split: asdict(score) for split, score in outcome.scores.items()},
        "latency_ms": outcome.latency_ms,
        "onnx_difference": outcome.onnx_difference,
    }


def _val_columns(epoch: Epoch) -> dict[str, float]:
    """The validation scores of an epoch, as columns."""
    if epoch.score is None:
        return {}
    return {"val_accuracy": epoch.score.accuracy, "val_cross_entropy": epoch.score.cross_entropy}
