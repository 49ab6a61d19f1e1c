"""Accuracy by one training for the whole space: a supernet, whose networks are scored in turn."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.data.dataset import Batches, ImageData, Split
from nas.network.device import resolve_device
from nas.network.modules import Network
from nas.supernet.history import SupernetHistory
from nas.supernet.image_weights import NUM_PROBES, image_weights
from nas.supernet.sampling import FeasibleMask, FeasibleSampler
from nas.supernet.sandwich import Sandwich
from nas.supernet.scoring import subnet_losses
from nas.supernet.supernet import Supernet, extract, recalibrate
from nas.supernet.training import Progress, SupernetBudget, train_supernet
from nas.training.evaluation import Score, paired_difference, scored

AT_ONCE = 500  # images whose statistics norms use; larger batches were slower and ranked no better
RECALIBRATION = 2000  # images; Yu and Huang 2019 (section 3.3) found a thousand enough
PROBED = 256  # images by which a training sees its ranking settle


@dataclass(frozen=True)
class OneShotScore:
    """An `Answer` and more: what to rank a network by, not the accuracy that it would reach.

    value            minus the cross-entropy in nats, so that more is better, of images weighed by
                     what they tell (`image_weights`); accuracy and a plain mean rank worse.
    standard_error   of the value, over the images; two networks see the same ones, for which
                     there is `OneShot.difference`.
    seconds          that the scoring took, an equal part of those scored together.
    fidelity         how it was come by.
    score            accuracy and cross-entropy with shared weights.
    """

    value: float
    standard_error: float
    seconds: float
    score: Score
    fidelity: str = "supernet"

    @property
    def val(self) -> Score:
        """The score, under the name that every judge has for it."""
        return self.score


@dataclass(eq=False)
class OneShot:
    """A trained supernet that scores networks on images it has not seen: `judge(arch)`.

    Losses, weighed, are kept image by image for every network that was asked for.  `within` is
    what the training was limited to (`nas.supernet.sampling`).
    """

    supernet: Supernet
    data: ImageData
    budget: SupernetBudget
    device: torch.device
    seed: int
    within: FeasibleMask | None = None
    history: SupernetHistory = field(default_factory=SupernetHistory)
    known: dict[str, tuple[OneShotScore, Tensor]] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        load: Callable[[], ImageData],
        space: Arch,
        budget: SupernetBudget,
        device: str = "auto",
        seed: int = 0,
        within: FeasibleMask | None = None,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> OneShot:
        """Train on the data that `load()` gives, or go on from the checkpoint, and be ready.

        `within` tells which networks will be asked for, and others are not trained: genomes
        (n, choices) of `nas.space.trellis.trellis.Trellis(space)` -> (n,) bool; None for all.
        """
        judge = cls(Supernet(space, seed), load(), budget, resolve_device(device), seed, within)
        judge.history = train_supernet(
            judge.supernet,
            judge._training_batches(),
            budget,
            device=judge.device,
            seed=seed,
            within=within,
            probe=judge._scoring_batches(PROBED),
            checkpoint=checkpoint,
            progress=progress,
        )
        return judge

    def __call__(self, arch: Arch) -> OneShotScore:
        """The score of one network; many together are quicker."""
        ((_, score),) = self.many([arch])
        return score

    def many(self, archs: Sequence[Arch]) -> Iterator[tuple[int, OneShotScore]]:
        """(index, score) of each of `archs`, which share the work of their common beginnings."""
        ids = [network_id(arch) for arch in archs]
        new = {key: arch for key, arch in zip(ids, archs, strict=True) if key not in self.known}
        if new:
            self._score(list(new), list(new.values()))
        yield from ((i, self.known[key][0]) for i, key in enumerate(ids))

    def _score(self, ids: list[str], archs: list[Arch]) -> None:
        start = time.perf_counter()
        threads = self.budget.threads
        losses, right = subnet_losses(
            self.supernet, archs, self._scoring_batches(), device=self.device, threads=threads
        )
        seconds = (time.perf_counter() - start) / len(archs)
        for key, loss, correct in zip(ids, losses, right, strict=True):
            weighed = loss * self.weights
            value, error = paired_difference(torch.zeros_like(weighed), weighed)
            self.known[key] = OneShotScore(value, error, seconds, scored(loss, correct)), weighed

    @cached_property
    def weights(self) -> Tensor:
        """(N,) what each validation image tells about networks, from random ones of the space."""
        space, rng = self.supernet.space, random.Random(f"{self.seed}:weights")
        allowed = FeasibleSampler(space, self.within, self.seed) if self.within else None
        probes = Sandwich(space, NUM_PROBES, allowed).sample(NUM_PROBES, rng)
        threads = self.budget.threads
        losses, _ = subnet_losses(
            self.supernet, probes, self._scoring_batches(), device=self.device, threads=threads
        )
        return image_weights(losses)

    def difference(self, first: Arch, second: Arch) -> tuple[float, float]:
        """How much more value the first has than the second, and the standard error of that."""
        list(self.many([first, second]))
        losses = [self.known[network_id(arch)][1] for arch in (second, first)]
        return paired_difference(*losses)

    def extracted(self, arch: Arch) -> Network:
        """A plain network with the supernet's weights and statistics of its own, ready for use."""
        net = extract(self.supernet, arch)
        batches = self._training_batches()
        number = math.ceil(RECALIBRATION / batches.batch_size)
        recalibrate(net, islice(batches.epoch(0), number))
        return net

    def _training_batches(self) -> Batches:
        training = self.budget.training
        return Batches(
            self.data.train,
            self.data.mean,
            self.data.std,
            batch_size=training.batch_size,
            device=self.device,
            augment=training.augment,
            shuffle=True,
            flip=self.data.flip,
            seed=self.seed,
        )

    def _scoring_batches(self, most: int | None = None) -> Batches:
        """The validation images in batches of one size, mixed: norms look at whole batches."""
        val = self.data.val
        order = torch.randperm(len(val), generator=torch.Generator().manual_seed(0))[:most]
        split = Split(val.images[order], val.labels[order])
        at_once = max(16, min(AT_ONCE, AT_ONCE * 32**2 // self.data.resolution**2))
        size = math.ceil(len(split) / math.ceil(len(split) / at_once))
        return Batches(split, self.data.mean, self.data.std, batch_size=size, device=self.device)
