"""What the steps of inheriting do with images, of classes and with boxes or masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from nas.accuracy.quantized import CALIBRATION, ImageLosses, answers_in_int8
from nas.arch.arch import Arch
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ImageData, Split
from nas.data.dense import DenseData
from nas.data.dense_batches import DenseBatches
from nas.inheritance.replacements import PIXELS
from nas.network.modules import Network
from nas.stats.jackknife import Floats, jackknife_error, left_out
from nas.tasks.start import load_backbone, new_norms, start_head
from nas.tasks.task import Task, answers_of
from nas.training.evaluation import Loader, Score, divergence, image_losses, scored
from nas.training.first_weights import FirstWeights
from nas.training.loop import Loss, cross_entropy
from nas.training.ridge import start_classifier


class Judgement(NamedTuple):
    """What is said of a network; `kept` by name, to compare it with others on the test images."""

    value: float  # higher is better
    error: float
    val: Score
    test: Score
    kept: Mapping[str, Tensor]
    float_val: Score | None = None


class ImageTask(Protocol):
    """Classes, or boxes or masks.

    pixels   of a picture's map that a least squares problem sees; pictures are as many fewer.
    """

    @property
    def pixels(self) -> int:
        """As above."""

    def batches(
        self, split: str, side: int, weights: FirstWeights, number: int | None = None, **more: Any
    ) -> Loader:
        """Of a split, or of `number` images of it, always the same, normalised for `weights`."""

    def begin(self, net: Network, arch: Arch, weights: FirstWeights) -> None:
        """First weights, in place, and a start for what answers."""

    def loss(self, arch: Arch) -> Loss:
        """What training lowers."""

    def unfrozen(self, net: Network) -> Collection[nn.Module]:
        """Norms that no first weights bring."""

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """How far changed answers are from a network's own."""

    def judge(
        self, net: Network, arch: Arch, weights: FirstWeights, tested: int | None = None
    ) -> Judgement:
        """How good the network is, on all test images or so many of them."""


@dataclass(frozen=True)
class Classes:
    """Classes of images: minus the cross-entropy, in float32 or in 8 bits."""

    data: ImageData
    device: torch.device
    seed: int
    precision: str = "float32"
    pixels: int = PIXELS

    def batches(
        self, split: str, side: int, weights: FirstWeights, number: int | None = None, **more: Any
    ) -> Resized:
        """As `ImageTask.batches`."""
        images: Split = getattr(self.data, split)
        stats = weights.stats(self.data)
        return batches_for(
            self.data,
            images if number is None else some_of(images, number),
            side,
            mean=stats.mean,
            std=stats.std,
            device=self.device,
            seed=self.seed,
            **more,
        )

    def begin(self, net: Network, arch: Arch, weights: FirstWeights) -> None:
        """First weights; a new classifier by ridge regression."""
        _, anew = weights.load_into(net)
        if anew:
            images = self.batches("train", arch.resolution, weights)
            start_classifier(net, images, device=self.device)

    def loss(self, arch: Arch) -> Loss:
        """Cross-entropy."""
        return cross_entropy

    def unfrozen(self, net: Network) -> Collection[nn.Module]:
        """None: classifiers have no norms."""
        return ()

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """Kullback-Leibler's, in nats."""
        return divergence(answers, changed)

    def judge(
        self, net: Network, arch: Arch, weights: FirstWeights, tested: int | None = None
    ) -> Judgement:
        """Minus the cross-entropy of validation images; which test images it gets right."""
        side, float_val = arch.resolution, None
        val = self.batches("val", side, weights)
        test = self.batches("test", side, weights, tested)
        answers: ImageLosses = partial(image_losses, net, device=self.device)
        if self.precision == "int8":
            float_val = scored(*answers(val))
            calibration = self.batches("train", side, weights, batch_size=CALIBRATION)
            answers = answers_in_int8(net, arch, calibration)
        of_val, found = scored(*answers(val)), answers(test)
        value, error = -of_val.cross_entropy, of_val.cross_entropy_se
        kept = {"test_correct": found[1]}
        return Judgement(value, error, of_val, scored(*found), kept, float_val)


@dataclass(frozen=True, eq=False)
class BoxesOrMasks:
    """Boxes or masks: mean average precision, or intersection over union.

    load   gives the pictures squeezed to a `resolution`;  loaded: those that it gave.
    """

    task: Task
    load: Callable[..., DenseData]
    device: torch.device
    seed: int
    loaded: dict[int, DenseData] = field(default_factory=dict)
    pixels: int = 4 * PIXELS  # pictures and maps are large

    def pictures(self, side: int) -> DenseData:
        """Squeezed to that side."""
        if side not in self.loaded:
            self.loaded[side] = self.load(resolution=side)
        return self.loaded[side]

    def batches(
        self, split: str, side: int, weights: FirstWeights, number: int | None = None, **more: Any
    ) -> DenseBatches:
        """As `ImageTask.batches`."""
        data = self.pictures(side)
        images, stats = getattr(data, split), weights.stats(data)
        if number is not None and number < len(images):
            images = images.of(np.linspace(0, len(images) - 1, number).round().astype(int).tolist())
        more |= {"device": self.device, "flip": data.flip, "seed": self.seed}
        return DenseBatches(images, stats.mean, stats.std, **more)

    def begin(self, net: Network, arch: Arch, weights: FirstWeights) -> None:
        """First weights of the backbone; small ones of the head's last layers."""
        start_head(net)
        load_backbone(weights, net, arch, self.seed)

    def loss(self, arch: Arch) -> Loss:
        """The task's."""
        return self.task.for_network(arch, self.device).loss

    def unfrozen(self, net: Network) -> Collection[nn.Module]:
        """The head's."""
        return new_norms(net)

    def divergence(self, answers: Tensor, changed: Tensor) -> float:
        """The task's."""
        return self.task.divergence(answers, changed)

    def judge(
        self, net: Network, arch: Arch, weights: FirstWeights, tested: int | None = None
    ) -> Judgement:
        """The task's first figure, and what it is without each tenth of the test pictures."""
        task, side = self.task.for_network(arch, self.device), arch.resolution
        classes = self.pictures(side).classes

        def scored_on(batches: DenseBatches) -> tuple[Score, Floats]:
            split, found = batches.split, answers_of(task, net, batches, self.device)

            def figure(rows: Sequence[int]) -> float:
                return task.figure([found[i] for i in rows], split.of(rows), classes)

            whole, parts = figure(range(len(split))), left_out(figure, len(split))
            nothing = float("nan")
            return Score(whole, jackknife_error(parts), nothing, nothing, len(split)), parts

        val, _ = scored_on(self.batches("val", side, weights))
        test, parts = scored_on(self.batches("test", side, weights, tested))
        kept = {"test_left_out": torch.from_numpy(parts)}
        return Judgement(val.accuracy, val.accuracy_se, val, test, kept)


def some_of(split: Split, number: int) -> Split:
    """At most `number` images of a split, always the same."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:number]
    return Split(split.images[order], split.labels[order])
