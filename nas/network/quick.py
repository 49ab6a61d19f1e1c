"""Layers with quicker gradients, lent to a module while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from nas.network.depthwise import DepthwiseConv2d, is_depthwise
from nas.network.pooling import GlobalPool, is_global_pool

QUICKER = ((is_depthwise, DepthwiseConv2d), (is_global_pool, GlobalPool))
COPIED = (nn.ReLU6, nn.Hardswish, nn.SiLU)  # autograd copies their input where they overwrite it


@contextmanager
def quick_gradients(module: nn.Module) -> Iterator[None]:
    """Give the layers inside `module` the quicker gradients, for the time being.

    Parameters, state-dict keys and values stay, and afterwards every layer is as it was.
    """
    layers = list(module.modules())
    lent = [(layer, type(layer), own) for layer in layers for fits, own in QUICKER if fits(layer)]
    overwriting = [layer for layer in layers if isinstance(layer, COPIED) and layer.inplace]
    try:
        for layer, _, quicker in lent:
            layer.__class__ = quicker
        for layer in overwriting:
            layer.inplace = False
        yield
    finally:
        for layer, plain, _ in lent:
            layer.__class__ = plain
        for layer in overwriting:
            layer.inplace = True
