"""A small exact Gaussian process: some hundreds of points, hyperparameters in milliseconds.

    hyper = fit(x, y, groups)                          by marginal likelihood, once in a while
    mean, sd = GaussianProcess(x, y, groups, hyper).predict(x_new)

`x` [n, d] holds plain columns (one-hot choices, positions, features); `groups` [d] says which
columns share a length scale.  The prior is a Matern 5/2 process of the weighted distance around
a mean that is a constant plus, where given, `trend` [n, t]: columns that are themselves guesses
of `y`, such as a supernet's score, whose slopes are learnt too.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.blas import dtrmm
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# All variances are in units of the variance of y.  A constant, or the slope of a trend, of one
# standard deviation of y is an ordinary one.
TREND_VARIANCE = 1.0
# Log-normal priors, medians and spreads of the logarithms: y varies by its own variance, of which
# 1 % is noise, within a factor of e and of e squared; length scales are within a factor of sqrt(e)
# of what separates two random points.  Loose enough for data to overrule them, and tight enough
# that a fit to six points does not run away.
SIGNAL, NOISE, SPREAD, NOISE_SPREAD = 1.0, 0.01, 1.0, 2.0
# Accuracy saturates: from 70 to 80 % is as far as from 92 to 92.5 %.  So what is modelled of it is
# the logarithm of the distance to a value this many interquartile ranges above the best one
# known.  Half to twice of it propose, and rank, equally well.
HEADROOM = 0.5
# Steps of L-BFGS; the likelihood is flat around its top, and more did not predict better.
STEPS = 20
ROOT5 = 5**0.5
ROWS = 512  # predicted at once, so that what is between stays in the processor's cache


@dataclass(frozen=True)
class Hyperparameters:
    """What `fit` finds: weights [g] (inverse squared length scales) and variances."""

    weights: Floats
    signal: float
    noise: float


def standardisation(x: Floats, groups: Ints) -> tuple[Floats, Floats]:
    """(centre [d], scale [d]) for which (x - centre) * scale suits the priors of `fit`.

    Every group's mean squared distance between two of the rows becomes 1.
    """
    variance = np.bincount(groups, x.var(axis=0))
    scale = np.where(variance > 0, 1 / np.sqrt(2 * np.where(variance > 0, variance, 1)), 0.0)
    return x.mean(axis=0), scale[groups]


def scale_of(values: Floats) -> float:
    """A positive unit of `values` [n]: their interquartile range, or what there is of one."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float((high - low) or values.std() or 1.0)


def ceiling(values: Floats) -> float:
    """The highest conceivable value, HEADROOM above the best of `values` [n]."""
    return float(values.max() + HEADROOM * scale_of(values))


def fit(x: Floats, y: Floats, groups: Ints, trend: Floats | None = None) -> Hyperparameters:
    """The most probable hyperparameters for `y` [n] at `x` [n, d], scaled as by `standardisation`.

    The prior of the weights is log-normal around 1 / number of groups: two random rows are then
    about one length scale apart, whatever the number of columns.
    """
    num = int(groups.max()) + 1
    columns = [x[:, groups == g] for g in range(num)]
    inner = np.stack([c @ c.T for c in columns])
    norms = np.diagonal(inner, axis1=1, axis2=2)
    distances = np.maximum(norms[:, :, None] + norms[:, None, :] - 2 * inner, 0)
    mean = np.log(np.concatenate((np.full(num, 1 / num), (SIGNAL, NOISE))))
    spread = np.full(num + 2, SPREAD)
    spread[-1] = NOISE_SPREAD
    standard = _standard(y)[0]
    around = _around(trend, trend, len(y))

    def loss(p: Floats) -> tuple[float, Floats]:
        value, slope = _loss(np.exp(p), distances, around, standard)
        z = (p - mean) / spread
        return value + 0.5 * float(z @ z), slope + z / spread

    found = minimize(
        loss, mean, jac=True, method="L-BFGS-B",
        bounds=[(m - 4 * s, m + 4 * s) for m, s in zip(mean, spread, strict=True)],
        options={"maxiter": STEPS},
    )  # fmt: skip
    best = np.exp(found.x)
    return Hyperparameters(best[:num], float(best[num]), float(best[num + 1]))


