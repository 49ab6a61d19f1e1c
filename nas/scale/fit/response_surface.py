"""A response surface: a value, quadratic in the logarithms of what a network was scaled by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Of the terms at a variance of 1: from none to where only the strongest is left.
RIDGES = (1e-8, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)


def quadratic(x: Floats) -> Floats:
    """Terms [n, k + k (k + 1) / 2] of points [n, k]: all x_i, then all x_i x_j with i <= j."""
    first, second = np.triu_indices(x.shape[1])
    return np.column_stack((x, x[:, first] * x[:, second]))


@dataclass(frozen=True)
class Surface:
    """A fitted surface: coefficients of the terms of `quadratic`, and levels of the blocks.

    num_free  parameters that the ridge leaves, blocks included
    r2        explained part of the variance within blocks
    loo       root mean square error on a group that was left out
    """

    terms: Floats
    levels: Floats
    ridge: float
    num_free: float
    r2: float
    loo: float
    residuals: Floats

    def __call__(self, x: ArrayLike) -> Floats:
        """Values [n] at points [n, k], over an average block."""
        values: Floats = quadratic(np.atleast_2d(np.asarray(x, float))) @ self.terms
        return values + float(self.levels.mean())


@dataclass(frozen=True)
class Data:
    """Rows for a surface: points [n, k], values [n], and two labels [n] from 0 on.

    A group is of one network; a block, of one length of training and one seed, has one level.
    """

    x: Floats
    y: Floats
    groups: Ints
    blocks: Ints

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike) -> Data:
        """Every row a group of its own, all of one block."""
        points, values = np.asarray(x, float), np.asarray(y, float)
        return cls(points, values, np.arange(len(values)), np.zeros(len(values), np.int64))

    def columns(self) -> tuple[Floats, Floats]:
        """Blocks and terms at mean 0 and variance 1 [n, p]; the scales [terms]."""
        terms = quadratic(self.x)
        scale = np.where(terms.std(axis=0) > 1e-12, terms.std(axis=0), np.inf)
        indicators = np.eye(int(self.blocks.max()) + 1)[self.blocks]
        return np.column_stack((indicators, (terms - terms.mean(axis=0)) / scale)), scale


def fit_surface(data: Data) -> Surface:
    """Least squares with the ridge that predicts left-out groups best."""
    columns, scale = data.columns()
    num = columns.shape[1] - len(scale)
    errors = [_left_out(data, columns, num, ridge) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(errors))]
    system = _system(columns, num, ridge, np.ones((1, len(data.y))))
    effects = np.linalg.solve(system, (columns.T @ data.y)[None, :, None])[0, :, 0]
    num_free = float(np.trace(np.linalg.solve(system[0], columns.T @ columns)))
    residuals = data.y - columns @ effects
    means = np.bincount(data.blocks, data.y) / np.bincount(data.blocks)
    centred = data.y - means[data.blocks]
    variation = float(centred @ centred)
    terms = effects[num:] / scale
    shift = float(quadratic(data.x).mean(axis=0) @ terms)
    return Surface(
        terms=terms,
        levels=np.asarray(effects[:num] - shift, float),
        ridge=ridge,
        num_free=num_free,
        r2=1 - float(residuals @ residuals) / variation if variation else 1.0,
        loo=min(errors),
        residuals=residuals,
    )


def _system(columns: Floats, num: int, ridge: float, weights: Floats) -> Floats:
    """Normal equations [r, p, p] for weights [r, n] of the rows; blocks are not shrunk."""
    penalty = np.full(columns.shape[1], ridge)
    penalty[:num] = 1e-9  # only so that a block without rows is no division by zero
    outer: Floats = np.einsum("rn,np,nq->rpq", weights, columns, columns, optimize=True)
    outer += np.diag(penalty) * weights.sum(axis=1)[:, None, None]
    return outer


def _left_out(data: Data, columns: Floats, num: int, ridge: float) -> float:
    groups = np.unique(data.groups)
    weights = (data.groups[None] != groups[:, None]).astype(float)  # [g, n]
    system = _system(columns, num, ridge, weights)
    effects = np.linalg.solve(system, ((weights * data.y) @ columns)[:, :, None])[:, :, 0]
    known = weights @ columns[:, :num] > 0  # [g, blocks] whether the block has other rows
    off = [
        float(data.y[i] - columns[i] @ effects[g])
        for i, g in enumerate(np.searchsorted(groups, data.groups))
        if known[g, data.blocks[i]]
    ]
    return float(np.sqrt(np.mean(np.square(off)))) if off else float("inf")


def resampled(
    data: Data, surface: Surface, seeds: Ints, num_draws: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Terms of `num_draws` surfaces fitted to networks and `seeds` [n] drawn anew.

    Rows are weighed by the product of an exponential weight of their network and one of their
    seed, the smooth form of drawing both with replacement (Owen and Eckles 2012, "Bootstrapping
    data arrays of arbitrary order").  Residuals are enlarged by sqrt(n / (n - p)), since p
    parameters were fitted to them (Davison and Hinkley 1997, section 6.2).
    """
    columns, scale = data.columns()
    num, number = columns.shape[1] - len(scale), len(data.y)
    factor = np.sqrt(number / max(1.0, number - surface.num_free))
    y = data.y + (factor - 1) * surface.residuals
    labels = [np.unique(ids, return_inverse=True)[1] for ids in (data.groups, seeds)]
    for _ in range(num_draws):
        by = [rng.exponential(size=int(label.max()) + 1)[label] for label in labels]
        weights = (by[0] * by[1])[None]
        system = _system(columns, num, surface.ridge, weights)[0]
        yield np.linalg.solve(system, columns.T @ (weights[0] * y))[num:] / scale
