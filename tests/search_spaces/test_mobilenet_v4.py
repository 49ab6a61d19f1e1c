"""MobileNetV4's block and space: its four instances, its stride, its members, its weights."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import needs_shared, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import SPACES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import BLOCKS, Block
from nas.arch.cost import cost
from nas.arch.layers import Conv, MaxPool, layer_role
from nas.arch.notation import arch_string
from nas.arch.operators import network_id, operators
from nas.arch.scaling import for_resolution
from nas.arch.serialization import dumps, loads
from nas.core.errors import UserError
from nas.latency.block_features import row_form, signature
from nas.latency.model import row_counts
from nas.network.modules import Network, build
from nas.network.onnx_graph import onnx_model
from nas.network.weights import load_weights
from nas.profile.table import table_rows
from nas.space.choices import choices, fill, one_of, picks_of, random_picks
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import PUBLISHED, adapted, members
from search_spaces.mobilenet_v4 import mobilenet_v4

SMALL, MEDIUM = PUBLISHED["mobilenet_v4_conv_small"], PUBLISHED["mobilenet_v4_conv_medium"]
INSTANCES = {  # first kernel, kernel: roles of the layers, and which of them has the stride
    (5, 3): (["first_depthwise", "expand", "depthwise", "project"], 2),
    (0, 3): (["expand", "depthwise", "project"], 1),
    (5, 0): (["first_depthwise", "expand", "project"], 0),
    (0, 0): (["max_pool", "expand", "project"], 0),
}


def one_block(block: Block, stride: int = 1, width: int = 8, side: int = 7) -> Arch:
    head = Head(16, hidden=8, hidden_layer="conv_norm")
    return Arch((Stage(width, 1, stride, block),), Stem(8, stride=1), head, side, classes=3)


@pytest.mark.parametrize(("first", "kernel"), INSTANCES)
def test_each_instance_has_its_layers_and_its_stride(first, kernel):
    roles, strided = INSTANCES[first, kernel]
    block = Block("uib", kernel=kernel, expand=2.3, first_kernel=first)
    layers = BLOCKS["uib"].layers(block, 24, 40, 2, 15)
    assert [layer_role(layer) for layer in layers] == roles
    sides = [15] * (strided + 1) + [8] * (len(roles) - strided - 1)
    assert [layer.side for layer in layers] == sides
    for i, layer in enumerate(layers):
        if isinstance(layer, Conv):
            assert layer.stride == (2 if i == strided else 1)
            assert bool(layer.act) == (layer.role in {"expand", "depthwise"})
            assert layer.norm
        else:
            assert (i, layer) == (strided, MaxPool(24, 15))
    assert layers[-1].cin == 56  # 55.2, rounded to a multiple of 8
    still = [layer_role(x) for x in BLOCKS["uib"].layers(block, 24, 24, 1, 15)]
    assert still == [role for role in roles if role != "max_pool"]


def test_a_projection_can_be_activated_and_a_residual_left_out():
    block = Block("uib", linear=False, skip=False)
    row = operators(one_block(block))[1]
    assert (row.layers[-1].act, row.residual) == ("relu", False)
    assert operators(one_block(replace(block, skip=True)))[1].residual


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": "mbconv", "kernel": 0}, "kernel must be a whole number from 1 to 31, not 0"),
        ({"op": "mbconv", "kernel": one_of(0, 3)}, "kernel must be a whole number from 1"),
        ({"op": "uib", "kernel": -1}, "kernel must be a whole number from 0"),
        ({"op": "uib", "kernel": 2}, "kernel must be odd, not 2"),
        ({"op": "uib", "first_kernel": 4}, "first_kernel must be odd, not 4"),
        ({"op": "uib", "first_kernel": 3.0}, "first_kernel must be a whole number from 0 to 31"),
    ],
)
def test_wrong_kernels_get_one_line(fields, message):
    with pytest.raises(UserError, match=message):
        Block(**fields)


def test_a_kernel_of_none_waits_for_the_kind_that_is_chosen():
    space = one_block(Block(one_of("uib", "mbconv"), kernel=one_of(0, 3)))
    picks = {"stages.0.blocks.op": "uib", "stages.0.blocks.kernel": 0}
    assert operators(fill(space, picks))[1].op == "uib"
    with pytest.raises(UserError, match="kernel must be a whole number from 1"):
        fill(space, {**picks, "stages.0.blocks.op": "mbconv"})


# -- one list of layers, read by all --------------------------------------------------------------


def uib_blocks() -> st.SearchStrategy[Block]:
    return st.builds(
        Block,
        op=st.just("uib"),
        kernel=st.sampled_from((0, 3, 5)),
        first_kernel=st.sampled_from((0, 3, 5)),
        expand=st.sampled_from((1, 2, 2.5)),
        se=st.sampled_from((0, 0.25)),
        act=st.sampled_from(("relu", "hswish")),
    )


@settings(max_examples=15)
@given(
    block=uib_blocks(),
    stride=st.sampled_from((1, 2)),
    width=st.sampled_from((8, 16)),
    side=st.integers(4, 9),
    padding=st.sampled_from(("symmetric", "same")),
)
def test_torch_and_onnx_compute_what_cost_counts(block, stride, width, side, padding):
    arch = replace(one_block(block, stride, width, side), padding=padding)
    net = build(arch, seed=0)
    x = torch.randn(8, 3, side, side)
    net(x)  # statistics of their own
    net.eval()
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            net(x[:1])
        want = net(x[:1])
    if padding == "symmetric":  # SAME runs a depthwise convolution on a pixel more
        assert counter.get_total_flops() == 2 * cost(arch).macs
    assert sum(p.numel() for p in net.parameters()) == cost(arch).params
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    model = onnx_model(arch, weights).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": x[:1].numpy()})
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-3, atol=1e-4)
    assert loads(dumps(arch)) == arch


def test_networks_that_differ_in_a_kernel_are_told_apart():
    archs = [
        one_block(Block("uib", kernel=k, first_kernel=f)) for k in (0, 3, 5) for f in (0, 3, 5)
    ]
    for known in (
        network_id,
        arch_string,
        repr,
        lambda a: str(signature(operators(a)[1])),
        lambda a: row_form(operators(a)[1]),
    ):
        assert len({known(arch) for arch in archs}) == 9
    row = table_rows(one_block(Block("uib", kernel=0, first_kernel=5, expand=3)))[1]
    assert (row["first_kernel"], row["kernel"], row["hidden"], row["expand"]) == (5, None, 24, 3)
    assert "first_kernel" not in repr(Block())  # spaces of before are known by their repr


# -- the space ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [28, 224])
def test_small_and_medium_are_members(side):
    width = 1.0 if side == 224 else 0.25
    space = for_resolution(mobilenet_v4(width=width, channels=1, classes=10), side)
    names = [f"mobilenet_v4_conv_{n}{'' if width == 1 else '_0.25'}" for n in ("small", "medium")]
    found = members(space, width)
    assert list(found) == names
    for name in names:
        assert network_id(fill(space, found[name])) == network_id(adapted(name, space))
    with pytest.raises(UserError):
        picks_of(space, adapted("mobilenet_v4_conv_large", space))


def test_random_networks_have_all_four_instances_and_fit():
    space, rng = SPACES["mobilenet_v4_28"], random.Random(0)
    seen = set()
    for _ in range(20):
        arch = fill(space, random_picks(space, rng))
        for row in operators(arch):
            if row.op == "uib":
                seen.add(tuple(layer_role(layer) for layer in row.layers))
        assert fill(space, picks_of(space, arch)) is not None
    assert {roles for roles in seen if "max_pool" not in roles} == {
        tuple(r for r in roles if r != "max_pool") for roles, _ in INSTANCES.values()
    }
    assert len(choices(space)) == 75


def test_the_latency_table_tells_all_blocks_of_the_space_apart():
    rows = Trellis(SPACES["mobilenet_v4"]).rows
    kinds = {repr((row.layers, row.residual)) for row in rows}
    assert len(kinds) == len({str(signature(row)) for row in rows})
    assert any("maxpool.calls" in row_counts(row) for row in rows)


# -- published weights --------------------------------------------------------------------------

TIMM = (  # our place in a network, timm's; ConvNormAct's norm is `bn`, of other layers beside them
    ("stem.conv.conv", "conv_stem"), ("stem.conv.bn", "bn1"), ("hidden.hidden.conv", "conv_head"),
    ("hidden.hidden.bn", "norm_head"), ("classifier.linear.linear", "classifier"),
)  # fmt: skip
TIMM_BLOCK = {
    "first_depthwise.conv": "dw_start.conv", "first_depthwise.bn": "dw_start.bn",
    "expand.conv": "pw_exp.conv", "expand.bn": "pw_exp.bn", "depthwise.conv": "dw_mid.conv",
    "depthwise.bn": "dw_mid.bn", "conv.conv": "conv", "conv.bn": "bn1", "fused.conv": "conv_exp",
    "fused.bn": "bn1",
}  # fmt: skip


def as_timm(net: Network) -> dict[str, torch.Tensor]:
    """The state of `net` under the names that timm gives it, whose blocks are of its stages."""
    rows = [name for name, _ in net.named_children() if name.startswith("stage")]
    stages = {"1": 0, "2": 1, "3": 1, "4": 2, "5": 3}  # our third is of the second halving
    if "stage3_block1" not in rows:
        stages = {"1": 0, "2": 1, "4": 2, "5": 3}
    index: dict[str, str] = {"head": "blocks.4.0"}
    counts = [0] * 4
    for row in rows:
        stage = stages[row[5]]
        index[row] = f"blocks.{stage}.{counts[stage]}"
        counts[stage] += 1
    names = dict(TIMM)
    state = {}
    for key, value in net.state_dict().items():
        module, _, tensor = key.rpartition(".")
        row, _, part = module.partition(".")
        if module not in names:
            fused = row in rows and hasattr(net.get_submodule(row), "fused")
            project = {"project.conv": "conv_pwl", "project.bn": "bn2"} if fused else {
                "project.conv": "pw_proj.conv", "project.bn": "pw_proj.bn"}  # fmt: skip
            names[module] = f"{index[row]}.{(TIMM_BLOCK | project)[part]}"
        state[f"{names[module]}.{tensor}"] = value
    return state


@pytest.mark.parametrize("name", ["mobilenet_v4_conv_small", "mobilenet_v4_conv_medium"])
def test_timms_names_are_understood(name, rng):
    net, other = (build(PUBLISHED[f"{name}_0.25"], seed=seed) for seed in (1, 2))
    state = as_timm(net)
    assert load_weights(other, {k: state[k] for k in rng.sample(list(state), len(state))}) == ()
    theirs = other.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in net.state_dict().items())


@needs_shared
@pytest.mark.parametrize("name", ["small", "large"])
def test_every_convolution_is_in_its_place(name):
    arch = PUBLISHED[f"mobilenet_v4_conv_{name}"]
    rows = reference("mobilenet_v4")["models"][f"timm:mobilenetv4_conv_{name}"]["rows"]
    layers = [x for row in operators(arch) for x in row.layers if isinstance(x, Conv)]
    found = [[x.cin, x.cout, x.kernel, x.stride, x.groups, x.side_out] for x in layers]
    assert found == [[*row[1:6], row[7]] for row in rows if row[0] == "conv"]


def test_widths_below_one_leave_stem_and_last_convolution():
    half = PUBLISHED["mobilenet_v4_conv_small_0.5"]
    assert (half.stem.width, half.head.hidden, half.head.width) == (32, 1280, 480)
    # what its authors state: 2.2 million parameters
    assert round(cost(half).params / 1e6, 2) == 2.24
    assert (round(cost(MEDIUM).params / 1e6, 2), round(cost(MEDIUM).macs / 1e9, 2)) == (9.72, 1.08)
    assert PUBLISHED["mobilenet_v4_conv_large"].stem.width == 24
    assert [m for m in build(SMALL).hidden.modules() if isinstance(m, nn.BatchNorm2d)]
