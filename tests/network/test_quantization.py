"""8-bit models answer as float ones do, where each output channel has a scale of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.operators import operators
from nas.network.activation_ranges import activation_ranges, assumed_ranges
from nas.network.modules import build
from nas.network.onnx_graph import onnx_model, onnx_rows
from nas.network.quantization import quantize
from nas.network.sessions import open_session
from search_spaces.lookup import PUBLISHED

TINY = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=3, classes=5)


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = open_session(model.SerializeToString())
    return np.array([session.run(None, {"image": image})[0][0] for image in images])


def pictures(arch: Arch, number: int = 32) -> np.ndarray:
    shape = (number, 1, arch.channels, arch.resolution, arch.resolution)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def relative_error(arch: Arch, weights: dict[str, np.ndarray] | None = None) -> float:
    """RMS difference of the logits in parts of their spread."""
    model, images = onnx_model(arch, weights), pictures(arch)
    whole = answers(model, images)
    ranges = activation_ranges(model.SerializeToString(), images[:, 0])
    off = answers(quantize(model, ranges), images) - whole
    return float(np.sqrt((off**2).mean()) / whole.std())


@pytest.mark.parametrize("name", ["mobilenet_v2_0.35", "tf_efficientnet_lite0", "shufflenet_v2_0.5",
                                  "mobilenet_v3_small_0.5", "efficientnet_v2_s"])  # fmt: skip
def test_answers_stay_close(name):
    arch = replace(PUBLISHED[name], resolution=64, classes=10)
    assert relative_error(arch) < 0.06


def test_channels_of_any_size_keep_their_answers():
    """A folded norm makes some a hundred times larger than others: one scale would lose those."""
    net = build(TINY, seed=0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(torch.logspace(-1, 1, len(module.weight)))
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    assert relative_error(TINY, weights) < 0.06
    model = quantize(onnx_model(TINY, weights), assumed_ranges())
    scales = [t for t in model.graph.initializer if t.name.endswith("conv.weight_scale")]
    assert len(scales) == sum(name.endswith("conv.weight") for name in weights)
    assert all(scale.dims[0] > 1 for scale in scales)


@pytest.mark.parametrize("name", ["mobilenet_v3_small_0.5", "tf_efficientnet_lite0"])
def test_it_is_what_onnx_runtimes_quantiser_makes(name):
    arch = replace(PUBLISHED[name], resolution=32, classes=10)
    net = build(arch, seed=0)
    with torch.no_grad():  # weights that are nothing beside their bias, or nothing at all
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight[:4].copy_(torch.tensor([0, 1e-12, 1e-9, 1e-6]))
                module.bias.fill_(0.5)
    weights = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
    model = onnx_model(arch, weights)
    ranges = activation_ranges(model.SerializeToString(), pictures(arch, 2)[:, 0])
    limits = {name: tuple(np.float32(end) for end in ends) for name, ends in ranges.items()}
    theirs = QDQQuantizer(
        model, True, False, QuantType.QInt8, QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, limits), [], [], list(QDQRegistry), {},
    )  # fmt: skip
    theirs.quantize_model()
    ours, theirs = quantize(onnx_model(arch, weights), ranges).graph, theirs.model.model.graph
    assert list(ours.node) == list(theirs.node)
    tensors = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for graph in (ours, theirs)
    ]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(np.array_equal(tensors[0][name], values) for name, values in tensors[1].items())
    assert [tensor.data_type for tensor in sorted(ours.initializer, key=lambda t: t.name)] == [
        tensor.data_type for tensor in sorted(theirs.initializer, key=lambda t: t.name)
    ]


def test_a_part_of_a_network_can_be_timed_in_8_bits():
    rows = operators(Arch((Stage(8, blocks=Block(se=0.25, act="hswish")),), resolution=16))
    model = quantize(onnx_rows(rows[1:2]), assumed_ranges())
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    session = open_session(model.SerializeToString())
    row = rows[1]
    image = np.ones((1, row.cin, row.side, row.side), np.float32)
    assert np.isfinite(session.run(None, {"input": image})[0]).all()
