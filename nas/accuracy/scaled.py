"""Accuracy of the members of a family by training each at its own resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from nas.accuracy.scratch import Judgement
from nas.accuracy.worker_pool import part_done
from nas.arch.arch import Arch
from nas.data.batches import batches_for
from nas.data.dataset import ImageData
from nas.network.device import resolve_device
from nas.network.modules import build
from nas.training.evaluation import evaluate
from nas.training.loop import Budget, train


@dataclass(frozen=True)
class ScaledScratch:
    """Train with the given epochs and seed, then score: `judge(arch, epochs, seed)`.

    Images are kept once, at their own size, and resized to `arch.resolution` batch by batch.
    Networks that get one seed begin from the same weights' seed and see the same order of images.
    Without `test` they are scored on the validation images only.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"
    test: bool = True

    @classmethod
    def open(
        cls, load: Callable[[], ImageData], budget: Budget, device: str, test: bool = True
    ) -> ScaledScratch:
        """A judge on the data that `load()` gives (for worker processes, which load their own)."""
        return cls(load(), budget, device, test)

    def __call__(self, arch: Arch, epochs: int, seed: int) -> Judgement:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails."""
        budget, device = replace(self.budget, epochs=epochs), resolve_device(self.device)

        batches = partial(batches_for, self.data, side=arch.resolution, device=device, seed=seed)
        net = build(arch, seed=seed)
        training = batches("train", batch_size=budget.batch_size, augment=budget.augment)
        history = train(net, training, budget, device=device, seed=seed, progress=part_done)
        val = evaluate(net, batches("val"), device=device)
        test = evaluate(net, batches("test"), device=device) if self.test else None
        return Judgement(val, test, history.seconds, f"{epochs} epochs")
