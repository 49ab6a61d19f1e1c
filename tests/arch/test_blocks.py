"""A kind of block is one entry in `BLOCKS`: all that reads blocks learns it from there."""

from __future__ import annotations

import random

import numpy as np
import onnxruntime
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.arch import Arch, Block, Head, Stage, Stem, cost, dumps, loads
from nas.arch.blocks import BLOCKS, BlockKind
from nas.arch.layers import Conv, Layer
from nas.arch.notation import arch_string
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.block_features import row_form, signature
from nas.latency.csv_table import parse_table
from nas.network.modules import build
from nas.network.onnx_graph import onnx_model
from nas.network.weights import load_weights
from nas.profile.table import table_rows
from nas.space import choices, fill, one_of, picks_of, random_picks
from nas.space.trellis.trellis import Trellis
from nas.supernet.supernet import Supernet, extract


def bottleneck(block: Block, cin: int, cout: int, stride: int, side: int) -> tuple[Layer, ...]:
    """ResNet's: reduce 1x1, kxk, enlarge 1x1."""
    narrow = max(1, int(cin / block.expand))
    reduce = Conv(role="narrow", cin=cin, cout=narrow, act=block.act, side=side)
    k, act = block.kernel, block.act
    middle = Conv(
        role="middle", cin=narrow, cout=narrow, kernel=k, stride=stride, act=act, side=side
    )
    return reduce, middle, Conv(role="enlarge", cin=narrow, cout=cout, side=middle.side_out)


@pytest.fixture
def space(monkeypatch):
    monkeypatch.setitem(BLOCKS, "bottleneck", BlockKind(bottleneck, residual=True, expands=True))
    block = Block(
        op=one_of("mbconv", "bottleneck"), kernel=one_of(3, 5), expand=one_of(2, 4), act="hswish"
    )
    stages = (Stage(width=16, depth=2, stride=2, blocks=block),)
    return Arch(
        stages=stages, stem=Stem(width=8), head=Head(width=0, dropout=0.0), resolution=16, classes=4
    )


@pytest.fixture
def arch(space):
    picks = {"stages.0.blocks.op": "bottleneck", "stages.0.blocks.kernel": 5}
    return fill(space, {**picks, "stages.0.blocks.expand": 4})


def test_an_unknown_kind_is_refused(arch):
    with pytest.raises(UserError, match="unknown op 'botleneck'; did you mean bottleneck"):
        Block(op="botleneck")


def test_it_is_written_and_read(arch):
    assert loads(dumps(arch)) == arch
    assert "bottleneck_k5_s2_e4_c16_hswish_d2" in arch_string(arch)


def test_a_space_lists_and_finds_it(space, arch):
    assert choices(space)["stages.0.blocks.op"] == ("mbconv", "bottleneck")
    assert fill(space, picks_of(space, arch)) == arch
    rng, trellis = random.Random(0), Trellis(space)
    picks = [random_picks(space, rng) for _ in range(20)]
    costs = [cost(fill(space, p)).macs for p in picks]
    assert trellis.costs(trellis.encode(picks)).macs.tolist() == costs


def test_torch_counts_and_onnx_answers_alike(arch):
    net, image = build(arch, seed=0).eval(), torch.randn(1, 3, 16, 16)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        logits = net(image)
    assert counter.get_total_flops() == 2 * cost(arch).macs
    assert load_weights(build(arch, seed=1), net.state_dict()) == ()
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    model = onnx_model(arch, weights).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": image.numpy()})
    assert np.allclose(answer, logits, atol=1e-5)


def test_a_supernet_holds_its_weights(space, arch):
    supernet = Supernet(space)
    supernet.activate(arch)
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(supernet(images), extract(supernet, arch).train()(images), atol=1e-4)


def test_tables_print_and_read_it(arch):
    row = operators(arch)[2]
    assert row.residual
    assert signature(row)["op"] == "bottleneck"
    assert row_form(row).startswith("stage1_block2 bottleneck_k5_s1_c16-4-16_r4")
    assert parse_table("op,kernel,ms\nbottleneck,5,0.25\n", "t.csv")[0].cells["kernel"] == 5
    assert table_rows(arch)[2]["hidden"] == 4
