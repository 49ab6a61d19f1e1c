"""Differences of two networks that were trained alike and answer the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from nas.stats.correlation import Interval

CONFIDENCE = 0.95


def paired_interval(differences: NDArray[Any]) -> Interval:
    """The mean of `differences` (S, N), of S >= 2 trainings on N >= 2 images, with its interval.

    It is for other trainings and other images alike: both are samples, crossed with each other
    (Dorfman, Berbaum and Metz 1992); the degrees of freedom are those of Hillis 2007.  Raises
    ValueError for fewer of either.
    """
    num_seeds, num_images = differences.shape
    if min(differences.shape) < 2:
        raise ValueError(f"an interval needs 2 trainings and 2 images, not {differences.shape}")
    by_seed = differences.mean(axis=1, keepdims=True)  # (S, 1)
    by_image = differences.mean(axis=0, keepdims=True)  # (1, N)
    mean = float(differences.mean())
    rest = differences - by_seed - by_image + mean
    of_seeds = num_images * float(np.sum((by_seed - mean) ** 2)) / (num_seeds - 1)
    of_images = num_seeds * float(np.sum((by_image - mean) ** 2)) / (num_images - 1)
    of_rest = float(np.sum(rest**2)) / ((num_seeds - 1) * (num_images - 1))
    of_seeds = max(of_seeds, of_rest)  # below it by chance only
    total = of_seeds + max(0.0, of_images - of_rest)
    if total == 0:
        return Interval(mean, mean, mean)
    num_free = (num_seeds - 1) * (total / of_seeds) ** 2 if of_seeds else math.inf
    half = float(stdtrit(min(num_free, 1e9), (1 + CONFIDENCE) / 2))
    half *= math.sqrt(total / differences.size)
    return Interval(mean, mean - half, mean + half)
