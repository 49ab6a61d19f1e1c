"""Masks: LR-ASPP and DeepLabv3, cross-entropy without void pixels, mean intersection over union."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nas.arch.arch import Arch
from nas.arch.dense import PRESETS, Dense
from nas.core.errors import UserError
from nas.core.typed import Among, Count, Range, check_fields
from nas.data.annotated.masks import VOID
from nas.data.dense import DenseData, DenseSplit
from nas.tasks.drawing import PALETTE
from nas.tasks.task import Task, TaskScore, own_head, with_classes
from nas.training.evaluation import divergence

HEADS = ("lraspp", "deeplabv3")
OPAQUE = 0.55  # of the colours on a picture


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation:
    """Masks; its settings are explained in conf/task/segmentation.yaml."""

    head: Annotated[str, Among(HEADS)] | None = None
    width: Count | None = None
    output_stride: Annotated[int, Range(8, 32)] | None = None
    separable: bool | None = None
    name: ClassVar[str] = "segmentation"
    metric: ClassVar[str] = "mIoU"
    answer: ClassVar[str] = "mask (side, side)"

    def __post_init__(self) -> None:
        check_fields(self, "task")
        self.dense()

    def dense(self, own: Dense | None = None) -> Dense:
        """The head as a part of an `Arch`: the network's own if it has one, but for what is set."""
        known = own or PRESETS[self.head or HEADS[0]]
        names = ("width", "output_stride", "separable")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(known, **given)

    def with_head(self, arch: Arch, data: DenseData) -> Arch:
        """The network with a head that gives every pixel a number for each class."""
        dense = self.dense(own_head(arch, HEADS, self.head))
        if self.separable and dense.op != "deeplabv3":
            raise UserError(
                f"task.separable=true is for task.head=deeplabv3, and the head is {dense.op}: "
                "give that head, or task.separable=null"
            )
        return replace(with_classes(arch, data.num_classes, data.resolution), dense=dense)

    def described(self, arch: Arch) -> str:
        """Nothing is chosen."""
        return ""

    def for_network(self, arch: Arch, device: torch.device) -> Task:
        """Itself: there is nothing to know."""
        return self

    def loss(self, answers: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy of the pixels that are not void.

        (B, classes, S, S) and (B, S, S) -> scalar; 0 where all are void.
        """
        total = F.cross_entropy(
            answers, labels, ignore_index=VOID, label_smoothing=smoothing, reduction="sum"
        )
        return total / (labels != VOID).sum().clamp(min=1)

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """Of the pixels' classes, in nats."""
        return divergence(answers, changed)

    def read(self, answers: Tensor) -> list[Tensor]:
        """The class of every pixel (S, S) of each picture."""
        return list(answers.argmax(1).to(torch.uint8))

    def score(self, found: list[Tensor], split: DenseSplit, classes: tuple[str, ...]) -> TaskScore:
        """mIoU and the share of pixels that are right; void pixels count for nothing."""
        each = np.stack([
            confusion(one.numpy(), split.labels[i].numpy(), len(classes))
            for i, one in enumerate(found)
        ])  # (N, classes, classes)  # fmt: skip
        return score_of(each, classes)

    def figure(self, found: list[Tensor], split: DenseSplit, classes: tuple[str, ...]) -> float:
        """mIoU."""
        return self.score(found, split, classes).figures[self.metric]

    def truth(self, split: DenseSplit, number: int) -> Tensor:
        """The mask of that picture."""
        return split.labels[number]

    def answer_of(self, outputs: list[Tensor]) -> Tensor:
        """The mask."""
        return outputs[0][0]

    def likeness(self, ours: Tensor, theirs: Tensor) -> float:
        """The share of equal pixels."""
        return (ours == theirs).double().mean().item()

    def pictures_with(self, split: DenseSplit, number: int) -> int:
        """Pictures with a pixel of the class."""
        return int((split.labels == number).flatten(1).any(1).sum())

    def agreement(self, ours: Tensor, theirs: list[Tensor]) -> float:
        """The share of pixels of which the exported model says the same."""
        return (ours == theirs[0][0]).double().mean().item()

    def drawn(self, image: Image.Image, found: Tensor, classes: tuple[str, ...]) -> Image.Image:
        """The picture under the colours of the classes; void stays as it is."""
        mask = Image.fromarray(found.numpy()).resize(image.size, Image.Resampling.NEAREST)
        numbers = np.asarray(mask)
        colours = np.array(PALETTE, np.uint8)[numbers % len(PALETTE)]
        pixels = np.asarray(image)
        mixed = (1 - OPAQUE) * pixels + OPAQUE * colours
        shown = np.where((numbers == VOID)[..., None], pixels, mixed)
        return Image.fromarray(shown.astype(np.uint8))


def confusion(
    found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], num_classes: int
) -> npt.NDArray[np.int64]:
    """(classes, classes): pixels by what they are (row) and what was said of them (column)."""
    counts = truth != VOID
    pairs = truth[counts].astype(np.int64) * num_classes + found[counts]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def score_of(each: npt.NDArray[np.int64], classes: tuple[str, ...]) -> TaskScore:
    """The score of confusions (N, classes, classes) of pictures.

    Intersection over union of a class is over all pixels of all pictures (Pascal VOC's), the mean
    over the classes that are there, as COCO's mAP (a pixel called one that is not is missed by
    its own); of one picture over those that are in it or were said of it.  NaN without a pixel.
    """
    of_class, pixels = _iou(each.sum(0)), each.sum((0, 2))
    there = of_class[pixels > 0]
    mean = float(there.mean()) if len(there) else math.nan
    right = each.trace(axis1=1, axis2=2).sum() / max(1, pixels.sum())
    figures = {"mIoU": mean, "pixel_accuracy": float(right)}
    of_picture = np.array([np.nanmean(_iou(one)) if one.sum() else 1.0 for one in each])
    table = {"class": classes, "IoU": of_class, "pixels": pixels}
    return TaskScore(figures, pd.DataFrame(table), of_picture)


def _iou(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(classes,): NaN for a class that is neither there nor said."""
    both = np.diag(pairs).astype(float)
    either = pairs.sum(0) + pairs.sum(1) - both
    shares: Any = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return np.asarray(shares)
