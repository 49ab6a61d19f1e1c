"""Accuracy by one training for the whole space: a supernet, whose networks are scored in turn."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor

from nas.accuracy.estimate import Estimate, Failure, call_safely
from nas.accuracy.judge import Estimates, JudgeContext, JudgeSettings, Thresholds
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ImageData, Split
from nas.data.share import ALL, Share
from nas.network.device import resolve_device
from nas.network.modules import Network
from nas.supernet.history import SupernetHistory
from nas.supernet.image_weights import NUM_PROBES, image_weights
from nas.supernet.sampling import FeasibleMask, FeasibleSampler
from nas.supernet.sandwich import Sandwich
from nas.supernet.scoring import subnet_losses
from nas.supernet.supernet import Supernet, extract, recalibrate
from nas.supernet.training import SupernetBudget, train_supernet
from nas.training.evaluation import TrainingFailed, paired_difference, scored
from nas.training.processes import own_share

MAX_BATCH_SIZE = 500  # norms use the statistics of a batch; larger ones ranked no better, slower
NUM_RECALIBRATED = 2000  # images; Yu and Huang 2019 (section 3.3) found a thousand enough
NUM_PROBED = 256  # images by which a training sees its ranking settle


@dataclass(frozen=True)
class OneShotSettings(JudgeSettings):
    """How the supernet is trained."""

    budget: SupernetBudget

    def open(self, context: JudgeContext) -> OneShot:
        """Train a supernet for the networks of the context, or go on from its checkpoint.

        Of joined processes each does its share of every batch.  Raises UserError where the supernet
        cannot be trained.
        """
        supernet, data = Supernet(context.space, context.seed), context.load()
        device, seed, feasible = resolve_device(context.device), context.seed, context.feasible
        judge, share = OneShot(supernet, data, self.budget, device, seed, feasible), own_share()
        size = min(self.budget.training.batch_size, len(data.train))
        share.check(f"batches of {size} images", size)
        try:
            judge.history = train_supernet(
                supernet,
                judge._training_batches(share),
                self.budget,
                device=device,
                seed=seed,
                feasible=feasible,
                probe=judge._scoring_batches(NUM_PROBED),
                checkpoint=context.checkpoint,
                progress=context.progress,
            )
        except TrainingFailed as error:
            raise UserError(f"the supernet cannot be trained like this: {error}") from None
        return judge


@dataclass(eq=False)
class OneShot:
    """A trained supernet that scores networks on images it has not seen.

    A value ranks a network, and is not what it would reach: minus the cross-entropy in nats of
    images weighed by what they tell (`image_weights`); accuracy and a plain mean rank worse.  Its
    standard error is over the images, the same for all networks; that of the `difference` between
    two is smaller.  `known` keeps every estimate and its losses, weighed, image by image.
    """

    supernet: Supernet
    data: ImageData
    budget: SupernetBudget
    device: torch.device
    seed: int
    feasible: FeasibleMask | None = None
    history: SupernetHistory = field(default_factory=SupernetHistory)
    known: dict[str, tuple[Estimate, Tensor]] = field(default_factory=dict)

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """Seconds are an equal part of those of all that were scored together.

        A network whose answers are not finite fails.  UserError for want of memory.
        """
        ids, failed = [network_id(arch) for arch in archs], dict[str, Failure]()
        new = {key: arch for key, arch in zip(ids, archs, strict=True) if key not in self.known}
        if new:
            start = time.perf_counter()
            weights, (losses, right) = self.weights, self._losses(list(new.values()))
            seconds = (time.perf_counter() - start) / len(new)
            for key, loss, correct in zip(new, losses, right, strict=True):
                weighed = loss * weights
                value, error = paired_difference(torch.zeros_like(weighed), weighed)
                if isinstance(val := call_safely(scored, loss, correct), Failure):
                    failed[key] = val
                else:
                    self.known[key] = Estimate(value, error, seconds, "supernet", val=val), weighed
        yield from ((i, failed.get(key) or self.known[key][0]) for i, key in enumerate(ids))

    def _losses(self, archs: Sequence[Arch]) -> tuple[Tensor, Tensor]:
        try:
            return subnet_losses(
                self.supernet,
                archs,
                self._scoring_batches(),
                device=self.device,
                precision=self.budget.training.precision,
                threads=self.budget.threads,
            )
        except TrainingFailed as error:
            raise UserError(f"networks cannot be scored like this: {error}") from None

    @cached_property
    def weights(self) -> Tensor:
        """(N,) what each validation image tells about networks, from random ones."""
        space, rng = self.supernet.space, random.Random(f"{self.seed}:weights")
        sampler = FeasibleSampler(space, self.feasible, self.seed) if self.feasible else None
        probes = Sandwich(space, NUM_PROBES, sampler).sample(NUM_PROBES, rng)
        return image_weights(self._losses(probes)[0])

    def difference(self, first: Arch, second: Arch) -> tuple[float, float]:
        """How much more value the first has, and the standard error of that."""
        list(self.estimate([first, second]))
        return paired_difference(*(self.known[network_id(arch)][1] for arch in (second, first)))

    def extract_network(self, arch: Arch) -> Network:
        """A plain network with a copy of the weights, ready for use."""
        net = extract(self.supernet, arch)
        num_batches = math.ceil(NUM_RECALIBRATED / self.budget.training.batch_size)
        recalibrate(net, islice(self._training_batches().epoch(0), num_batches))
        return net

    def _training_batches(self, share: Share = ALL) -> Resized:
        training = self.budget.training
        return batches_for(
            self.data,
            "train",
            self.data.resolution,
            batch_size=training.batch_size,
            augment=training.augment,
            device=self.device,
            seed=self.seed,
            share=share,
        )

    def _scoring_batches(self, num_images: int | None = None) -> Resized:
        """The validation images in batches of one size, mixed: norms look at whole batches."""
        data, val, side = self.data, self.data.val, self.data.resolution
        order = torch.randperm(len(val), generator=torch.Generator().manual_seed(0))[:num_images]
        split = Split(val.images[order], val.labels[order])
        at_once = max(16, min(MAX_BATCH_SIZE, MAX_BATCH_SIZE * 32**2 // side**2))
        size = math.ceil(len(split) / math.ceil(len(split) / at_once))
        return batches_for(data, split, side, batch_size=size, shuffle=False, device=self.device)
