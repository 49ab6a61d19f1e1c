"""One network for boxes or masks, trained to the end: scored, drawn and exported."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import nn

from nas.arch.cost import describe_network
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.core.files import write_bytes, write_text
from nas.core.progress import ProgressBar
from nas.data.dense import DenseData, DenseSplit
from nas.network.export import export_onnx, largest_difference
from nas.network.modules import Network, build
from nas.network.sessions import open_session
from nas.tasks.drawing import best_and_worst
from nas.tasks.onnx_answers import with_answers
from nas.tasks.start import load_backbone, new_norms, start_head
from nas.tasks.task import Task, TaskScore, answers_of, as_picture
from nas.train.setup import TrainingRun
from nas.train.training import train_net
from nas.training.evaluation import TrainingFailed
from nas.training.loop import History

CHECKED = 16  # pictures on which the ONNX model must answer as the network does
DRAWN = 4  # worst and best pictures
ALIKE = 0.99  # of boxes or pixels: float32 in another order decides a few the other way


class TaskOutcome(NamedTuple):
    """What a training came to: scores by split, the model's size and how far its logits are off."""

    history: History
    scores: dict[str, TaskScore]
    onnx_bytes: int
    onnx_difference: float


def train_task(run: TrainingRun, console: Console) -> TaskOutcome:
    """Train, score on validation and test pictures, draw, write model and weights."""
    task, data = run.task, run.data
    assert task is not None
    assert isinstance(data, DenseData)
    console.print(f"network   {describe_network(run.arch, run.origin)}")
    console.print(f"data      {data.described()}")
    if words := task.described(run.arch):
        console.print(f"anchors   {words}")
    net = build(run.arch, run.settings.seed)
    start_head(net)
    if run.weights and not run.checkpoint.exists():
        origin = load_backbone(run.weights, net, run.arch, run.settings.seed)
        console.print(f"weights   {origin}")
        console.print(f"colours   mean and spread {run.stats.origin}")
    task = task.for_network(run.arch, run.device)
    try:
        history = train_net(run, net, console, loss=task.loss, unfrozen=new_norms(net))
        found = {split: _found(run, task, net, split, console) for split in ("val", "test")}
    except TrainingFailed as error:
        raise UserError(f"{run.arch.name} cannot be trained like this: {error}") from None
    scores = {
        split: task.score(answers, getattr(data, split), data.classes)
        for split, answers in found.items()
    }
    draw(run, task, data.test, found["test"], scores["test"])
    return TaskOutcome(history, scores, *export(run, task, net))


def _found(run: TrainingRun, task: Task, net: nn.Module, split: str, console: Console) -> list[Any]:
    batches = run.batches(split)
    with ProgressBar(console, "score", len(batches)) as bar:
        on_batch = partial(bar, say=f"batches of the {split} pictures")
        return answers_of(task, net, batches, run.device, on_batch)


def draw(
    run: TrainingRun, task: Task, split: DenseSplit, found: Sequence[Any], score: TaskScore
) -> None:
    """Write predictions.png: the worst and the best test pictures, wanted beside answered."""

    def one(number: int, what: Any) -> Any:
        wanted = task.truth(split, number) if what is None else what
        return task.drawn(as_picture(split, number), wanted, run.data.classes)

    sheet = best_and_worst(one, split, found, score.of_picture.tolist(), DRAWN, run.data.classes)
    png = io.BytesIO()
    sheet.save(png, "PNG", optimize=True)
    write_bytes(run.folder / "predictions.png", png.getvalue())


def export(run: TrainingRun, task: Task, net: Network) -> tuple[int, float]:
    """Write weights and the model that answers boxes or a mask; returns its size in bytes, and how
    far the logits inside are off.  Raises RuntimeError where it does not answer as torch does.
    """
    net.to("cpu").eval()
    task = task.for_network(run.arch, torch.device("cpu"))
    weights = io.BytesIO()
    torch.save(net.state_dict(), weights)
    stats = run.stats
    plain = export_onnx(
        net, run.arch, run.data.classes, stats.mean, stats.std, run.data.value_range, squeezed=True
    )
    images = next(iter(run.batches("test").epoch(0)))[0][:CHECKED].cpu()
    difference = largest_difference(plain, net, images)
    model = with_answers(plain, task)
    check_answers(model, task, net, images)
    write_bytes(run.folder / "weights.pt", weights.getvalue())
    write_bytes(run.folder / "model.onnx", model)
    write_text(run.folder / "network.yaml", dumps(run.arch))
    return len(model), difference


def check_answers(model: bytes, task: Task, net: Network, images: torch.Tensor) -> None:
    """RuntimeError where the exported model answers other boxes or masks than torch."""
    session = open_session(model)
    with torch.inference_mode():
        ours = task.read(net(images))
    same = []
    for image, own in zip(images, ours, strict=True):
        theirs = session.run(None, {"image": image[None].numpy()})
        same.append(task.agreement(own, [torch.from_numpy(np.array(x)) for x in theirs]))
    if not np.mean(same) >= ALIKE:
        raise RuntimeError(f"the exported model answers alike on {np.mean(same):.1%} alone")
