"""Accuracy by a Gaussian process: few true trainings (labels), a cheap judge's scores as its mean.

Labelled are random networks, in a search evenly over latency and as fast as the target: those that
would take most variance away are odd ones, and ranked the others worse.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.accuracy.correction import Columns, Correction, sizes_of
from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import (
    Draw,
    Estimates,
    Judge,
    JudgeContext,
    JudgeSettings,
    Thresholds,
    check_judge,
)
from nas.accuracy.transferred import loss_ratios
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.typed import Range, check_fields
from nas.space.choices import fill, random_picks
from nas.stats.correlation import kendall

Floats = NDArray[np.float64]
Ratios = Callable[[Sequence[Arch]], Floats]

MIN_LABELS = 5  # fewer say nothing of a spread
MAX_LABELS = 400  # random networks by which columns are scaled; the first of them are labelled


def _ones(archs: Sequence[Arch]) -> Floats:
    return np.ones(len(archs))


def _random_archs(space: Arch, seed: int, number: int) -> list[Arch]:
    rng = random.Random(seed)
    drawn = (fill(space, random_picks(space, rng)) for _ in range(MAX_LABELS))
    return list({network_id(arch): arch for arch in drawn}.values())[:number]


@dataclass(frozen=True)
class PredictorSettings(JudgeSettings):
    """The cheap judge, and how many networks are trained to correct it.

    near_target   the part of them that is as fast as the target, where a search has to choose
    transfer      labels, minus losses, are divided by what trainings on other images taught to
                  expect, so that only the rest is learnt
    """

    prior: JudgeSettings
    num_labels: Annotated[int, Range(MIN_LABELS, MAX_LABELS)] = 20
    near_target: Annotated[float, Range(0, 1)] = 0.0
    transfer: bool = False

    def __post_init__(self) -> None:
        if check_judge("accuracy.prior", self.prior).trains_each:
            raise UserError(
                "accuracy.prior must be a judge that trains no network by itself (such as "
                "log_macs, proxies or oneshot): give accuracy@accuracy.prior= one of them"
            )
        check_fields(self, "accuracy")

    def open(self, context: JudgeContext) -> Predictor:
        """Raises UserError where too few networks can be trained."""
        draw = context.draw or partial(_random_archs, context.space, context.seed)
        train = context.label or context.train
        assert train is not None
        ratios = loss_ratios() if self.transfer else _ones
        predictor = Predictor(self.prior.open(context), Columns(draw(MAX_LABELS)), ratios)
        archs, reason = self._networks(draw, context.draw_near), "there are no more"
        for i, label in train.estimate(archs):
            if isinstance(label, Estimate):
                predictor.tell(archs[i], label.value)
            else:
                reason = label.reason
        if len(predictor.labels) < MIN_LABELS:
            raise UserError(
                f"only {len(predictor.labels)} of {self.num_labels} networks could be labelled "
                f"(allowed: {MIN_LABELS} or more): {reason}; mend that, and the same command tries "
                "them again, or another run=NAME with other settings"
            )
        return predictor

    def _networks(self, draw: Draw, draw_near: Draw | None) -> list[Arch]:
        """The networks to train, none twice; those of `draw` in the place of missing near ones."""
        wanted = round(self.near_target * self.num_labels) if draw_near else 0
        near = list(draw_near(wanted)) if draw_near and wanted else []
        drawn = (near, draw(self.num_labels - len(near)), draw(self.num_labels))
        distinct = {network_id(arch): arch for arch in chain(*drawn)}
        return list(distinct.values())[: self.num_labels]


@dataclass(eq=False)
class Predictor:
    """The judge; its estimates are in the unit of the labels, of which more may be told.

    `ratios` [n] of n networks are what labels are divided by before anything is learnt, and scores
    that are minus a loss, too.
    `labels` are by id, `scores` what the prior says of those networks.
    """

    prior: Judge
    columns: Columns
    ratios: Ratios = _ones
    labels: dict[str, tuple[Arch, float]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    _correction: Correction | None = None

    def tell(self, arch: Arch, value: float) -> None:
        """Add a label."""
        self.labels[network_id(arch)] = arch, value
        self._correction = None

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """Where the prior judge fails, its Failure."""
        start = time.perf_counter()
        correction = self._correction = self._correction or self._learn()
        priors: dict[int, Estimate] = {}
        for i, prior in self.prior.estimate(archs):
            if isinstance(prior, Failure):
                yield i, prior
            else:
                priors[i] = prior
        if not priors:
            return
        scores = np.array([prior.value for prior in priors.values()])
        known = [archs[i] for i in priors]
        ratios = self.ratios(known)
        relative = scores / ratios if correction.losses else scores
        mean, deviation = correction.predict(self.columns(known), relative, sizes_of(known))
        mean, deviation = mean * ratios, deviation * ratios
        seconds = (time.perf_counter() - start) / len(priors)
        fidelity = f"{len(self.labels)} labels"
        for i, value, error in zip(priors, mean.tolist(), deviation.tolist(), strict=True):
            yield i, Estimate(value, error, seconds, fidelity)

    def _learn(self) -> Correction:
        new = [arch for key, (arch, _) in self.labels.items() if key not in self.scores]
        reason = ""
        for i, prior in self.prior.estimate(new):
            if isinstance(prior, Estimate):
                self.scores[network_id(new[i])] = prior.value
            else:
                reason = prior.reason
        rows = [(*label, self.scores[k]) for k, label in self.labels.items() if k in self.scores]
        if len(rows) < MIN_LABELS:
            raise UserError(
                f"accuracy.prior scored {len(rows)} of {len(self.labels)} trained networks "
                f"(allowed: {MIN_LABELS} or more): {reason}; give another accuracy@accuracy.prior= "
                "and another run="
            )
        archs, labels, scores = zip(*rows, strict=True)
        x, sizes = self.columns(archs), sizes_of(archs)
        ratios, known = self.ratios(archs), np.array(scores)
        known = known / ratios if known.max() < 0 else known
        return Correction(x, self.columns.groups, known, sizes, np.array(labels) / ratios)


def predictor_fidelity(
    archs: Sequence[Arch],
    scores: ArrayLike,
    accuracies: ArrayLike,
    num_labels: int,
    seed: int,
    ratios: Ratios = _ones,
) -> float:
    """Kendall's tau with the true accuracies of those of `archs` that are not labelled.

    `scores` [n] are a cheap judge's, `accuracies` [n] the truth, minus a loss where there are
    `ratios`; `seed` draws `num_labels` of them.
    """
    cheap, true = np.asarray(scores, np.float64), np.asarray(accuracies, np.float64)
    labelled = np.random.default_rng(seed).permutation(len(archs))[:num_labels]
    columns, expected = Columns(archs), ratios(archs)
    x, sizes = columns(archs), sizes_of(archs)
    rest = np.setdiff1d(np.arange(len(archs)), labelled)
    known = (x[labelled], columns.groups, cheap[labelled], sizes[labelled])
    model = Correction(*known, (true / expected)[labelled])
    found = model.predict(x[rest], cheap[rest], sizes[rest])[0] * expected[rest]
    return kendall(found, true[rest])
