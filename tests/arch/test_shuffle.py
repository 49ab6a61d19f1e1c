"""ShuffleNetV2's unit: branches, concatenation, shuffle, in all that reads layers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nas.arch import Arch, Block, Head, Stage, Stem, cost, dumps, loads, operators
from nas.arch.layers import Concat, MaxPool, Shuffle, Split, layer_role
from nas.arch.notation import arch_string
from nas.core.errors import UserError
from nas.latency.block_features import signature
from nas.network.modules import build
from nas.network.onnx_graph import onnx_model
from nas.profile.table import table_rows
from nas.profile.thop import count_with_thop
from nas.space import choices, fill, one_of, picks_of, random_picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.supernet import Supernet, extract, recalibrate


def stage(width: int, stride: int) -> Stage:
    block = Block(
        op=one_of("shuffle", "mbconv", "identity"),
        kernel=one_of(3, 5),
        se=one_of(0, 0.25),
        expand=2,
    )
    widths = one_of(width, width + 6)
    return Stage(width=widths, depth=one_of(0, 1, 3), stride=stride, blocks=(block, block, block))


SPACE = Arch(
    (
        Stage(width=8, stride=2, blocks=Block(op=one_of("maxpool", "shuffle"))),
        stage(12, 2),
        stage(12, 1),
    ),
    Stem(8),
    Head(16, dropout=0.0),
    resolution=33,
    classes=5,
)
seeds = st.integers(0, 10_000)


def drawn(seed: int) -> Arch:
    return fill(SPACE, random_picks(SPACE, random.Random(seed)))


def unit(cin: int, cout: int, stride: int = 1, **fields: object) -> Arch:
    """A network of one unit on a stem of `cin` channels."""
    stages = (Stage(cout, 1, stride, Block("shuffle", **fields)),)
    return Arch(stages, Stem(cin, stride=1), Head(0, dropout=0.0), resolution=9, classes=3)


# ---- the unit


def test_the_basic_unit_is_figure_3c():
    row = operators(unit(16, 16))[1]
    assert [layer_role(layer) for layer in row.layers] == [
        "left", "right", "right_first", "right_depthwise", "right_last", "concat", "shuffle"
    ]  # fmt: skip
    assert row.layers[:2] == (Split("left", 16, 0, 8, 9), Split("right", 16, 8, 8, 9))
    assert row.layers[-2:] == (Concat(16, 9), Shuffle(16, 2, 9))
    assert [row.layers[i].act for i in (2, 3, 4)] == ["relu", "", "relu"]
    assert not row.residual


@pytest.mark.parametrize(("cin", "cout", "stride"), [(16, 24, 2), (16, 16, 2), (16, 24, 1)])
def test_where_the_shape_changes_it_is_figure_3d(cin, cout, stride):
    row = operators(unit(cin, cout, stride))[1]
    roles = [layer_role(layer) for layer in row.layers]
    assert roles[:4] == ["left_depthwise", "left_last", "right", "right_first"]
    assert row.layers[2] == Split("right", cin, 0, cin, 9)
    assert row.layers[-2] == Concat(cout, -(-9 // stride))


def test_the_left_half_goes_through_and_the_channels_alternate():
    net, x = build(unit(8, 8), seed=0).eval(), torch.randn(2, 8, 9, 9)
    with torch.inference_mode():
        out = net.get_submodule("stage1_block1")(x)
    assert torch.equal(out[:, 0::2], x[:, :4])


def test_an_odd_width_is_refused():
    with pytest.raises(UserError, match="its width must be even, not 15"):
        operators(unit(15, 15))


def test_it_is_written_and_read():
    arch = unit(16, 24, 2, kernel=5, act="hswish", se=0.25)
    assert loads(dumps(arch)) == arch
    assert "shuffle_k5_s2_c24_se0.25_hswish_d1" in arch_string(arch)
    pooled = replace(arch, stages=(Stage(16, 1, 2, Block("maxpool")), *arch.stages))
    assert "maxpool_s2_c16_d1 | shuffle_k5" in arch_string(pooled)
    assert [row.op for row in operators(pooled)][1:3] == ["maxpool", "shuffle"]
    assert operators(pooled)[1].layers == (MaxPool(16, 9),)


# ---- random networks of a space


@settings(max_examples=12)
@given(seeds)
def test_torch_counts_twice_the_multiply_adds_and_onnx_answers_alike(seed):
    arch = drawn(seed)
    net, image = build(arch, seed=seed).eval(), torch.randn(2, 3, 33, 33)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        logits = net(image)
    assert counter.get_total_flops() == 2 * 2 * cost(arch).macs
    model = onnx_model(arch, {name: t.numpy() for name, t in net.state_dict().items()}, batch=2)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"image": image.numpy()})
    assert np.allclose(answer, logits, atol=1e-4)


@settings(max_examples=12)
@given(seeds)
def test_networks_train_and_the_trellis_counts_them(seed):
    arch = drawn(seed)
    net = build(arch, seed=0)
    net(torch.randn(2, 3, 33, 33)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert fill(SPACE, picks_of(SPACE, arch)) is not None
    trellis = Trellis(SPACE)
    counts = trellis.costs(trellis.encode([picks_of(SPACE, arch)]))
    ours = cost(arch)
    assert (counts.macs[0], counts.params[0]) == (ours.macs, ours.params)


def test_a_supernet_extracts_what_it_activates():
    supernet, images = Supernet(SPACE), torch.randn(4, 3, 33, 33)
    for seed in range(8):
        arch = drawn(seed)
        supernet.activate(arch)
        net = extract(supernet, arch)
        with torch.no_grad():
            assert torch.allclose(supernet(images), net.train()(images), atol=1e-4)
        recalibrate(net, [(images, torch.zeros(4))])
        assert net(images).isfinite().all()


def test_thop_finds_nothing_more():
    first = {key: labels[0] for key, labels in choices(SPACE).items()}
    arch = fill(SPACE, first | {"stages.1.depth": 3, "stages.2.depth": 3})
    assert {row.op for row in operators(arch)} >= {"maxpool", "shuffle"}
    counts = count_with_thop(arch)
    assert counts["total"] == cost(arch).macs + counts["norms"] + counts["pools"]


# ---- tables


def test_tables_describe_it():
    rows = operators(unit(16, 24, 2))
    assert signature(rows[1]) | {"act": "relu"} == signature(rows[1])
    assert [signature(rows[1])[k] for k in ("op", "kernel", "stride", "linear")] == [
        "shuffle",
        3,
        2,
        0,
    ]
    described = table_rows(unit(16, 24, 2))[1]
    assert (described["operator"], described["kernel"], described["stride"]) == ("shuffle", 3, 2)
