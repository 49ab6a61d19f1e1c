"""Weights of layers as a device runs them: each norm folded into its convolution; or random ones.

What the writers of ONNX and of TFLite models share.  Both ask layer by layer, in one order: with
one seed their random weights are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError

_POOL = 65_537  # random weights repeat after this many; a prime, so that no two filters are equal

Array = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


class Parameters:
    """Weights and biases of layers, in float32, from a state dict in NumPy.

    `bn_eps` is what norms add to the variance.  Where `weights` is None they are random, from
    `seed`.  Raises UserError where `weights` lack a tensor or hold one of another shape.
    """

    def __init__(self, weights: Weights | None, bn_eps: float, seed: int) -> None:
        self._weights, self._eps = weights, bn_eps
        self._pools = _random_pools(seed)

    def of_layer(self, name: str, shape: tuple[int, ...], bias: bool = True) -> tuple[Array, Array]:
        """Weight (cout, ...) of this `shape` and bias (cout,) of a layer without norm; zeros for
        one that has no bias.
        """
        if self._weights is None:
            return self._random(shape)
        weight = self._read(f"{name}.weight", shape)
        if not bias:
            return weight.astype(np.float32), np.zeros(shape[:1], np.float32)
        offset = self._read(f"{name}.bias", shape[:1])
        return weight.astype(np.float32), offset.astype(np.float32)

    def folded(self, name: str, shape: tuple[int, ...], eps: float = 0) -> tuple[Array, Array]:
        """As `of_layer`, for `name`.conv followed by the batch norm `name`.bn, of its own `eps`
        unless that is 0.
        """
        if self._weights is None:
            return self._random(shape)
        weight = self._read(f"{name}.conv.weight", shape)
        keys = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (self._read(f"{name}.bn.{key}", shape[:1]) for key in keys)
        scale = gamma / np.sqrt(variance + (eps or self._eps))
        scaled, bias = weight * scale[:, None, None, None], beta - mean * scale
        return scaled.astype(np.float32), bias.astype(np.float32)

    def _read(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        assert self._weights is not None
        if name not in self._weights:
            raise UserError(f"weights lack {name!r}; give the state dict of this very network")
        values = np.asarray(self._weights[name], np.float64)
        if (size := values.shape) != shape:
            raise UserError(f"weights are of another network: {name} has shape {size}, not {shape}")
        return values

    def _random(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Weights of variance 1 / fan_in and biases of variance 1/4.

        Layers never amplify (LeCun et al. 1998; He's 2 / fan_in would double the variance at
        every residual), and the biases keep what SE gates and swish shrink from dying out.
        """
        pool = next(self._pools)
        weight = np.resize(pool, shape) * np.float32(1 / math.sqrt(math.prod(shape[1:])))
        return weight, np.resize(pool[::-1], shape[:1]) * np.float32(0.5)


def _random_pools(seed: int) -> Iterator[Array]:
    """For each layer the same normal numbers, but rotated: to draw millions would take long."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal(_POOL, np.float32)
    while True:
        yield np.roll(pool, int(rng.integers(_POOL)))
