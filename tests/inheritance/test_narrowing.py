"""Weights in a network of the same rows with fewer channels."""

from __future__ import annotations

import pytest
import torch
from made_networks import NETWORKS, made_network, pictures

from nas.arch.layers import Conv, SqueezeExcite, layer_role
from nas.arch.operators import operators
from nas.inheritance.narrowing import narrowed, shared_outputs
from nas.search.netadapt import reductions

every_network = pytest.mark.parametrize("name", NETWORKS)


def answers(net, arch):
    with torch.inference_mode():
        return net.eval()(pictures(arch, 5, 3))


def silence(net, old, new):
    """Have as many channels as `new` lacks be zero for every picture; which ones is by lot."""
    dead = torch.tensor([], dtype=torch.long)
    with torch.no_grad():
        for row, fewer in zip(operators(old), operators(new), strict=True):
            for layer, small in zip(row.layers, fewer.layers, strict=True):
                if not isinstance(layer, Conv):
                    continue
                if layer.groups == 1:  # by the sizes alone: the same in rows of one bottleneck
                    draws = torch.Generator().manual_seed(layer.cout)
                    dead = torch.randperm(layer.cout, generator=draws)[: layer.cout - small.cout]
                module = net.get_submodule(f"{row.place}.{layer_role(layer)}")
                module.conv.weight[dead] = 0
                module.bn.weight[dead] = 0
                module.bn.bias[dead] = 0
                module.bn.running_mean[dead] = 0


def squeezes(arch):
    layers = (layer for row in operators(arch) for layer in row.layers)
    return [layer.squeeze for layer in layers if isinstance(layer, SqueezeExcite)]


@every_network
def test_a_network_of_the_same_size_answers_the_same(name):
    arch = NETWORKS[name]
    net = made_network(arch)
    assert torch.equal(answers(narrowed(net, arch, arch), arch), answers(net, arch))


@every_network
def test_channels_that_are_zero_for_every_picture_go_first(name):
    arch, seen = NETWORKS[name], 0
    for _, smaller in reductions(arch):
        for _, new in smaller:
            if squeezes(new) != squeezes(arch):
                continue  # a gate of fewer units is another
            net = made_network(arch)
            silence(net, arch, new)
            found = answers(narrowed(net, arch, new), arch)
            assert torch.allclose(found, answers(net, arch), atol=1e-5)
            seen += 1
    assert seen


@every_network
def test_every_reduction_answers_with_weights_of_its_own(name):
    arch = NETWORKS[name]
    net = made_network(arch)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    for _, smaller in reductions(arch):
        for _, new in smaller:
            small = narrowed(net, arch, new)
            assert answers(small, arch).isfinite().all()
            with torch.no_grad():
                for tensor in small.parameters():
                    tensor.zero_()
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def test_rows_that_residuals_join_put_out_the_same_channels():
    found = shared_outputs(operators(NETWORKS["mobilenet_v2"]))
    assert found == [
        *("stem", "stem", "stage2_block1", "stage2_block1", "stage3_block1", "stage3_block1"),
        *("head", "head", "classifier"),
    ]
