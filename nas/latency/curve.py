"""From the sum over a network's rows to the latency of the whole: a curve with one number.

The error of a sum is partly one of size: in a large network a row costs more, or less, than in a
small one, and a sum, which is right on average, is wrong at the ends and in the middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

STEEPEST = 1.5  # log milliseconds of the whole by those of the sum, at most; 2 - STEEPEST at least
LEAST = 12  # networks; among fewer, chance bends a curve that is wrong elsewhere
SURE = 0.9  # that it is not chance, by Student's t
ROUNDS = 20  # of the regression, with its weights after each
EXACT = 1e-9  # log milliseconds that no clock tells apart


def most_bend(low_ms: float, high_ms: float) -> float:
    """What a curve over that range may bend, up or down, before it gets too steep or too flat."""
    return (STEEPEST - 1) / 4 * (math.log(high_ms) - math.log(low_ms))


@dataclass(frozen=True, slots=True)
class Curve:
    """whole = sum * exp(bend * (t^2 - 1/3)), t linear in log(sum), -1 at low_ms and 1 at high_ms.

    t^2 - 1/3 has neither level nor slope over networks that lie evenly in log(sum), so the curve
    moves what the sum cannot follow and nothing else.  Outside of low_ms to high_ms it goes on
    straight in the logarithms.  It rises everywhere.  Where bend is 0, the whole is the sum.
    ValueError for what is no such curve.
    """

    bend: float = 0.0
    low_ms: float = 1.0
    high_ms: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.low_ms < self.high_ms < math.inf:
            raise ValueError("a curve must begin above 0 ms, and end above its beginning")
        if not abs(self.bend) <= most_bend(self.low_ms, self.high_ms):
            raise ValueError("a curve must rise everywhere")

    def whole_ms(self, sums: Floats) -> Floats:
        """Milliseconds of whole networks, by the sums over all they consist of; any shape."""
        if not self.bend:
            return sums
        return sums * np.exp(self.bend * self.shape(sums))

    def sum_ms(self, whole: Floats) -> Floats:
        """The inverse of `whole_ms`."""
        if not self.bend:
            return whole
        middle, half = self._middle_and_half()
        bend = self.bend / half
        # t + bend * t^2 = place, and its tangents at t = -1 and t = 1
        place = (np.log(whole) - middle) / half + bend / 3
        inside = np.clip(place, bend - 1, bend + 1)
        t = 2 * inside / (1 + np.sqrt(1 + 4 * bend * inside))
        t += (place - inside) / (1 + 2 * bend * t)
        return np.asarray(np.exp(middle + half * t))

    def shape(self, sums: Floats) -> Floats:
        """t^2 - 1/3 of sums, with its tangents outside of low_ms to high_ms."""
        middle, half = self._middle_and_half()
        t = (np.log(np.maximum(sums, 1e-300)) - middle) / half
        inside = np.clip(t, -1, 1)
        return np.asarray(inside**2 - 1 / 3 + 2 * inside * (t - inside))

    def _middle_and_half(self) -> tuple[float, float]:
        """Of the range in log(sum): its middle, and half its length."""
        half = (math.log(self.high_ms) - math.log(self.low_ms)) / 2
        return math.log(self.low_ms) + half, half


STRAIGHT = Curve()


def fit_curve(sums: Floats, whole: Floats) -> tuple[Curve, bool]:
    """The curve by robust regression in logarithms, and whether networks (n,) show that they bend.

    Of level, slope and bend only the last is fitted, as the sums' own fit has settled the others;
    all three count as fitted in the test.  Networks that are off by more than twice the median
    count less (Huber 1964): a few that are far off, as the slowest can be, would bend the curve
    away from all others.
    """
    low, high, num_free = float(sums.min()), float(sums.max()), len(sums) - 3
    if len(sums) < LEAST or not 0 < low < 0.9 * high:  # alike, they show no bend
        return STRAIGHT, False
    shape, off = Curve(0.0, low, high).shape(sums), np.log(whole / sums)
    weights = np.ones(len(sums))
    for _ in range(ROUNDS):
        bend = float((weights * shape) @ off / (weights @ shape**2))
        rest = np.abs(off - bend * shape)
        weights = np.minimum(1, max(2 * np.median(rest), EXACT) / np.maximum(rest, EXACT))
    error = np.linalg.norm(weights * rest) / math.sqrt(num_free) / np.mean(weights == 1)
    sure = abs(bend) * np.linalg.norm(shape) > stdtrit(num_free, (1 + SURE) / 2) * error
    most = most_bend(low, high)
    return Curve(min(max(bend, -most), most), low, high), bool(sure)
