"""Batch norms of several processes that normalise by the mean and variance of the whole batch.

`nn.SyncBatchNorm` does so on GPUs alone, and is a module of another kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.training.processes import rows_of_ranks, sum_over_ranks, together


def whole_batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (N, C, H, W), normalised by mean and variance of the x of all processes."""
    # torch gives `apply` no types
    return _Normalised.apply(  # type: ignore[no-any-return, no-untyped-call]
        x, weight, bias, *whole_statistics(x.detach()), eps
    )


class WholeBatchNorm2d(nn.BatchNorm2d):
    """An `nn.BatchNorm2d` with factors, offsets and running statistics, over all processes.

    In training it computes, running statistics included, what one would for the images of all.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if not self.training:
            return super().forward(input)
        mean, variance, number = whole_statistics(input.detach())
        average, spread, seen = self.running_mean, self.running_var, self.num_batches_tracked
        assert average is not None
        assert spread is not None
        assert seen is not None
        assert self.momentum is not None
        average.lerp_(mean, self.momentum)
        spread.lerp_(variance * number / (number - 1), self.momentum)
        seen += 1
        given = (input, self.weight, self.bias, mean, variance, number, self.eps)
        # torch gives `apply` no types
        return _Normalised.apply(*given)  # type: ignore[no-any-return, no-untyped-call]


@torch.no_grad()
def whole_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,) and variance (C,), divided by N, of the x (N, C, H, W) of all processes; and N.

    N, a scalar, counts images times pixels.
    """
    # Much quicker than torch.var_mean; its answers are float32 because these are
    unused = torch.zeros(2, x.shape[1], device=x.device)
    mean, variance = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)
    number = mean.new_full((1,), x.numel() // x.shape[1])
    all_of_them = rows_of_ranks(torch.cat([mean, variance, number]))  # (processes, 2 C + 1)
    means, variances, numbers = torch.split(all_of_them, [len(mean), len(mean), 1], 1)
    total = numbers.sum()
    mean = (numbers * means).sum(0) / total
    variance = (numbers * (variances + (means - mean).square())).sum(0) / total
    return mean, variance, total


class _Normalised(torch.autograd.Function):
    """x, normalised by statistics of all processes, of which its gradient takes account.

    The gradients by weight and bias are those of this process's images.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        number: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, number)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, number = ctx.saved_tensors
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )  # as if mean and variance did not depend on x
        slopes = sum_over_ranks(torch.stack([by_weight, by_bias])) / number
        slopes *= weight * (variance + ctx.eps).rsqrt()
        by_x -= F.batch_norm(x, mean, variance, slopes[0], slopes[1], eps=ctx.eps)
        return by_x, by_weight, by_bias, None, None, None, None


@contextmanager
def norms_of_whole_batch(module: nn.Module) -> Iterator[None]:
    """Make the batch norms inside `module` WholeBatchNorm2d for the time being; alone, none.

    Parameters and state-dict keys stay, and afterwards every layer is as it was.
    """
    layers = [m for m in module.modules() if type(m) is nn.BatchNorm2d] if together() else []
    try:
        for layer in layers:
            layer.__class__ = WholeBatchNorm2d
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.BatchNorm2d
