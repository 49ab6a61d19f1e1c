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
from itertools import chain, product
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from nas.accuracy.traits import shape_of
from nas.accuracy.transferred import loss_ratios
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.layers import Conv, Linear
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.core.typed import Range, check_fields
from nas.space.choices import fill, random_picks
from nas.stats.correlation import kendall
from nas.stats.gaussian_process import GaussianProcess, Hyperparameters, ceiling, standardisation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = tuple[Any, ...]
Ratios = Callable[[Sequence[Arch]], Floats]

# Variances of interactions between blocks, of main effects and of noise, in units of that of the
# labels.  All combinations count, each by its evidence; a single most probable one ranked worse
# below 50 labels, a finer grid no better (NAS-Bench-Macro, other networks than those that
# benchmarks/rank_fidelity.py judges).
INTERACTIONS, EFFECTS, NOISES = (0.003, 0.03, 0.3), (0.003, 0.03, 0.3), (0.01, 0.05, 0.2)
MIN_LABELS = 5  # fewer say nothing of a spread
MAX_LABELS = 400  # random networks by which columns are scaled; the first of them are labelled


def features(arch: Arch) -> dict[Key, float]:
    """What tells networks apart; the first word of a key is its group.

    Places count the blocks that have layers, so that equal networks have equal features.
    """
    counts = cost(arch)
    sizes = {"macs": counts.macs, "params": counts.params, "resolution": arch.resolution}
    values: dict[Key, float] = {(name,): float(np.log(size)) for name, size in sizes.items()}
    places: dict[str, int] = {}
    for row in operators(arch):
        stage = row.place.partition("_")[0]
        place = places[stage] = places.get(stage, -1) + 1
        kernels, hidden, squeeze = shape_of(row)
        values["place", stage, place, "kernel"] = kernels[-1]
        if len(kernels) > 1:
            values["place", stage, place, "first_kernel"] = kernels[0]
        values["place", stage, place, "hidden"] = hidden
        values["block", stage, place, row.op, *kernels, round(hidden, 2), squeeze, row.cout] = 1.0
        acts = {layer.act for layer in row.layers if isinstance(layer, Conv | Linear)} - {""}
        values |= {("act", stage, act): 1.0 for act in acts}
    return values


class Columns:
    """Networks as rows of standardised features; a group of `groups` [d] shares a scale."""

    def __init__(self, sample: Sequence[Arch]) -> None:
        rows = [features(arch) for arch in sample]
        keys = {key for row in rows for key in row}
        varying = [k for k in keys if len({row.get(k, 0.0) for row in rows}) > 1]
        self.keys = sorted(varying, key=repr)
        words = sorted({key[0] for key in self.keys})
        self.groups: Ints = np.array([words.index(key[0]) for key in self.keys], np.int64)
        self.centre, self.scale = standardisation(self._raw(rows), self.groups)

    def __call__(self, archs: Sequence[Arch]) -> Floats:
        """[n, d] for n networks; features that the sample did not have do not count."""
        return (self._raw([features(arch) for arch in archs]) - self.centre) * self.scale

    def _raw(self, rows: Sequence[dict[Key, float]]) -> Floats:
        return np.array([[row.get(key, 0.0) for key in self.keys] for row in rows], np.float64)


class Correction:
    """What labels [n] make of a cheap judge's scores [n] of networks with columns `x` [n, d].

    Their sizes [n], logarithms of multiply-adds, are a guess beside the scores: how much of either
    is right the labels say.
    """

    def __init__(
        self, x: Floats, groups: Ints, scores: Floats, sizes: Floats, labels: Floats
    ) -> None:
        self.top = ceiling(labels)
        # of scores that are minus a loss; no loss is taken for less than a tenth of the known ones
        self.min_loss = float(-scores.max()) / 10
        guesses = self._guesses(scores, sizes)
        self.weights = np.full(int(groups.max()) + 1, 1 / (int(groups.max()) + 1))
        self.groups, self.centre = groups, guesses.mean(axis=0)
        self.unit = np.where(guesses.std(axis=0) > 0, guesses.std(axis=0), 1.0)
        y = -np.log(self.top - labels)
        self.models: list[tuple[float, GaussianProcess]] = []
        for signal, effect, noise in product(INTERACTIONS, EFFECTS, NOISES):
            hyper = Hyperparameters(self.weights, signal, noise)
            trend = self._trend(x, guesses, effect)
            self.models.append((effect, GaussianProcess(x, y, groups, hyper, trend)))
        evidence = np.array([model.log_evidence for _, model in self.models])
        shares = np.exp(evidence - evidence.max())
        self.shares: Floats = shares / shares.sum()

    @property
    def losses(self) -> bool:
        """Whether all scores that it learnt from are minus a loss."""
        return self.min_loss > 0

    def _trend(self, x: Floats, guesses: Floats, effect: float) -> Floats:
        """The standardised guesses, and main effects as slopes of columns: [n, 2 + d]."""
        effects = x * np.sqrt(effect * self.weights)[self.groups]
        return np.column_stack(((guesses - self.centre) / self.unit, effects))

    def _guesses(self, scores: Floats, sizes: Floats) -> Floats:
        """Scores that labels follow in a line, and sizes: [n, 2].

        Where all scores are minus a loss, they are minus its logarithm.
        """
        straight = -np.log(np.maximum(-scores, self.min_loss)) if self.losses else scores
        return np.column_stack((straight, sizes))

    def predict(self, x: Floats, scores: Floats, sizes: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation [m] of labels to come, with their noise, in their unit."""
        guesses = self._guesses(scores, sizes)
        parts = [m.predict(x, self._trend(x, guesses, effect)) for effect, m in self.models]
        means, deviations = (np.array(part) for part in zip(*parts, strict=True))  # [k, m]
        noise = np.array([m.hyper.noise * m.unit**2 for _, m in self.models])
        mean = self.shares @ means
        variance = self.shares @ (deviations**2 + noise[:, None] + (means - mean) ** 2)
        gap = np.exp(-mean)  # top - value; its slope by the mean, too
        return self.top - gap, gap * np.sqrt(variance)


def _ones(archs: Sequence[Arch]) -> Floats:
    return np.ones(len(archs))


def sizes_of(archs: Sequence[Arch]) -> Floats:
    """[n] The logarithm of each network's multiply-adds."""
    return np.log([cost(arch).macs for arch in archs])


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
        check_judge("accuracy.prior", self.prior)
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
