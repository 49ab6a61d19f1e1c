"""Accuracy by training each network from scratch, all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nas.accuracy.answer import Stopped
from nas.accuracy.worker_pool import part_done
from nas.arch.arch import Arch
from nas.core.checks import check_bool
from nas.data.batches import scored_at_once
from nas.data.dataset import Batches, ImageData
from nas.network.device import resolve_device
from nas.network.modules import build
from nas.training.evaluation import Score, evaluate
from nas.training.loop import Budget, train


@dataclass(frozen=True)
class Judgement:
    """What a network scored after its training.

    `val` is what a search may look at; `test` is on images that no decision ever sees, None where
    nobody asks for it.  `rungs` holds the value by epochs done, where it was asked for.
    """

    val: Score
    test: Score | None
    seconds: float
    fidelity: str
    rungs: dict[int, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Minus the cross-entropy on the validation images, in nats.

        It says of every image how right a network is, where accuracy counts right and wrong;
        benchmarks/judges.py tells how far two seeds agree by either.
        """
        return -self.val.cross_entropy

    @property
    def standard_error(self) -> float:
        """Of the value, over the images."""
        return self.val.cross_entropy_se


@dataclass(frozen=True)
class Scratch:
    """Train with one budget and one seed for every network, then score: `judge(arch)`.

    Weights, order of images and augmentation begin from the same seed, so that two networks
    differ by what they are and not by their luck with the batches.  `prune` lets a training end
    at the floors that it is given.
    """

    data: ImageData
    budget: Budget
    device: str = "auto"
    seed: int = 0
    prune: bool = True

    def __post_init__(self) -> None:
        check_bool("accuracy.prune", self.prune)

    @classmethod
    def open(
        cls,
        load: Callable[[], ImageData],
        budget: Budget,
        device: str,
        seed: int,
        prune: bool = True,
    ) -> Scratch:
        """A judge on the data that `load()` gives (for worker processes, which load their own)."""
        return cls(load(), budget, device, seed, prune)

    def __call__(
        self, arch: Arch, floors: Mapping[int, float] = MappingProxyType({})
    ) -> Judgement | Stopped:
        """Train and score `arch`; raises TrainingFailed with the reason where that fails.

        `floors` are the rungs, in epochs, at which it is scored on the way, and the least value
        with which it goes on.
        """
        device, epochs = resolve_device(self.device), self.budget.epochs
        net, scores = build(arch, seed=self.seed), dict[int, Score]()

        def stop(done: int) -> bool:
            if not self.prune or done not in floors:
                return False
            scores[done] = evaluate(net, self._batches("val"), device=device)
            return -scores[done].cross_entropy < floors[done]

        batches = self._batches("train", augment=self.budget.augment, shuffle=True)
        history = train(
            net, batches, self.budget, device=device, seed=self.seed, stop=stop, progress=part_done
        )
        rungs = {done: -score.cross_entropy for done, score in scores.items()}
        if (done := len(history.epochs)) < epochs:
            se = scores[done].cross_entropy_se
            return Stopped(rungs, floors[done], epochs, se, history.seconds)
        val, test = (
            evaluate(net, self._batches(split), device=device) for split in ("val", "test")
        )
        return Judgement(val, test, history.seconds, f"{epochs} epochs", rungs)

    def _batches(self, split: str, augment: bool = False, shuffle: bool = False) -> Batches:
        return Batches(
            getattr(self.data, split),
            self.data.mean,
            self.data.std,
            batch_size=self.budget.batch_size if shuffle else scored_at_once(self.data.resolution),
            device=resolve_device(self.device),
            augment=augment,
            shuffle=shuffle,
            flip=self.data.flip,
            seed=self.seed,
        )
