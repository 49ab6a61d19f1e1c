"""Training with the rounding that 8 bits bring (quantisation-aware training).

Jacob et al. 2018 (arXiv:1712.05877, section 3): in the forward pass weights and activations are
rounded as in the 8-bit network, in the backward pass the rounding is taken for the identity where
nothing is clipped.  Weights have a symmetric scale for each output channel, which a batch norm
that is folded later scales alike; activations have the range that they took in calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas.network.modules import (
    ConvNormAct,
    LinearAct,
    OperatorModule,
    SqueezeExciteGate,
)

ROUNDED = (ConvNormAct, LinearAct, SqueezeExciteGate, OperatorModule, nn.AdaptiveAvgPool2d)
WEIGHTED = (nn.Conv2d, nn.Linear)
Hook = Callable[[nn.Module, Any, Tensor], Tensor | None]


class RoundedWeight(nn.Module):
    """A weight (out, ...) as signed 8 bits hold it, symmetric, a scale for each output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        """The same shape."""
        scale = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-12) / 127
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


class _Range:
    """The least and the largest value that a module answers with, 0 among them."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def observe(self, _module: nn.Module, _inputs: Any, out: Tensor) -> None:
        low, high = out.aminmax()
        self.low, self.high = min(self.low, low.item()), max(self.high, high.item())

    def round(self, _module: nn.Module, _inputs: Any, out: Tensor) -> Tensor:
        scale = max(self.high - self.low, 1e-8) / 255
        zero = round(-self.low / scale)
        return torch.fake_quantize_per_tensor_affine(out, scale, zero, 0, 255)


@contextmanager
def rounded(net: nn.Module, images: Iterable[Tensor]) -> Iterator[None]:
    """Have `net` compute as its 8-bit network would, nearly, as long as the block lasts.

    Its input, and between the two convolutions of squeeze-and-excitation, stay in float32.

    Ranges of activations are those on `images`, batches (B, C, H, W) on the network's device.
    Weights that the block trains stay in float32 and become the network's own at its end.
    """
    ranges = [(module, _Range()) for module in net.modules() if isinstance(module, ROUNDED)]
    with _hooks((module, own.observe) for module, own in ranges), torch.inference_mode():
        net.eval()
        for batch in images:
            net(batch)
    weighted = [module for module in net.modules() if isinstance(module, WEIGHTED)]
    for module in weighted:
        parametrize.register_parametrization(module, "weight", RoundedWeight())
    try:
        with _hooks((module, own.round) for module, own in ranges):
            yield
    finally:
        for module in weighted:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


@contextmanager
def _hooks(pairs: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
