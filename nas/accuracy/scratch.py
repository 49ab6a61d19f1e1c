"""Accuracy by training each network from scratch, all alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.arch import Arch
from nas.data import Batches, ImageData
from nas.network import build
from nas.training import Budget, Score, evaluate, resolve_device, train


@dataclass(frozen=True)
class Judgement:
    """What a network scored after its training.

    `val` is what a search may look at; `test` is on images that no decision ever sees.
    """

    val: Score
    test: Score
    seconds: float
    fidelity: str

    @property
    def value(self) -> float:
        """The accuracy on the validation images."""
        return self.val.accuracy

    @property
    def standard_error(self) -> float:
        """Of the value, over the images."""
        return self.val.accuracy_se


@dataclass(frozen=True)
class Scratch:
    """Train with one budget and one seed for every network, then score: `judge(arch)`.

    Weights, order of images and augmentation begin from the same seed, so that two networks
    differ by what they are and not by their luck with the batches.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"
    seed: int = 0

    @classmethod
    def open(cls, load: Callable[[], ImageData], budget: Budget, device: str, seed: int) -> Scratch:
        """A judge on the data that `load()` gives (for worker processes, which load their own)."""
        return cls(load(), budget, device, seed)

    def __call__(self, arch: Arch) -> Judgement:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails."""
        device = resolve_device(self.device)
        net = build(arch, seed=self.seed)
        batches = self._batches("train", augment=self.budget.augment, shuffle=True)
        history = train(net, batches, self.budget, device=device, seed=self.seed)
        val, test = (
            evaluate(net, self._batches(split), device=device) for split in ("val", "test")
        )
        return Judgement(val, test, history.seconds, f"{self.budget.epochs} epochs")

    def _batches(self, split: str, augment: bool = False, shuffle: bool = False) -> Batches:
        return Batches(
            getattr(self.data, split),
            self.data.mean,
            self.data.std,
            batch_size=self.budget.batch_size if shuffle else self._scored_at_once(),
            device=resolve_device(self.device),
            augment=augment,
            shuffle=shuffle,
            flip=self.data.flip,
            seed=self.seed,
        )

    def _scored_at_once(self) -> int:
        """500 small images, fewer large ones: MobileNetV2 needs about 12 MB for each at 224."""
        return max(16, min(500, 400_000 // self.data.resolution**2))
