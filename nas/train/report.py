"""What `nas.train` prints and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.files import write_text
from nas.core.run_folder import environment, write_json
from nas.train.dense import TaskOutcome
from nas.train.setup import TrainingRun
from nas.training.evaluation import Score
from nas.training.loop import History


@dataclass(frozen=True)
class Outcome:
    """What a training came to: `scores` by split, `by_class` as in classes.csv.

    onnx_bytes        how large the ONNX model is.
    onnx_difference   the largest one between its logits and torch's.
    """

    history: History
    scores: Mapping[str, Score]
    by_class: pd.DataFrame
    latency_ms: float | None
    onnx_bytes: int
    onnx_difference: float


def print_outcome(console: Console, timer: str, outcome: Outcome) -> None:
    """Print accuracies with their standard errors, the weakest classes, the model, its latency."""
    both = (outcome.scores["val"], outcome.scores["test"])
    val, test = (f"{score.accuracy:.1%} ± {score.accuracy_se:.1%}" for score in both)
    console.print(f"accuracy  {val} (test {test})")
    known = outcome.by_class[["class", "test_accuracy"]].dropna()  # with few images not all are
    worst = known.nsmallest(3, "test_accuracy")
    named = ", ".join(f"{name} {part:.0%}" for name, part in worst.itertuples(index=False))
    console.print(f"weakest   {named} (of the class's test images)")
    size, difference = f"{outcome.onnx_bytes / 1e6:.3g} MB", outcome.onnx_difference
    console.print(f"onnx      {size} · largest difference from torch {difference:.1g}")
    if outcome.latency_ms is not None:
        console.print(f"latency   {outcome.latency_ms:.4g} ms ({timer})")


def write_results(run: TrainingRun, outcome: Outcome) -> dict[str, Any]:
    """Write history.csv, classes.csv, summary.json and environment.json; returns the summary."""
    history = pd.DataFrame(_history_rows(outcome.history))
    write_text(run.folder / "history.csv", history.to_csv(index=False))
    write_text(run.folder / "classes.csv", outcome.by_class.to_csv(index=False))
    summary = {
        **_facts(run),
        "seconds": outcome.history.seconds,
        **{split: asdict(score) for split, score in outcome.scores.items()},
        "latency_ms": outcome.latency_ms,
        "onnx_difference": outcome.onnx_difference,
    }
    _write_summary(run, summary)
    return summary


def write_task_results(
    run: TrainingRun, outcome: TaskOutcome, latency_ms: float | None
) -> dict[str, Any]:
    """As `write_results`, of boxes or masks; classes.csv is of the test pictures."""
    assert run.task
    history = pd.DataFrame(_history_rows(outcome.history))
    write_text(run.folder / "history.csv", history.to_csv(index=False))
    of_test = outcome.scores["test"].by_class
    write_text(run.folder / "classes.csv", of_test.to_csv(index=False))
    summary = {
        "task": run.task.name,
        **_facts(run),
        "seconds": outcome.history.seconds,
        **{split: score.figures for split, score in outcome.scores.items()},
        "latency_ms": latency_ms,
        "onnx_difference": outcome.onnx_difference,
    }
    _write_summary(run, summary)
    return summary


def print_task_outcome(
    console: Console, run: TrainingRun, outcome: TaskOutcome, latency_ms: float | None
) -> None:
    """Print the task's figures, the weakest classes, the model and its latency."""
    assert run.task
    val, test = outcome.scores["val"].figures, outcome.scores["test"].figures
    figures = " · ".join(f"{name} {val[name]:.1%} (test {test[name]:.1%})" for name in val)
    console.print(f"score     {figures}")
    table = outcome.scores["test"].by_class
    measure = table.columns[1]
    worst = table[["class", measure]].dropna().nsmallest(3, measure)
    named = ", ".join(f"{name} {part:.0%}" for name, part in worst.itertuples(index=False))
    console.print(f"weakest   {named} ({measure} on the test pictures)")
    size, difference = f"{outcome.onnx_bytes / 1e6:.3g} MB", outcome.onnx_difference
    console.print(
        f"onnx      {size} · answers {run.task.answer} · largest difference from torch "
        f"{difference:.1g}"
    )
    if latency_ms is not None:
        console.print(f"latency   {latency_ms:.4g} ms ({run.timer.name}), backbone and head")


def _facts(run: TrainingRun) -> dict[str, Any]:
    """What a summary says of network, weights, data and budget."""
    counts, settings = cost(run.arch), run.settings
    published = run.weights.pretrained if run.weights else None
    return {
        "name": run.arch.name,
        "arch": arch_string(run.arch),
        "id": network_id(run.arch),
        "data_fingerprint": run.data.fingerprint,
        "resolution": run.arch.resolution,
        "macs": counts.macs,
        "params": counts.params,
        "classes": list(run.data.classes),
        "mean": run.stats.mean,
        "std": run.stats.std,
        "range": run.data.value_range,
        "weights": settings.weights.name,
        "pretrained": asdict(published) if published else None,
        "data": run.data.name,
        "images": {part: len(getattr(run.data, part)) for part in ("train", "val", "test")},
        "budget": settings.budget.name,
        "seed": settings.seed,
    }


def _write_summary(run: TrainingRun, summary: Mapping[str, Any]) -> None:
    settings = run.settings
    write_json(run.folder / "summary.json", summary)
    where = environment(
        seed=settings.seed,
        device=str(run.device),
        processes=run.share.processes,
        latency=run.timer.describe(),
    )
    write_json(run.folder / "environment.json", where)


def _history_rows(history: History) -> Iterator[dict[str, float]]:
    for number, epoch in enumerate(history.epochs, 1):
        row = {"epoch": number, "loss": epoch.loss, "seconds": epoch.seconds}
        if score := epoch.score:
            row |= {"val_accuracy": score.accuracy, "val_cross_entropy": score.cross_entropy}
        yield row