class GaussianProcess:
    """The posterior given `y` [n] at `x` [n, d]."""

    def __init__(
        self,
        x: Floats,
        y: Floats,
        groups: Ints,
        hyper: Hyperparameters,
        trend: Floats | None = None,
    ) -> None:
        self.hyper = hyper
        self.root = np.sqrt(hyper.weights)[groups]  # [d]
        self._know(x * self.root, y, trend)
        covariance = self._noisy(self._kernel(self.x, trend))
        factor = cholesky(covariance, lower=True, check_finite=False)
        self.whitener = _inverse(factor)  # W [n, n], upper triangular: W W' inverts the covariance
        # not by W: proposals of earlier versions hang on how ties between equal networks round
        self.alpha = cho_solve((factor, True), self.standard, check_finite=False)

    def extended(self, x: Floats, y: Floats, trend: Floats | None = None) -> GaussianProcess:
        """The posterior given `y` [p] at `x` [p, d] too, in quadratic time."""
        new, known = copy(self), len(self.y)
        x = x * self.root
        across = self._kernel(x, trend) @ self.whitener  # [p, n]
        new._know(
            np.concatenate((self.x, x)),
            np.concatenate((self.y, y)),
            None if trend is None or self.trend is None else np.concatenate((self.trend, trend)),
        )
        covariance = self._noisy(new._kernel(x, trend)[:, known:]) - across @ across.T
        corner = _inverse(cholesky(covariance, lower=True, check_finite=False))
        whitener = np.zeros((len(new.y), len(new.y)))
        whitener[:known, :known], whitener[known:, known:] = self.whitener, corner
        whitener[:known, known:] = -self.whitener @ (across.T @ corner)
        new.whitener, new.alpha = whitener, whitener @ (new.standard @ whitener)
        return new

    def _know(self, x: Floats, y: Floats, trend: Floats | None) -> None:
        """Keep the points, `x` already weighted."""
        self.x, self.y, self.trend = x, y, trend
        self.norms = np.einsum("nd,nd->n", x, x)
        self.standard, self.centre, self.unit = _standard(y)

    @property
    def log_evidence(self) -> float:
        """Log marginal likelihood but for a constant (Rasmussen and Williams 2006, eq. 5.8)."""
        log_determinant = -2 * np.log(np.diagonal(self.whitener)).sum()
        return float(-0.5 * (log_determinant + self.standard @ self.alpha))

    def predict(self, x: Floats, trend: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean [m] and standard deviation [m] of the noiseless values at `x` [m, d]."""
        parts = [slice(i, i + ROWS) for i in range(0, len(x), ROWS)]
        pairs = [self._predict(x[p], None if trend is None else trend[p]) for p in parts]
        mean, variance = (np.concatenate(column) for column in zip(*pairs, strict=True))
        # rounding can leave a variance of about -1e-12 at a known point
        return mean * self.unit + self.centre, np.sqrt(np.maximum(variance, 1e-9)) * self.unit

    def _predict(self, x: Floats, trend: Floats | None) -> tuple[Floats, Floats]:
        x = x * self.root
        cross = self._kernel(x, trend)  # [m, n]
        mean = cross @ self.alpha
        # the transposes are in BLAS's order; a triangular product takes half the time of a full one
        half = dtrmm(1.0, self.whitener.T, cross.T, lower=1, overwrite_b=1)  # [n, m]
        slopes = 0.0 if trend is None else (trend**2).sum(axis=1)
        variance = self.hyper.signal + TREND_VARIANCE * (1 + slopes)
        return mean, variance - np.einsum("nm,nm->m", half, half)

    def _kernel(self, x: Floats, trend: Floats | None) -> Floats:
        inner = x @ self.x.T
        squares = np.einsum("md,md->m", x, x)[:, None] + self.norms
        squares -= 2 * inner
        covariance = _matern(np.maximum(squares, 0, out=squares))
        covariance *= self.hyper.signal
        covariance += _around(trend, self.trend, len(self.x))
        return covariance

    def _noisy(self, covariance: Floats) -> Floats:
        covariance[np.diag_indices(len(covariance))] += self.hyper.noise
        return covariance


def _inverse(factor: Floats) -> Floats:
    """The transposed inverse of a lower triangular `factor` [n, n]."""
    identity = np.eye(len(factor))
    inverse: Floats = solve_triangular(factor, identity, lower=True, check_finite=False)
    return inverse.T


def _standard(y: Floats) -> tuple[Floats, float, float]:
    """`y` at mean 0 and variance 1, with what it takes to go back; equal values have unit 1."""
    centre, unit = float(y.mean()), float(y.std())
    unit = unit if unit > 1e-12 * max(1.0, abs(centre)) else 1.0
    return (y - centre) / unit, centre, unit


def _around(trend: Floats | None, other: Floats | None, num: int) -> Floats:
    """Covariance of the unknown mean: that of its constant and of the slopes of the trend."""
    if trend is None or other is None:
        return np.full((1, num), TREND_VARIANCE)
    return TREND_VARIANCE * (1 + trend @ other.T)


def _matern(squares: Floats) -> Floats:
    """Matern 5/2 correlation at squared distances (Rasmussen and Williams 2006, eq. 4.17)."""
    r = ROOT5 * np.sqrt(squares)
    polynomial = 1 + r
    polynomial += 5 / 3 * squares
    polynomial *= np.exp(np.negative(r, out=r), out=r)
    return polynomial


def _loss(p: Floats, distances: Floats, around: Floats, y: Floats) -> tuple[float, Floats]:
    """Negative log marginal likelihood and its gradient by log p (ibid., eq. 5.8 and 5.9)."""
    weights, signal, noise = p[:-2], p[-2], p[-1]
    squares = np.tensordot(weights, distances, 1)
    r = ROOT5 * np.sqrt(squares)
    decay = signal * np.exp(-r)
    matern = (1 + r + 5 / 3 * squares) * decay
    covariance = matern + around
    covariance[np.diag_indices(len(y))] += noise
    factor = cholesky(covariance, lower=True, check_finite=False)
    inverse = cho_solve((factor, True), np.eye(len(y)), check_finite=False)
    alpha = inverse @ y
    value = 0.5 * float(y @ alpha) + float(np.log(np.diagonal(factor)).sum())
    outer = 0.5 * (inverse - np.outer(alpha, alpha))
    by_weight = np.tensordot(distances, outer * (-5 / 6 * (1 + r) * decay), 2)
    rest = ((outer * matern).sum(), noise * np.trace(outer))
    return value, np.concatenate((weights * by_weight, rest))
