"""Differential: what a head costs, and what ONNX makes of it, are what torch does."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.arch.cost import cost
from nas.arch.layers import inputs_of, row_shape
from nas.arch.operators import operators
from nas.arch.serialization import dumps, loads
from nas.core.errors import UserError
from nas.latency.backends.onnxruntime import OnnxRuntime
from nas.latency.backends.torch_eager import TorchEager
from nas.network.modules import arrays, build, build_rows
from nas.network.onnx_graph import onnx_model, onnx_rows
from nas.network.tflite.model import tflite_model
from search_spaces.lookup import PUBLISHED

NAMES = [
    "ssdlite97_mobilenet_v2_0.35",
    "ssdlite64_tf_mobilenet_v3_small",
    "ssdlite96_shufflenet_v2_0.5",
    "lraspp65_mobilenet_v3_small",
    "lraspp64_tf_efficientnet_lite0",
    "deeplabv364_mobilenet_v2_0.35",
    "deeplabv365_tf_mobilenet_v3_small",
]


def sized(name):
    return replace(PUBLISHED[name], classes=5)


def warm(arch):
    """Its network with norms that all have something to say."""
    net, generator = build(arch, 0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if "bn." in key and value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5)
    return net.eval()


def run(model, *inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [x.name for x in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_twice_the_multiply_adds_and_parameters_agree(name):
    arch = sized(name)
    with torch.device("meta"):
        net = build(arch).eval()
        image = torch.empty(1, 3, arch.resolution, arch.resolution)
    with FlopCounterMode(display=False) as counter:
        answer = net(image)
    if arch.padding == "symmetric":  # TensorFlow's is computed by a row and a column more
        assert counter.get_total_flops() == 2 * cost(arch).macs
    assert sum(p.numel() for p in net.parameters()) == cost(arch).params
    assert tuple(answer.shape[1:]) == row_shape(operators(arch)[-1])


@pytest.mark.parametrize("name", NAMES)
def test_onnx_answers_as_torch_does(name):
    arch = sized(name)
    net = warm(arch)
    image = np.random.default_rng(1).standard_normal((1, 3, arch.resolution, arch.resolution))
    image = image.astype(np.float32)
    with torch.inference_mode():
        ours = net(torch.from_numpy(image)).numpy()
    theirs = run(onnx_model(arch, arrays(net)), image)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * max(1.0, np.abs(ours).max())


@pytest.mark.parametrize("name", NAMES[:1] + NAMES[3:6])
def test_each_row_alone_reads_what_it_is_given(name):
    arch = sized(name)
    net = warm(arch)
    for row in operators(arch):
        given = [torch.randn(1, *shape) for shape in inputs_of([row]).values()]
        alone = build_rows([row], arch.padding).eval()
        alone[0].load_state_dict(net.get_submodule(row.place).state_dict())
        for module in alone.modules():  # a part has torch's own eps where it has no other
            if isinstance(module, torch.nn.BatchNorm2d) and module.eps == 1e-5:
                module.eps = arch.bn_eps
        with torch.inference_mode():
            ours = alone(*given)
        assert tuple(ours.shape[1:]) == row_shape(row)
        weights = arrays(net)
        model = onnx_rows([row], padding=arch.padding, bn_eps=arch.bn_eps, weights=weights)
        theirs = run(model, *(x.numpy() for x in given))
        assert np.abs(ours.numpy() - theirs).max() <= 1e-3 * max(1.0, ours.abs().max().item())


@pytest.mark.parametrize("backend", [OnnxRuntime, TorchEager])
def test_a_device_times_the_network_and_each_of_its_rows(backend):
    timer = backend(max_rounds=12, min_rounds=12, max_seconds=0.01)
    arch = sized("ssdlite64_mobilenet_v2_0.35")
    parts = [[row] for row in operators(arch)]
    assert all(timing.median_ms > 0 for timing in timer.measure_rows(parts, arch.padding))
    assert timer.measure(sized("lraspp64_mobilenet_v3_small")).median_ms > 0


def test_a_head_is_kept_in_yaml():
    arch = sized("deeplabv365_tf_mobilenet_v3_small")
    arch = replace(arch, dense=replace(arch.dense, separable=True, output_stride=8))
    assert loads(dumps(arch)) == arch
    assert cost(arch).macs < cost(replace(arch, dense=replace(arch.dense, separable=False))).macs


@pytest.mark.parametrize(
    "text", ["dense: ssdlite", "dense: {op: yolo}", "dense: {op: lraspp, x: 1}"]
)
def test_a_wrong_head_is_an_error_of_one_line(text):
    with pytest.raises(UserError) as caught:
        loads(f"{text}\nstages: [{{width: 8}}]\n")
    assert "\n" not in str(caught.value)


def test_tflite_refuses_with_the_way_out():
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert: pip install -e '.[litert]'")
    for name in NAMES[:1] + NAMES[3:4]:
        with warnings.catch_warnings(), pytest.raises(UserError, match="ONNX"):
            tflite_model(sized(name))
