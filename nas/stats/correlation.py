"""How well a prediction agrees with the truth: errors, rank correlations, regret, intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Measure = Callable[[Floats, Floats], float]  # of predictions [n] and the truth [n]
RESAMPLES = 1000  # Efron and Tibshirani 1993: enough for percentile intervals


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval, made as whoever gives it says."""

    value: float
    low: float
    high: float


def mape(predicted: Floats, true: Floats) -> float:
    """Mean absolute error relative to the truth, as a fraction."""
    return float(np.mean(np.abs(predicted / true - 1)))


def fraction_within(share: float) -> Measure:
    """The part of predictions whose relative error is at most `share`."""
    return lambda predicted, true: float(np.mean(np.abs(predicted / true - 1) <= share))


def spearman(predicted: Floats, true: Floats) -> float:
    """Spearman's rank correlation; NaN where one side is constant."""
    ranks = stats.rankdata(np.stack([predicted, true]), axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=1).prod())
    return float(centred[0] @ centred[1] / spread) if spread else float("nan")


def kendall(predicted: Floats, true: Floats) -> float:
    """Kendall's tau-b; NaN where one side is constant."""
    first = np.sign(predicted[:, None] - predicted[None])
    second = np.sign(true[:, None] - true[None])
    spread = np.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum() / spread) if spread else float("nan")


def top_regret(k: int) -> Measure:
    """What is lost by trusting the prediction: best true value less the best among its top `k`."""
    return lambda predicted, true: float(true.max() - true[np.argsort(-predicted)[:k]].max())


def share_interval(share: float, number: int) -> Interval:
    """The exact 95 % interval of a share of `number` (Clopper and Pearson 1934)."""
    low, high = stats.binomtest(round(share * number), number).proportion_ci()
    return Interval(share, float(low), float(high))


def share_error(share: float, number: int) -> float:
    """The standard error of a share of `number`.

    Of none and of all it is that of one more on either side (Agresti and Coull 1998): few images
    that are all answered rightly do not make an accuracy certain.
    """
    if share in (0, 1):
        share = (share * number + 1) / (number + 2)
    return float(np.sqrt(share * (1 - share) / number))


def interval(measure: Measure, predicted: ArrayLike, true: ArrayLike, seed: int = 0) -> Interval:
    """`measure` of n networks and its interval; resamples without a value drop out."""
    a, b = np.asarray(predicted, float), np.asarray(true, float)
    draws = np.random.default_rng(seed).integers(len(a), size=(RESAMPLES, len(a)))
    values = np.array([measure(a[i], b[i]) for i in draws])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (float("nan"),) * 2
    return Interval(measure(a, b), float(low), float(high))
