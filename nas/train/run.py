"""One network, trained to the end, scored and exported."""

from __future__ import annotations

import io
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from rich.console import Console

from nas.arch.cost import describe_network
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.core.files import write_bytes, write_text
from nas.core.progress import ProgressBar, open_console
from nas.network.device import resolve_device
from nas.network.export import export_onnx, largest_difference
from nas.network.modules import Network, build
from nas.train.dense import train_task
from nas.train.report import (
    Outcome,
    print_outcome,
    print_task_outcome,
    write_results,
    write_task_results,
)
from nas.train.settings import TrainSettings
from nas.train.setup import TrainingRun, open_run
from nas.train.training import train_net
from nas.training.evaluation import Score, TrainingFailed, image_losses, scored
from nas.training.loop import History
from nas.training.processes import first_goes_first, joined
from nas.training.ridge import start_classifier

CHECKED = 64  # images on which the ONNX model must answer as the network does


def train(settings: TrainSettings) -> dict[str, Any]:
    """Train what `settings` name into results/train/<run>/; returns what summary.json holds.

    Of processes that torchrun started the first writes and exports; the others return {}.
    """
    console = open_console()
    try:
        with ExitStack() as stack:
            with joined(resolve_device(settings.device)):
                run = stack.enter_context(open_run(settings))
                if run.task:
                    return train_dense(run, console)
                trained = train_and_score(run, console)
            if run.share.rank:
                return {}
            outcome = export_and_measure(run, trained, console)
            summary = write_results(run, outcome)
    except KeyboardInterrupt:
        console.print("stopped   whole epochs are kept; the same command goes on")
        raise
    print_outcome(console, run.timer.name, outcome)
    files = "model.onnx weights.pt network.yaml summary.json ..."
    console.print(f"wrote     {run.folder}/: {files}")
    return summary


class Trained(NamedTuple):
    """A network at its training's end; its scores by split, and by class as in classes.csv."""

    net: Network
    history: History
    scores: dict[str, Score]
    by_class: pd.DataFrame


def train_and_score(run: TrainingRun, console: Console) -> Trained:
    """Train and score the network, with progress."""
    console.print(f"network   {describe_network(run.arch, run.origin)}")
    console.print(f"data      {run.data.described()}")
    if run.share.processes > 1:
        console.print(f"processes {run.share.processes}, which share every batch")
    net = build(run.arch, run.settings.seed)
    if run.weights and not run.checkpoint.exists():
        load_first_weights(run, net, console)
    try:
        history = train_net(run, net, console)
        scores, by_class = score(run, net, console)
    except TrainingFailed as error:
        raise UserError(f"{run.arch.name} cannot be trained like this: {error}") from None
    return Trained(net, history, scores, by_class)


def export_and_measure(run: TrainingRun, trained: Trained, console: Console) -> Outcome:
    """Write the network, and time it unless that is not wanted."""
    num_bytes, difference = export(run, trained.net)
    latency_ms = measure_latency(run, console) if run.settings.measure else None
    _, history, scores, by_class = trained
    return Outcome(history, scores, by_class, latency_ms, num_bytes, difference)


def load_first_weights(run: TrainingRun, net: Network, console: Console) -> None:
    """Put the asked-for weights into `net`; print whose they are and what begins anew.

    A classifier that the file has not begins at the ridge regression on the training images.
    """
    assert run.weights
    with first_goes_first():
        origin, anew = run.weights.load_into(net)
    console.print(f"weights   {origin}" + (f" · anew: {', '.join(anew)}" if anew else ""))
    console.print(f"colours   mean and spread {run.stats.origin}")
    if anew:
        start = start_classifier(net, run.batches("train"), device=run.device)
        console.print(
            f"start     the classifier by ridge regression: {start.accuracy:.1%} of the training "
            "images, each left out in turn"
        )


def train_dense(run: TrainingRun, console: Console) -> dict[str, Any]:
    """Train a network for boxes or masks, write it and its answers, and time it."""
    outcome = train_task(run, console)
    latency_ms = measure_latency(run, console) if run.settings.measure else None
    summary = write_task_results(run, outcome, latency_ms)
    print_task_outcome(console, run, outcome, latency_ms)
    files = "predictions.png model.onnx weights.pt network.yaml summary.json ..."
    console.print(f"wrote     {run.folder}/: {files}")
    return summary


def score(
    run: TrainingRun, net: Network, console: Console
) -> tuple[dict[str, Score], pd.DataFrame]:
    """Scores on the validation and test images, and accuracies by class: a row for each."""
    scores, by_class = {}, pd.DataFrame({"class": run.data.classes})
    for split in ("val", "test"):
        batches = run.batches(split)
        with ProgressBar(console, "score", len(batches)) as bar:
            on_batch = partial(bar, say=f"batches of the {split} images")
            losses, correct = image_losses(net, batches, device=run.device, progress=on_batch)
        scores[split] = scored(losses, correct)
        labels = getattr(run.data, split).labels.numpy()
        right = pd.Series(correct.numpy()).groupby(labels)
        by_class[f"{split}_images"], by_class[f"{split}_accuracy"] = right.size(), right.mean()
    return scores, by_class


def export(run: TrainingRun, net: Network) -> tuple[int, float]:
    """Write weights and ONNX model; returns its size in bytes, and how far its logits are off."""
    net.to("cpu").eval()
    weights = io.BytesIO()
    torch.save(net.state_dict(), weights)
    data, stats = run.data, run.stats
    model = export_onnx(net, run.arch, data.classes, stats.mean, stats.std, data.value_range)
    images = next(iter(run.batches("test").epoch(0)))[0][:CHECKED].cpu()
    difference = largest_difference(model, net, images)
    write_bytes(run.folder / "weights.pt", weights.getvalue())
    write_bytes(run.folder / "model.onnx", model)
    write_text(run.folder / "network.yaml", dumps(run.arch))
    return len(model), difference


def measure_latency(run: TrainingRun, console: Console) -> float | None:
    """Milliseconds of the network; None, with the reason printed, where it cannot be timed."""
    try:
        return run.timer.measure(run.arch).median_ms
    except UserError as error:
        console.print(f"latency   none: {error}")
        return None
