"""Differential: ONNX Runtime on our graphs puts out what torch does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import BLOCKS, Block
from nas.arch.fields import ACTIVATIONS, GATES, PADDINGS
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.network import modules as network
from nas.network.modules import build
from nas.network.onnx_graph import onnx_model, onnx_rows
from search_spaces.lookup import PUBLISHED

# Every family, activation, gate, padding and tail; odd and even sides at every stride.
CASES = [
    ("mobilenet_v1_0.25", 33), ("mobilenet_v2_0.35", 64), ("tf_mobilenet_v2_0.35", 97),
    ("mobilenet_v3_small", 48), ("tf_mobilenet_v3_small", 45), ("tf_mobilenet_v3_small", 64),
    ("mobilenet_v3_large_0.75", 37), ("tf_mobilenet_v3_large_minimal", 50), ("mnasnet_a1_0.5", 32),
    ("efficientnet_b0", 39), ("tf_efficientnet_b0", 60), ("tf_efficientnet_b0", 33),
    ("efficientnet_lite0", 41), ("nas_bench_macro_01221012", 32),
]  # fmt: skip
TINY = Arch((Stage(8, 2, 2, Block(se=0.25, act="hswish")),), Stem(8), Head(16), 16, classes=5)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def image(arch: Arch, batch: int = 1) -> np.ndarray:
    shape = (batch, arch.channels, arch.resolution, arch.resolution)
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def trained(arch: Arch, seed: int = 0) -> network.Network:
    """The network with weights, biases and norms that all have something to say."""
    net = build(arch, seed).eval()
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                uniform(module.weight, 0.5, 1.5)
                uniform(module.running_var, 0.5, 2.0)
                uniform(module.bias, -0.5, 0.5)
                uniform(module.running_mean, -0.5, 0.5)
            elif getattr(module, "bias", None) is not None:
                uniform(module.bias, -0.5, 0.5)
    return net


def weights(net: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    scale = np.abs(theirs).max()
    assert np.isfinite(scale)
    assert scale > 0
    assert np.abs(ours - theirs).max() <= 1e-4 * scale


def assert_same_as_torch(arch: Arch, batch: int = 1) -> None:
    net, x = trained(arch), image(arch, batch)
    model = onnx_model(arch, weights(net), batch=batch)
    onnx.checker.check_model(model, full_check=True)
    with torch.no_grad():
        assert_close(run(model, x), net(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(("name", "resolution"), CASES)
def test_published_networks_put_out_what_torch_does(name, resolution):
    assert_same_as_torch(replace(PUBLISHED[name], resolution=resolution, classes=10))


def test_a_batch_of_images():
    assert_same_as_torch(TINY, batch=3)


def test_torch_and_onnx_know_every_activation_and_gate():
    assert set(network.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(network.GATES) == set(GATES)
    for act in ACTIVATIONS:
        for gate in GATES:
            block = Block(expand=2, se=0.25, act=act, se_gate=gate)
            stages = (Stage(width=8, blocks=block),)
            assert_same_as_torch(Arch(stages, Stem(4), Head(16, act), resolution=8, classes=3))


blocks = st.builds(
    Block,
    op=st.sampled_from(list(BLOCKS)),
    kernel=st.sampled_from((1, 3, 5, 7)),
    expand=st.sampled_from((1, 2, 2.3)),
    se=st.sampled_from((0, 0.25)),
    act=st.sampled_from(ACTIVATIONS),
    se_from=st.sampled_from(("input", "expanded")),
    se_gate=st.sampled_from(GATES),
    se_act=st.sampled_from(("", *ACTIVATIONS)),
    skip=st.booleans(),
)
stages = st.builds(
    Stage,
    width=st.sampled_from((4, 8, 12)),
    depth=st.integers(0, 2),
    stride=st.integers(1, 2),
    blocks=st.one_of(blocks, st.tuples(blocks, blocks)),
)
archs = st.builds(
    Arch,
    stages=st.lists(stages, min_size=1, max_size=4).map(tuple),
    stem=st.builds(
        Stem,
        width=st.sampled_from((4, 8)),
        kernel=st.sampled_from((3, 5)),
        stride=st.integers(1, 2),
        act=st.sampled_from(ACTIVATIONS),
    ),
    head=st.builds(
        Head,
        width=st.sampled_from((0, 16)),
        act=st.sampled_from(ACTIVATIONS),
        hidden=st.sampled_from((0, 12)),
        hidden_layer=st.sampled_from(("linear", "conv")),
    ),
    resolution=st.integers(5, 33),
    channels=st.sampled_from((1, 3)),
    classes=st.just(7),
    padding=st.sampled_from(PADDINGS),
    bn_eps=st.sampled_from((1e-5, 1e-3)),
    drop_path=st.sampled_from((0.0, 0.2)),
)


@given(arch=archs)
@settings(max_examples=60)
def test_random_networks_put_out_what_torch_does(arch):
    try:
        operators(arch)
    except UserError:
        assume(False)
    assert_same_as_torch(arch)


@pytest.mark.parametrize("name", ["tf_mobilenet_v3_small", "mnasnet_a1", "mobilenet_v1_0.25"])
def test_each_row_alone_at_its_true_size(name):
    arch = replace(PUBLISHED[name], resolution=45, classes=10)
    net = trained(arch)
    x = torch.from_numpy(image(arch))
    with torch.no_grad():
        for row, module in zip(operators(arch), net, strict=True):
            model = onnx_rows([row], padding=arch.padding, bn_eps=arch.bn_eps, weights=weights(net))
            onnx.checker.check_model(model, full_check=True)
            given, x = x.numpy().reshape(1, row.cin, row.side, row.side), module(x)
            assert_close(run(model, given), x.numpy())


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_a1",
     "mnasnet_b1", "efficientnet_b0", "efficientnet_lite4"],
)  # fmt: skip
def test_random_weights_keep_activations_alive(name):
    arch = replace(PUBLISHED[name], resolution=64)
    model = onnx_model(arch)
    for tensor in model.graph.initializer:
        values = np.abs(onnx.numpy_helper.to_array(tensor))
        assert not ((values > 0) & (values < np.finfo(np.float32).tiny)).any()
    for node in model.graph.node:  # every activation becomes an output, to be looked at
        if node.output[0] != "logits":
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(
        onnx.shape_inference.infer_shapes(model).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    for out, values in zip(session.get_outputs(), session.run(None, {"image": image(arch)}),
                           strict=True):  # fmt: skip
        assert 1e-2 < np.sqrt((values**2).mean()) < 1e2, out.name


def test_what_a_model_says_of_itself():
    arch = replace(PUBLISHED["tf_mobilenet_v3_small"], classes=10)
    model = onnx_model(arch)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["network_id"] == network_id(arch)
    assert facts["architecture"].startswith("r224 stem_k3_s2_c16_hswish | mbconv_k3")
    assert facts["name"] == "tf_mobilenet_v3_small"
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    (given,), (found,) = model.graph.input, model.graph.output
    assert (given.name, found.name) == ("image", "logits")
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 3, 224, 224]
    assert [d.dim_value for d in found.type.tensor_type.shape.dim] == [1, 10]
    assert "name" not in {entry.key for entry in onnx_model(TINY).metadata_props}


def test_random_weights_come_from_the_seed_alone():
    one, same, other = (onnx_model(TINY, seed=seed).SerializeToString() for seed in (3, 3, 4))
    assert one == same
    assert one != other


def test_limits_of_relu6_are_scalars_and_stored_once():
    model = onnx_model(replace(PUBLISHED["mobilenet_v2_0.35"], classes=10))
    limits = [t for t in model.graph.initializer if t.name in {"zero", "six"}]
    assert [(t.name, list(t.dims)) for t in limits] == [("zero", []), ("six", [])]


def test_no_two_filters_of_a_random_layer_are_equal():
    arch = replace(TINY, classes=1000, head=Head(256))
    for tensor in onnx_model(arch).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim > 1:
            assert len(np.unique(values.reshape(len(values), -1), axis=0)) == len(values)


def test_weights_that_do_not_fit_are_named():
    given = weights(build(TINY))
    with pytest.raises(UserError, match=r"lack 'head\.conv\.bn\.running_var'"):
        onnx_model(TINY, {k: v for k, v in given.items() if k != "head.conv.bn.running_var"})
    wider = replace(TINY, stem=Stem(16))
    with pytest.raises(UserError, match=r"stem\.conv\.conv\.weight has shape \(8, 3, 3, 3\)"):
        onnx_model(wider, given)


@pytest.mark.parametrize(
    "module",
    ["nas.network.onnx_graph", "nas.network.tflite.model", "nas.network.activation_ranges",
     "nas.latency.backends.onnxruntime", "nas.latency.backends.litert", "nas.latency.lookup"],
)  # fmt: skip
def test_torch_is_not_needed(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
