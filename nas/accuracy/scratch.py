"""Accuracy by training each network from scratch, all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from nas.accuracy.estimate import Estimate
from nas.accuracy.judge import Estimates, Judge, JudgeContext, JudgeSettings, Load, Thresholds
from nas.accuracy.pool import part_done
from nas.accuracy.quantized import CALIBRATION, ImageLosses, answers_in_int8
from nas.arch.arch import Arch
from nas.core.typed import check_fields
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ImageData
from nas.network.device import resolve_device
from nas.network.modules import Network, build
from nas.training.evaluation import Score, evaluate, image_losses, packed, scored
from nas.training.loop import Budget, train


@dataclass(frozen=True)
class Scratch:
    """Train with one budget and one seed for every network, then score it: `scratch(arch)`.

    Images are resized to `arch.resolution`; without `test` the test images are left alone.
    `precision` int8: scores are those of the network in 8 bits.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"
    seed: int = 0
    test: bool = True
    precision: str = "float32"

    @classmethod
    def open(
        cls,
        load: Load,
        budget: Budget,
        device: str,
        seed: int = 0,
        test: bool = True,
        precision: str = "float32",
    ) -> Scratch:
        """For processes that load their own data."""
        return cls(load(), budget, device, seed, test, precision)

    def __call__(
        self,
        arch: Arch,
        thresholds: Thresholds = MappingProxyType({}),
        epochs: int | None = None,
        seed: int | None = None,
    ) -> Estimate:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails.

        The value is minus the cross-entropy on the validation images, in nats;
        benchmarks/judges.py tells how far two seeds agree by it and by accuracy.  `epochs` and
        `seed` take the place of those of all.
        """
        budget = replace(self.budget, epochs=self.budget.epochs if epochs is None else epochs)
        seed, device = self.seed if seed is None else seed, resolve_device(self.device)
        batches = partial(batches_for, self.data, side=arch.resolution, device=device, seed=seed)
        net, scores = build(arch, seed=seed), dict[int, Score]()

        def stop(done: int) -> bool:
            if done not in thresholds:
                return False
            scores[done] = evaluate(net, batches("val"), device=device)
            return -scores[done].cross_entropy < thresholds[done]

        loader = batches("train", batch_size=budget.batch_size, augment=budget.augment)
        history = train(
            net, loader, budget, device=device, seed=seed, stop=stop, progress=part_done
        )
        rungs = {done: -score.cross_entropy for done, score in scores.items()}
        if (done := len(history.epochs)) < budget.epochs:
            value, error = rungs[done], scores[done].cross_entropy_se
            fidelity, missed = f"{done} of {budget.epochs} epochs", thresholds[done]
            return Estimate(value, error, history.seconds, fidelity, rungs=rungs, threshold=missed)
        found = self._judged(net, arch, batches)
        fidelity = f"{budget.epochs} epochs"
        return replace(found, seconds=history.seconds, fidelity=fidelity, rungs=rungs)

    def _judged(self, net: Network, arch: Arch, batches: Callable[..., Resized]) -> Estimate:
        """The trained network's scores on validation and test images."""
        device = resolve_device(self.device)
        answers: ImageLosses = partial(image_losses, net, device=device)
        float_val = None
        if self.precision == "int8":
            float_val = scored(*answers(batches("val")))
            answers = answers_in_int8(net, arch, batches("train", batch_size=CALIBRATION))
        val = scored(*answers(batches("val")))
        test, correct = None, ""
        if self.test:
            losses, right = answers(batches("test"))
            test, correct = scored(losses, right), packed(right)
        value, error = -val.cross_entropy, val.cross_entropy_se
        return Estimate(value, error, 0.0, "", val, test, float_val=float_val, test_correct=correct)


@dataclass(frozen=True)
class ScratchSettings(JudgeSettings):
    """With `prune`, a training stops where it is too unlikely to reach the front."""

    prune: bool = True
    trains_each = True

    def __post_init__(self) -> None:
        check_fields(self, "accuracy")

    def open(self, context: JudgeContext) -> Judge:
        """`context.train`, whose trainings run to their end without `prune`."""
        assert context.train is not None
        return context.train if self.prune else _Unpruned(context.train)


@dataclass(frozen=True)
class _Unpruned:
    judge: Judge

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        return self.judge.estimate(archs)
