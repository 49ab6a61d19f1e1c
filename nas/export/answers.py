"""Files that answer boxes or masks: written, opened, compared by the task's own figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pandas as pd
import torch
from onnxruntime.quantization.onnx_model import ONNXModel

from nas.data.dense import DenseData
from nas.export.comparison import Whole
from nas.export.formats.format import Image, Opened, Source
from nas.network.modules import Network
from nas.network.sessions import open_session
from nas.stats.jackknife import Floats, jackknife_error, left_out
from nas.tasks.onnx_answers import with_answers
from nas.tasks.task import Task

TWO_SIDED = 1.96  # standard errors of a 95 % interval
Found = list[Any]  # what a task reads of each picture


def answering(model: bytes, task: Task) -> bytes:
    """The ONNX model with the task's answers in the place of logits."""
    sorted_model = ONNXModel(onnx.load_from_string(model))
    sorted_model.topological_sort()  # which a quantiser's nodes are not
    return with_answers(sorted_model.model.SerializeToString(), task)


def open_answers(path: Path, source: Source, threads: int) -> Opened:
    """The file in ONNX Runtime; `run` gives its outputs, suppression of boxes included."""
    session = open_session(path.read_bytes(), threads)
    return Opened(np.ascontiguousarray, lambda image: session.run(None, {"image": image}))


def found_by_network(net: Network, task: Task, images: Iterator[Image]) -> Found:
    """What the network in torch answers to each picture."""
    found: Found = []
    with torch.inference_mode():
        for batch in images:
            found += task.read(net(torch.from_numpy(batch)))
    return found


def found_by_file(
    opened: Opened, task: Task, images: Iterator[Image], progress: Callable[[int], None]
) -> Found:
    """What the file answers to each picture, one by one."""
    found: Found = []
    for done, image in enumerate((image for batch in images for image in batch), 1):
        outputs = opened.run(opened.prepare(image[None]))
        found.append(task.answer_of([torch.from_numpy(np.array(x)) for x in outputs]))
        progress(done)
    return found


class Figures(NamedTuple):
    """The task's figure of answers, and what it is without each tenth of the pictures."""

    value: float
    parts: Floats


def figures_of(found: Found, task: Task, data: DenseData) -> Figures:
    """Of answers to the test pictures."""

    def figure(rows: Sequence[int]) -> float:
        return task.figure([found[i] for i in rows], data.test.of(rows), data.classes)

    return Figures(figure(range(len(found))), left_out(figure, len(found)))


def compare_found(
    theirs: Found, ours: Found, own: Figures, task: Task, data: DenseData
) -> dict[str, Any]:
    """As `nas.export.comparison.Comparison`, of answers; there are no logits to compare.

    agreement   the mean share of a picture's answer on which both agree.
    """
    figures = figures_of(theirs, task, data)
    alike = [task.likeness(a, b) for a, b in zip(ours, theirs, strict=True)]
    return {
        "largest_difference": None,
        "relative_difference": None,
        "agreement": float(np.mean(alike)),
        "accuracy": figures.value,
        "accuracy_se": jackknife_error(figures.parts),
        "gain": figures.value - own.value,
        "gain_se": jackknife_error(figures.parts - own.parts),
    }


def whole_of(ours: Found, own: Figures, task: Task, data: DenseData) -> Whole:
    """How good the answers are; by class test pictures that have it and the figure, no interval."""
    by_class = task.score(ours, data.test, data.classes).by_class
    images = [task.pictures_with(data.test, number) for number in range(data.num_classes)]
    table = pd.DataFrame({"class": data.classes, "images": images, "accuracy": by_class.iloc[:, 1]})
    spread = TWO_SIDED * jackknife_error(own.parts)
    ends = max(0.0, own.value - spread), min(1.0, own.value + spread)
    return Whole(own.value, ends, table.assign(low=np.nan, high=np.nan))
