"""What each ablation changes, in which networks, and that it changes nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.ablate.ablations import ABLATIONS, variants_of
from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import BLOCKS, Block
from nas.arch.cost import cost
from nas.arch.layers import Conv, SqueezeExcite
from nas.arch.operators import network_id, operators
from nas.network.modules import build
from search_spaces.lookup import PUBLISHED

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "mnasnet_a1")
LEFT_OUT = {
    "mobilenet_v1": {"no_residual", "activated_bottleneck", "relu6", "no_se", "kernel_3",
                     "expand_1"},
    "mobilenet_v2": {"relu6", "no_se", "kernel_3"},
    "mobilenet_v3_small": set(),
    "efficientnet_b0": {"se"},
    "mnasnet_a1": {"relu"},
}  # fmt: skip


def layers(arch):
    return [layer for row in operators(arch) for layer in row.layers]


def convs(arch):
    return [layer for layer in layers(arch) if isinstance(layer, Conv)]


def by_name(arch):
    return {variant.name: variant.arch for variant in variants_of(arch, list(ABLATIONS))[0]}


@pytest.mark.parametrize("name", NAMES)
def test_which_ones_a_network_can_have_follows_from_it(name):
    variants, unchanged = variants_of(PUBLISHED[name], list(ABLATIONS))
    assert set(unchanged) == LEFT_OUT[name]
    assert [v.name for v in variants] == ["network", *(n for n in ABLATIONS if n not in unchanged)]
    assert variants[0].arch == PUBLISHED[name]
    assert len({network_id(v.arch) for v in variants}) == len(variants)


def test_of_those_asked_for_each_is_there_once():
    variants, unchanged = variants_of(PUBLISHED["mobilenet_v2"], ["relu", "relu6", "relu"])
    assert ([v.name for v in variants], unchanged) == (["network", "relu"], ["relu6"])
    assert variants[1].arch.name == "mobilenet_v2_relu"


@pytest.mark.parametrize("name", NAMES)
def test_each_does_what_it_says(name):
    arch, found = PUBLISHED[name], by_name(PUBLISHED[name])
    same = cost(arch)
    assert not any(row.residual for row in operators(found.get("no_residual", arch))[1:]) or (
        "no_residual" not in found
    )
    for act in {"relu", "relu6", "hswish"} & found.keys():
        acts = {conv.act for conv in convs(found[act]) if conv.act}
        assert acts == {act}
        assert cost(found[act]) == same
    for cheap in {"no_residual", "activated_bottleneck"} & found.keys():
        assert cost(found[cheap]) == same
    if "activated_bottleneck" in found:
        projected = [c.act for c in convs(found["activated_bottleneck"]) if c.role == "project"]
        assert all(projected)
    if "no_se" in found:
        assert not any(isinstance(layer, SqueezeExcite) for layer in layers(found["no_se"]))
    if "se" in found:
        body = [row for row in operators(found["se"]) if row.place.startswith("stage")]
        assert all(any(isinstance(x, SqueezeExcite) for x in row.layers) for row in body)
    for side in (3, 5):
        if f"kernel_{side}" in found:
            body = [c for c in convs(found[f"kernel_{side}"]) if c.role == "depthwise"]
            assert {conv.kernel for conv in body} == {side}
    if "expand_1" in found:
        assert all(c.role != "expand" for c in convs(found["expand_1"]))
    full = found["full_convolution"]
    assert all(conv.groups == 1 for conv in convs(full))
    assert cost(full).macs > 2 * same.macs


def test_squeeze_and_excitation_is_that_of_the_network():
    arch = PUBLISHED["mobilenet_v3_small"]
    kinds = {(x.act, x.gate) for x in layers(arch) if isinstance(x, SqueezeExcite)}
    found = {(x.act, x.gate) for x in layers(by_name(arch)["se"]) if isinstance(x, SqueezeExcite)}
    assert found == kinds == {("relu", "hsigmoid")}


def test_mobilenet_v1_with_full_convolutions_is_that_of_its_table_4():
    full = by_name(PUBLISHED["mobilenet_v1"])["full_convolution"]
    assert cost(full).macs / 1e6 == pytest.approx(4866, rel=0.001)
    assert cost(full).params / 1e6 == pytest.approx(29.3, rel=0.005)


def test_pointwise_kernels_and_those_that_are_not_there_stay():
    arch = Arch((Stage(8, blocks=Block(op="conv", kernel=1)), Stage(8)), Stem(8), resolution=32)
    found = by_name(arch)
    assert [s.blocks.kernel for s in found["kernel_5"].stages] == [1, 5]
    assert "kernel_3" not in found


@pytest.mark.parametrize("name", ["mobilenet_v2_0.35", "mobilenet_v3_small_0.35"])
def test_every_variant_is_a_network_of_its_parameters(name):
    for variant in variants_of(replace(PUBLISHED[name], resolution=32), list(ABLATIONS))[0]:
        net = build(variant.arch, seed=0)
        assert sum(p.numel() for p in net.parameters()) == cost(variant.arch).params


def test_a_full_counterpart_is_a_kind_of_block():
    assert {kind.full for kind in BLOCKS.values()} - {""} <= BLOCKS.keys()
