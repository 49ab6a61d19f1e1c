"""Accuracy of the members of a family by training each at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import interpolate

from nas.accuracy.scratch import Judgement, scored_at_once
from nas.arch import Arch
from nas.data import Batches, ImageData
from nas.device import resolve_device
from nas.network import build
from nas.scoring import evaluate
from nas.training import Budget, train


@dataclass(frozen=True)
class Resized:
    """Batches whose images are resized to `side` pixels after augmentation.

    Bicubic with antialiasing, which the EfficientNet code resizes with.
    """

    batches: Batches
    side: int

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.batches)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch: images (B, C, side, side), labels (B,)."""
        for images, labels in self.batches.epoch(number):
            if images.shape[-1] != self.side:
                size = (self.side, self.side)
                images = interpolate(images, size, mode="bicubic", antialias=True)  # (B, C, s, s)
            yield images, labels


@dataclass(frozen=True)
class ScaledScratch:
    """Train with the given epochs and seed, then score: `judge(arch, epochs, seed)`.

    Images are kept once, at their own size, and resized to `arch.resolution` batch by batch.
    Networks that get one seed begin from the same weights' seed and see the same order of images.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"

    @classmethod
    def open(cls, load: Callable[[], ImageData], budget: Budget, device: str) -> ScaledScratch:
        """A judge on the data that `load()` gives (for worker processes, which load their own)."""
        return cls(load(), budget, device)

    def __call__(self, arch: Arch, epochs: int, seed: int) -> Judgement:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails."""
        budget, device = replace(self.budget, epochs=epochs), resolve_device(self.device)

        def batches(split: str, training: bool = False) -> Resized:
            size = budget.batch_size if training else scored_at_once(arch.resolution)
            found = Batches(
                getattr(self.data, split), self.data.mean, self.data.std,
                batch_size=size, device=device, seed=seed, flip=self.data.flip,
                augment=training and budget.augment, shuffle=training,
            )  # fmt: skip
            return Resized(found, arch.resolution)

        net = build(arch, seed=seed)
        history = train(net, batches("train", training=True), budget, device=device, seed=seed)
        val, test = (evaluate(net, batches(split), device=device) for split in ("val", "test"))
        return Judgement(val, test, history.seconds, f"{epochs} epochs")
