"""What papers ablate of an inverted residual: its residual, and its linear projection."""

from __future__ import annotations

import random

import numpy as np
import onnxruntime
import pytest
import torch

from nas.arch import Arch, Block, Head, Stage, Stem, cost, dumps, loads, network_id, operators
from nas.arch.notation import arch_string
from nas.core.errors import UserError
from nas.latency.block_features import signature
from nas.network.modules import build
from nas.network.onnx_graph import onnx_model
from nas.space import choices, fill, one_of, picks_of, random_picks
from nas.supernet.supernet import Supernet, extract


def network(**fields: object) -> Arch:
    block = Block(expand=2, act="relu6", **fields)
    stages = (Stage(width=8, depth=2, blocks=block),)
    return Arch(stages, Stem(8), Head(0, dropout=0.0), resolution=16, classes=4)


PLAIN, ACTIVATED = network(), network(linear=False)


def test_a_linear_block_is_what_it_was():
    assert "linear=" not in repr(PLAIN)
    assert dumps(PLAIN) == dumps(network(linear=True))
    assert "linear=False" in repr(ACTIVATED)
    assert "options=(True, False)" in repr(network(linear=one_of(True, False)))


@pytest.mark.parametrize("op", ["mbconv", "fused"])
def test_the_projection_is_activated_as_the_block_is(op):
    arch = network(op=op, linear=False)
    assert {row.layers[-1].act for row in operators(arch) if row.op == op} == {"relu6"}
    assert cost(arch) == cost(network(op=op))
    assert network_id(arch) != network_id(network(op=op))
    assert loads(dumps(arch)) == arch


def test_a_block_without_projection_stays_the_same_network():
    assert network_id(network(op="conv", linear=False)) == network_id(network(op="conv"))
    with pytest.raises(UserError, match="linear must be true or false"):
        Block(linear="relu")


def test_the_notation_and_the_latency_table_tell_them_apart():
    assert "mbconv_k3_s1_e2_c8_relu6_d2" in arch_string(PLAIN)
    assert "mbconv_k3_s1_e2_c8_relu6_nonlinear_d2" in arch_string(ACTIVATED)
    assert "relu6_noskip_nonlinear_d2" in arch_string(network(linear=False, skip=False))
    rows = [operators(arch)[1] for arch in (PLAIN, ACTIVATED)]
    assert [signature(row)["linear"] for row in rows] == [1, 0]


def test_onnx_puts_out_what_torch_does():
    net, image = build(ACTIVATED, seed=0).eval(), torch.randn(1, 3, 16, 16)
    model = onnx_model(ACTIVATED, {name: t.numpy() for name, t in net.state_dict().items()})
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(None, {"image": image.numpy()})
    with torch.inference_mode():
        assert np.allclose(answer, net(image), atol=1e-5)


def test_both_are_choices_and_a_supernet_makes_each():
    space = network(skip=one_of(True, False), linear=one_of(True, False))
    assert list(choices(space)) == ["stages.0.blocks.skip", "stages.0.blocks.linear"]
    supernet, images = Supernet(space), torch.randn(4, 3, 16, 16)
    answers = set()
    for arch in (fill(space, random_picks(space, random.Random(seed))) for seed in range(8)):
        assert fill(space, picks_of(space, arch)) == arch
        supernet.activate(arch)
        with torch.no_grad():
            answer = supernet(images)
            assert torch.allclose(answer, extract(supernet, arch).train()(images), atol=1e-4)
        answers.add(round(answer.square().sum().item(), 4))
    assert len(answers) == 4
