"""What labels make of a cheap judge's scores: a Gaussian process over what networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.accuracy.traits import shape_of
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.layers import Conv, Linear
from nas.arch.operators import operators
from nas.stats.gaussian_process import GaussianProcess, Hyperparameters, ceiling, standardisation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = tuple[Any, ...]

# Variances of interactions between blocks, of main effects and of noise, in units of that of the
# labels.  All combinations count, each by its evidence; a single most probable one ranked worse
# below 50 labels, a finer grid no better (NAS-Bench-Macro, other networks than those that
# benchmarks/rank_fidelity.py judges).
INTERACTIONS, EFFECTS, NOISES = (0.003, 0.03, 0.3), (0.003, 0.03, 0.3), (0.01, 0.05, 0.2)


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


def sizes_of(archs: Sequence[Arch]) -> Floats:
    """[n] The logarithm of each network's multiply-adds."""
    return np.log([cost(arch).macs for arch in archs])
