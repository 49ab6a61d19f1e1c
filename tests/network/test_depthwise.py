"""The quicker depthwise gradients are autograd's own, and are used only where they may be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.layers import Conv, same_padding
from nas.network import depthwise
from nas.network.depthwise import (
    DepthwiseConv2d,
    dense_weight_gradient,
    depthwise_conv2d,
    flipped_input_gradient,
    is_depthwise,
    shifted_weight_gradient,
)
from nas.network.modules import ConvNormAct
from nas.network.quick import quick_gradients

CHANNELS = 6


@pytest.fixture
def everywhere(monkeypatch):
    """Have the rewritten gradients used on whatever machine this is."""
    monkeypatch.setattr(depthwise, "_pays", lambda x, kernel, stride: True)


def case(kernel, stride, height, width, num=3, dtype=torch.float64):
    draws = torch.Generator().manual_seed(kernel + 10 * stride + 100 * height + 1000 * width)
    x = torch.randn(num, CHANNELS, height, width, generator=draws, dtype=dtype)
    weight = torch.randn(CHANNELS, 1, kernel, kernel, generator=draws, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_()


def torchs(x, weight, stride):
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=CHANNELS)


@settings(max_examples=25)
@given(
    kernel=st.sampled_from([3, 5, 7, 9]),
    stride=st.sampled_from([1, 2, 3]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    num=st.integers(1, 3),
    channels_last=st.booleans(),
)
def test_every_formula_gives_autograds_gradients(kernel, stride, height, width, num, channels_last):
    x, weight = case(kernel, stride, height, width, num)
    if channels_last:
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y = torchs(x, weight, stride)
    grad = y.detach().cos()
    by_x, by_weight = torch.autograd.grad(y, (x, weight), grad)
    torch.testing.assert_close(flipped_input_gradient(grad, x, weight, stride), by_x)
    torch.testing.assert_close(dense_weight_gradient(grad, x, weight, stride), by_weight)
    if kernel > 3:
        torch.testing.assert_close(shifted_weight_gradient(grad, x, weight, stride), by_weight)


@pytest.mark.parametrize("side", [4, 8])  # dense products, and for 5x5 shifts too
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_gradcheck(everywhere, kernel, stride, side):
    x, weight = case(kernel, stride, side, side - 1, num=1)
    assert torch.autograd.gradcheck(
        lambda x, weight: depthwise_conv2d(x, weight, stride), (x, weight), fast_mode=True
    )


@pytest.mark.parametrize("side", [5, 14])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_layer_equals_torchs_in_float32(everywhere, kernel, stride, side):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, kernel // 2, groups=CHANNELS, bias=False)
    )
    x = torch.randn(4, CHANNELS, side, side, requires_grad=True)
    wanted = torch.autograd.grad(net(x).square().sum(), (x, net[0].weight))
    with quick_gradients(net):
        assert type(net[0]) is DepthwiseConv2d
        found = torch.autograd.grad(net(x).square().sum(), (x, net[0].weight))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_bfloat16_is_as_near_to_float32_as_torchs_own(everywhere, kernel, stride):
    x, weight = (
        t.detach().bfloat16().requires_grad_() for t in case(kernel, stride, 14, 14, num=8)
    )
    y = torchs(x.float(), weight.float(), stride)
    grad = y.detach().cos().bfloat16()
    exact = torch.autograd.grad(y, (x, weight), grad.float())
    ours = torch.autograd.grad(depthwise_conv2d(x, weight, stride), (x, weight), grad)
    for one, other in zip(ours, exact, strict=True):
        error = (one.float() - other.float()).norm() / other.float().norm()
        assert error < 0.01  # bfloat16 keeps 8 bits: rounding the exact result costs 0.2 %


def test_used_twice_in_one_graph(everywhere):
    x, weight = case(5, 1, 6, 6)
    found, wanted = (
        torch.autograd.grad(conv(conv(x, weight, 1).relu(), weight, 1).square().sum(), (x, weight))
        for conv in (depthwise_conv2d, torchs)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_second_derivatives(everywhere):
    x, weight = case(5, 1, 4, 4, num=1)
    assert torch.autograd.gradgradcheck(
        lambda x, weight: depthwise_conv2d(x, weight, 1), (x, weight), fast_mode=True
    )


def test_only_the_gradients_that_are_wanted(everywhere):
    x, weight = case(5, 1, 6, 6)
    depthwise_conv2d(x.detach(), weight, 1).sum().backward()
    assert weight.grad is not None
    depthwise_conv2d(x, weight.detach(), 1).sum().backward()
    assert x.grad is not None


def test_autocast_computes_in_bfloat16(everywhere):
    x, weight = case(5, 2, 6, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise_conv2d(x, weight, 2)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert weight.grad.dtype == x.grad.dtype == torch.float32


def test_without_gradients_it_is_torchs_convolution(everywhere):
    x, weight = case(7, 2, 9, 9, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(depthwise_conv2d(x, weight, 2), torchs(x, weight, 2))


@pytest.mark.parametrize(
    ("dtype", "kernel", "stride", "bf16", "pays"),
    [
        (torch.float32, 3, 1, True, False),
        (torch.float32, 3, 2, True, False),
        (torch.float32, 5, 1, False, True),
        (torch.float64, 5, 1, True, False),
        (torch.bfloat16, 3, 1, True, False),
        (torch.bfloat16, 3, 2, True, True),
        (torch.bfloat16, 7, 1, True, True),
        (torch.bfloat16, 7, 1, False, False),
    ],
)
def test_the_rule(monkeypatch, dtype, kernel, stride, bf16, pays):
    monkeypatch.setattr(depthwise, "cpu_is_x86", lambda: True)
    monkeypatch.setattr(depthwise, "cpu_has_bf16", lambda: bf16)
    x = torch.zeros(1, 1, 8, 8, dtype=dtype)
    assert depthwise._pays(x, kernel, stride) is pays
    assert not depthwise._pays(x.to("meta"), kernel, stride)
    monkeypatch.setattr(depthwise, "cpu_is_x86", lambda: False)
    if dtype == torch.float32:
        assert not depthwise._pays(x, kernel, stride)


@pytest.mark.parametrize(
    "change",
    [
        {"groups": 1},
        {"bias": True},
        {"padding": 1},
        {"dilation": 2},
        {"stride": (1, 2)},
        {"kernel_size": (5, 3)},
        {"padding_mode": "circular"},
        {"out_channels": 16},
        {"padding": "same"},
    ],
)
def test_other_convolutions_are_left_alone(change):
    plain = {"kernel_size": 5, "padding": 2, "groups": 8, "bias": False, "out_channels": 8}
    assert is_depthwise(nn.Conv2d(8, **plain))
    assert not is_depthwise(nn.Conv2d(8, **(plain | change)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit itself
def test_tracing_and_counting_see_a_plain_convolution():
    net = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False))
    x = torch.randn(2, 4, 9, 9)
    wanted = net(x)
    with quick_gradients(net):
        traced = torch.jit.trace(net, x)
        with FlopCounterMode(display=False) as counter:
            net(x)
    torch.testing.assert_close(traced(x), wanted)
    assert counter.get_total_flops() == 2 * 2 * 9 * 9 * 4 * 25
    assert "aten::_convolution" in str(traced.inlined_graph)


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (8, 5), (2, 3), (1, 1)])
def test_padding_as_tensorflow_does_is_depthwise_too(kernel, height, width):
    """It equals the convolution of a map that is padded on one side more, gradients included."""
    layer = Conv(
        role="depthwise", cin=CHANNELS, cout=CHANNELS, kernel=kernel, stride=2, groups=CHANNELS,
        side=8, act="hswish",
    )  # fmt: skip
    module = ConvNormAct(layer, "same", 1e-3, 0.1).double().eval()
    assert is_depthwise(module.conv)
    x, _ = case(kernel, 2, height, width)
    rows, columns = (same_padding(side, kernel, 2) for side in (height, width))
    padded = F.pad(x, (*columns, *rows))
    expected = module.act(module.bn(F.conv2d(padded, module.conv.weight, None, 2, groups=CHANNELS)))
    found = module(x)
    assert found.shape[2:] == (-(-height // 2), -(-width // 2))
    torch.testing.assert_close(found, expected)
    wanted = (x, module.conv.weight)
    gradients = (torch.autograd.grad(y.sin().sum(), wanted) for y in (found, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("side", "kernel"), [(2, 3), (1, 3), (2, 5), (4, 7)])
def test_maps_smaller_than_the_kernel_pay(monkeypatch, side, kernel):
    monkeypatch.setattr(depthwise, "cpu_is_x86", lambda: True)
    x, _ = case(kernel, 1, side, side, dtype=torch.float32)
    assert depthwise._pays(x, kernel, 1)
