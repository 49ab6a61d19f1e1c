"""What every task is: a head, a loss, a metric, answers and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.dense import Dense
from nas.core.errors import UserError
from nas.data.dense import DenseData, DenseSplit
from nas.network.device import layout, to_device
from nas.training.evaluation import Loader, name_failures


class TaskScore(NamedTuple):
    """How good answers are on a split.

    figures    by name, the task's own metric first, as fractions.
    by_class   one row a class.
    of_picture (N,): how good the answer is on each picture, to find the best and the worst.
    """

    figures: dict[str, float]
    by_class: pd.DataFrame
    of_picture: npt.NDArray[np.float64]


class Task(Protocol):
    """Boxes or masks; its fields are settings."""

    name: ClassVar[str]
    metric: ClassVar[str]  # by what answers are judged
    answer: ClassVar[str]  # what the exported model answers, in words

    def with_head(self, arch: Arch, data: DenseData) -> Arch:
        """The network with the task's head in the place of its classifier."""

    def loss(self, answers: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """What training lowers: a mean over the batch."""

    def described(self, arch: Arch) -> str:
        """What was chosen for these data, in words; "" for nothing."""

    def for_network(self, arch: Arch, device: torch.device) -> Task:
        """The task with what it has to know of a network."""

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """How far changed answers to a batch are from a network's own, at least 0."""

    def read(self, answers: Tensor) -> list[Any]:
        """What a batch of answers says of each picture."""

    def score(self, found: list[Any], split: DenseSplit, classes: tuple[str, ...]) -> TaskScore:
        """How good that is."""

    def figure(self, found: list[Any], split: DenseSplit, classes: tuple[str, ...]) -> float:
        """The task's own metric alone, the first of the score's figures."""

    def drawn(self, image: Image.Image, found: Any, classes: tuple[str, ...]) -> Image.Image:
        """A picture with what was found on it."""

    def truth(self, split: DenseSplit, number: int) -> Any:
        """What `drawn` is to show of picture `number` of a split."""

    def answer_of(self, outputs: list[Tensor]) -> Any:
        """What `read` makes of logits, from the outputs of the exported model."""

    def likeness(self, ours: Any, theirs: Any) -> float:
        """The share on which two answers to one picture agree."""

    def pictures_with(self, split: DenseSplit, number: int) -> int:
        """How many pictures have the class of that number."""

    def agreement(self, ours: Any, theirs: list[Tensor]) -> float:
        """The share of an answer that the outputs of the exported model have too."""


def answers_of(
    task: Task,
    net: nn.Module,
    batches: Loader,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> list[Any]:
    """What the network says of each picture of epoch 0; it is left in evaluation mode."""
    to_device(net, device).eval()
    found: list[Any] = []
    with name_failures("scoring"), torch.inference_mode():
        for done, (images, _) in enumerate(batches.epoch(0), 1):
            answers = net(images.contiguous(memory_format=layout(device)))
            found += task.read(answers.float().cpu())
            if progress is not None:
                progress(done)
    return found


def as_picture(split: DenseSplit, number: int, longest: int = 360) -> Image.Image:
    """A picture of a split in its own shape, its longer side `longest` pixels."""
    image = Image.fromarray(split.images[number].permute(1, 2, 0).numpy())
    width, height = split.sizes[number]
    scale = longest / max(width, height)
    return image.resize((max(1, round(width * scale)), max(1, round(height * scale))))


def own_head(arch: Arch, heads: Sequence[str], asked: str | None) -> Dense | None:
    """The head that a network brings; UserError where it is not the one asked for, or no such."""
    wanted = [asked] if asked else heads
    if arch.dense and arch.dense.op not in wanted:
        raise UserError(
            f"arch={arch.name} has the head {arch.dense.op}, and {' or '.join(wanted)} is asked "
            "for: give arch= a backbone alone, such as mobilenet_v3_large, or another task="
        )
    return arch.dense


def with_classes(arch: Arch, classes: int, resolution: int) -> Arch:
    """The network for so many numbers an anchor or a pixel, of colour pictures."""
    return replace(arch, classes=classes, channels=3, resolution=resolution)
