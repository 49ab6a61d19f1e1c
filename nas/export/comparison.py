"""How a file's answers, accuracy and latency compare with those of the network it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nas.export.formats.format import Image, Opened, Source
from nas.export.formats.onnx import rounded_to_bytes
from nas.export.setup import ExportRun
from nas.latency.timing import Timing, measure
from nas.network.modules import Network
from nas.stats.correlation import share_error, share_interval
from nas.training.evaluation import paired_difference

REL_CI, MAX_SECONDS = 0.01, 1.0  # of timings: finer than a table's, as there are few


Images = Iterator[Image]  # a batch at a time, each (B, C, side, side), normalised


@dataclass(frozen=True)
class Whole:
    """The network in float32 on the test images: accuracy, its 95 % interval, a row a class."""

    accuracy: float
    interval: tuple[float, float]
    by_class: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """Of a file with the float32 network in torch, on the test images.

    largest_difference   of logits; relative_difference: in parts of the largest logit, or of 1.
    agreement            part of the images to which both give the same class.
    accuracy             and its standard error over images, as fractions.
    gain, gain_se        accuracy above the network's on the same images, with its error.
    """

    largest_difference: float
    relative_difference: float
    agreement: float
    accuracy: float
    accuracy_se: float
    gain: float
    gain_se: float


def calibration_images(run: ExportRun) -> Image:
    """Training images (N, C, side, side), normalised, drawn from the run's seed."""
    number = min(run.settings.calibration, len(run.data.train))
    images, _ = next(iter(run.batches("train", batch_size=number).epoch(0)))
    return np.asarray(images.numpy())


def test_images(run: ExportRun, source: Source) -> Images:
    """All test images in their order; of pictures in bytes where files take those."""
    for batch, _ in run.batches("test").epoch(0):
        images = np.asarray(batch.numpy())
        yield rounded_to_bytes(images, source) if source.preprocess else images


def answers_of_network(net: Network, images: Images) -> NDArray[np.float32]:
    """Logits (N, classes) in torch."""
    with torch.inference_mode():
        return np.concatenate([net(torch.from_numpy(batch)).numpy() for batch in images])


def answers_of_file(
    opened: Opened, images: Images, progress: Callable[[int], None]
) -> NDArray[np.float32]:
    """Logits (N, classes) in the file's runtime, image by image."""
    found = []
    for done, image in enumerate((image for batch in images for image in batch), 1):
        found.append(opened.run(opened.prepare(image[None])))
        progress(done)
    return np.array(found, np.float32)


def compare(
    theirs: NDArray[np.float32], ours: NDArray[np.float32], labels: NDArray[np.int64]
) -> Comparison:
    """The logits of a file, (N, classes), with those of the network."""
    right = theirs.argmax(1) == labels
    gain, gain_se = paired_difference(
        torch.from_numpy(right), torch.from_numpy(ours.argmax(1) == labels)
    )
    accuracy, difference = float(right.mean()), float(np.abs(theirs - ours).max())
    return Comparison(
        largest_difference=difference,
        relative_difference=difference / max(1.0, float(np.abs(ours).max())),
        agreement=float((theirs.argmax(1) == ours.argmax(1)).mean()),
        accuracy=accuracy,
        accuracy_se=share_error(accuracy, len(labels)),
        gain=gain,
        gain_se=gain_se,
    )


def time_together(files: Mapping[str, Opened], image: Image) -> dict[str, Timing]:
    """Milliseconds of one call of each file, all in the same rounds and in random order."""

    def call(opened: Opened) -> Callable[[], object]:
        given = opened.prepare(image)
        return lambda: opened.run(given)

    calls = {name: call(opened) for name, opened in files.items()}
    return measure(calls, rel_ci=REL_CI, max_seconds=MAX_SECONDS)


def class_table(
    classes: Sequence[str], right: NDArray[np.bool_], labels: NDArray[np.int64]
) -> pd.DataFrame:
    """A row a class: test images, accuracy in float32, its 95 % interval."""
    rows = []
    for number, name in enumerate(classes):
        own = right[labels == number]
        row: dict[str, Any] = {"class": name, "images": len(own)}
        if len(own):
            known = share_interval(float(own.mean()), len(own))
            row |= {"accuracy": known.value, "low": known.low, "high": known.high}
        rows.append(row)
    return pd.DataFrame(rows, columns=["class", "images", "accuracy", "low", "high"])
