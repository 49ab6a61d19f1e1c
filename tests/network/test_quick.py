"""Layers are lent their quicker gradients, and are afterwards what they were."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from nas.network.depthwise import DepthwiseConv2d
from nas.network.pooling import GlobalPool
from nas.network.quick import quick_gradients


def network():
    torch.manual_seed(0)
    depthwise = nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False)
    layers = [depthwise]
    for act in (nn.ReLU(inplace=True), nn.ReLU6(True), nn.Hardswish(True), nn.SiLU(True)):
        layers += [nn.BatchNorm2d(4), act]
    return nn.Sequential(*layers, nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1))


def test_a_module_is_afterwards_what_it_was():
    net = network()
    said, before = repr(net), {key: value.clone() for key, value in net.state_dict().items()}
    with quick_gradients(net):
        assert (type(net[0]), type(net[-1])) == (DepthwiseConv2d, GlobalPool)
        assert [net[i].inplace for i in (2, 4, 6, 8)] == [True, False, False, False]
        assert list(net.state_dict()) == list(before)
    with pytest.raises(RuntimeError, match="groups=3"), quick_gradients(net):
        net(torch.zeros(1, 3, 4, 4))
    assert repr(net) == said
    assert (type(net[0]), type(net[-1])) == (nn.Conv2d, nn.AdaptiveAvgPool2d)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    torch.save(net, io.BytesIO())


def test_nested_use_gives_back_what_it_found():
    net = network()
    with quick_gradients(net):
        with quick_gradients(net):
            pass
        assert (type(net[0]), type(net[-1])) == (DepthwiseConv2d, GlobalPool)
        assert not net[4].inplace


def test_gradients_are_autograds():
    net, x = network(), torch.randn(3, 4, 9, 9).contiguous(memory_format=torch.channels_last)
    net.to(memory_format=torch.channels_last)
    wanted = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    with quick_gradients(net):
        found = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_backward_pass_of_a_network_stays_channels_last():
    """What batch norm before the pooling is given: it took the layout of NCHW, and was slow."""
    net, seen = network(), []
    net.to(memory_format=torch.channels_last)
    x = torch.randn(3, 4, 9, 9).contiguous(memory_format=torch.channels_last)
    net[-2].register_full_backward_hook(lambda module, into, out: seen.append(out[0]))
    with quick_gradients(net):
        net(x).square().sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
