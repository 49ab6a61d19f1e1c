"""The gradient of global pooling is autograd's own, in the layout of the maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.network.pooling import GlobalPool, is_global_pool, pool_globally
from nas.network.quick import quick_gradients

LAST = torch.channels_last


def maps(channels=6, height=5, width=3, dtype=torch.float32, order=LAST):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(4, channels, height, width, generator=draws, dtype=dtype)
    return x.contiguous(memory_format=order).requires_grad_()


def gradient(pool, x):
    weights = torch.arange(x.shape[1], dtype=x.dtype)[:, None, None] - 1.3
    return torch.autograd.grad((pool(x) * weights).sum(), x)[0]


@pytest.mark.parametrize("sides", [(5, 3), (4, 4), (1, 7), (1, 1)])
@pytest.mark.parametrize("order", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_values_and_gradients_are_torchs_to_the_bit(dtype, order, sides):
    x = maps(6, *sides, dtype, order)
    theirs = F.adaptive_avg_pool2d(x, 1)
    assert torch.equal(pool_globally(x), theirs)
    found = gradient(pool_globally, x)
    assert torch.equal(found, gradient(lambda x: F.adaptive_avg_pool2d(x, 1), x))
    assert found.is_contiguous(memory_format=order)


def test_second_derivatives_are_right():
    x = maps(dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: pool_globally(x.square()), x)


def test_nothing_is_recorded_where_no_gradient_is_asked_for():
    with torch.no_grad():
        assert pool_globally(maps()).grad_fn is None
    assert pool_globally(maps().detach()).grad_fn is None
    assert "GlobalPool" in type(pool_globally(maps()).grad_fn).__name__


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit itself
def test_tracing_and_export_see_a_plain_pooling():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1))
    x = maps(3)
    with quick_gradients(net):
        traced = torch.jit.trace(net, x)
        exported = torch.export.export(net, (x,))
    assert "adaptive_avg_pool2d" in str(traced.inlined_graph)
    assert "adaptive_avg_pool2d" in str(exported.graph)
    torch.testing.assert_close(traced(x), net(x))


def test_only_global_poolings_are_quickened():
    assert is_global_pool(nn.AdaptiveAvgPool2d(1))
    assert is_global_pool(nn.AdaptiveAvgPool2d((1, 1)))
    assert not is_global_pool(nn.AdaptiveAvgPool2d((1, None)))
    assert not is_global_pool(nn.AvgPool2d(1))
    assert not is_global_pool(GlobalPool(1))
