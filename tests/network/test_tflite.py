"""Differential: LiteRT on our files puts out what torch does, in float32 and nearly so in int8."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from test_onnx_graph import TINY, archs, assert_close, image, run, trained, weights

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.layers import Conv, MaxPool, SqueezeExcite, same_padding
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.network.activation_ranges import activation_ranges, assumed_ranges
from nas.network.onnx_graph import onnx_model
from nas.network.tflite import quantization
from nas.network.tflite.model import tflite_model, tflite_rows
from nas.network.tflite.quantization import MOVES
from search_spaces.lookup import PUBLISHED

WITHOUT = "needs the package ai-edge-litert"
interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason=WITHOUT)
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=WITHOUT)

# Every family, activation, gate and padding; odd and even sides at every stride.
CASES = [
    ("mobilenet_v1_0.25", 33), ("mobilenet_v2_0.35", 64), ("tf_mobilenet_v2_0.35", 97),
    ("mobilenet_v3_small", 48), ("tf_mobilenet_v3_small", 45), ("tf_mobilenet_v3_small", 64),
    ("tf_mobilenet_v3_large_minimal", 50), ("mnasnet_a1_0.5", 32), ("efficientnet_b0", 39),
    ("tf_efficientnet_b0", 60), ("efficientnet_lite0", 41), ("shufflenet_v2_0.5", 64),
    ("shufflenet_v2_0.5", 33), ("efficientnet_v2_b0", 48), ("mobilenet_v4_conv_small", 64),
    ("nas_bench_macro_01221012", 32),
]  # fmt: skip
INT8_CASES = [
    ("mobilenet_v1_0.25", 64), ("tf_mobilenet_v2_0.35", 64), ("mobilenet_v3_small", 64),
    ("mnasnet_a1_0.5", 64), ("tf_efficientnet_b0", 45), ("shufflenet_v2_0.5", 64),
    ("mobilenet_v4_conv_small", 64),
]  # fmt: skip


def small(name: str, resolution: int) -> Arch:
    return replace(PUBLISHED[name], resolution=resolution, classes=10)


def loaded(model: bytes) -> Any:
    interpreter = interpreters.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def answers(model: bytes, x: np.ndarray) -> np.ndarray:
    """What LiteRT makes of `x` (N, C, H, W), in N, C, H, W too, as real numbers."""
    interpreter = loaded(model)
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    stored = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if entry["dtype"] == np.int8:
        scale, zero = entry["quantization"]
        stored = np.rint(stored / scale + zero).clip(-128, 127).astype(np.int8)
    interpreter.set_tensor(entry["index"], stored)
    interpreter.invoke()
    out = interpreter.get_tensor(end["index"])
    if end["dtype"] == np.int8:
        scale, zero = end["quantization"]
        out = (out.astype(np.float32) - zero) * np.float32(scale)
    return out if out.ndim == 2 else out.transpose(0, 3, 1, 2)


def pictures(arch: Arch, number: int) -> np.ndarray:
    """Random but structured: each has colours of its own, a slope, and noise."""
    draw = np.random.default_rng(5).standard_normal
    shape = (number, arch.channels)
    slope = np.linspace(-1, 1, arch.resolution)
    x = (
        1.5 * draw((*shape, 1, 1))
        + draw((*shape, 1, 1)) * slope
        + draw((*shape, 1, 1)) * slope[:, None]
    )
    return (x + 0.3 * draw((*shape, arch.resolution, arch.resolution))).astype(np.float32)


def one_by_one(model: bytes, x: np.ndarray) -> np.ndarray:
    return np.concatenate([answers(model, x[i : i + 1]) for i in range(len(x))])


def in_torch(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def int8_of(arch: Arch, net: torch.nn.Module, x: np.ndarray) -> bytes:
    ranges = activation_ranges(onnx_model(arch, weights(net)).SerializeToString(), x)
    return tflite_model(arch, weights(net), ranges=ranges)


def contents(model: bytes) -> tuple[list[Any], list[Any], list[str], Any]:
    """Tensors, operators, the operators' names, and the whole model."""
    whole = schema.ModelT.InitFromPackedBuf(model, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    (graph,) = whole.subgraphs
    codes = [names[whole.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators]
    return graph.tensors, graph.operators, codes, whole


# ---- float32


def assert_same_as_torch(arch: Arch, batch: int = 1) -> None:
    net, x = trained(arch), image(arch, batch)
    assert_close(answers(tflite_model(arch, weights(net), batch=batch), x), in_torch(net, x))


@pytest.mark.parametrize(("name", "resolution"), CASES)
def test_published_networks_put_out_what_torch_does(name, resolution):
    assert_same_as_torch(small(name, resolution))


def test_a_batch_of_images():
    assert_same_as_torch(TINY, batch=3)


@given(arch=archs)
@settings(max_examples=60)
def test_random_networks_put_out_what_torch_does(arch):
    try:
        operators(arch)
    except UserError:
        assume(False)
    assert_same_as_torch(arch)


@pytest.mark.parametrize(
    "name",
    ["tf_mobilenet_v3_small", "shufflenet_v2", "efficientnet_v2_s", "mobilenet_v4_conv_small"],
)
def test_each_row_alone_at_its_true_size(name):
    arch = small(name, 45)
    net, x = trained(arch), image(arch)
    for row, module in zip(operators(arch), net, strict=True):
        model = tflite_rows([row], padding=arch.padding, bn_eps=arch.bn_eps, weights=weights(net))
        given, x = x.reshape(1, row.cin, row.side, row.side), in_torch(module, x)
        assert_close(answers(model, given), x)
        x = x / np.abs(x).max()


@pytest.mark.parametrize("side", [5, 6, 2])
def test_a_pool_of_negative_values_sees_no_padding(side):
    row = replace(operators(TINY)[1], layers=(MaxPool(8, side),), side=side, residual=False)
    row = replace(row, cin=8, cout=8, side_out=-(-side // 2))
    x = -1 - np.random.default_rng(0).random((1, 8, side, side), np.float32)
    expected = torch.nn.functional.max_pool2d(torch.from_numpy(x), 3, 2, 1).numpy()
    assert np.array_equal(answers(tflite_rows([row]), x), expected)
    stored = answers(tflite_rows([row], ranges={"input": (-2.0, 0.0)}), x)
    assert np.abs(stored - expected).max() <= 1 / 255


@pytest.mark.parametrize("name", ["tf_mobilenet_v3_small", "efficientnet_lite0"])
def test_random_weights_are_those_of_the_onnx_model(name):
    arch = small(name, 32)
    x = image(arch)
    assert_close(answers(tflite_model(arch, seed=3), x), run(onnx_model(arch, seed=3), x))
    assert tflite_model(arch, seed=3) == tflite_model(arch, seed=3) != tflite_model(arch, seed=4)


def layers_of(arch: Arch) -> Iterator[Any]:
    return (layer for row in operators(arch) for layer in row.layers)


@pytest.mark.parametrize("ranges", [None, assumed_ranges()])
@pytest.mark.parametrize(("name", "resolution"), CASES)
def test_each_layer_is_one_operator_of_the_expected_kind(name, resolution, ranges):
    arch = small(name, resolution)
    *_, codes, _ = contents(tflite_model(arch, ranges=ranges))
    convs = [layer for layer in layers_of(arch) if isinstance(layer, Conv)]
    pools = [layer for layer in layers_of(arch) if isinstance(layer, MaxPool)]
    excites = [layer for layer in layers_of(arch) if isinstance(layer, SqueezeExcite)]
    depthwise = sum(layer.groups > 1 for layer in convs)
    strided = [(layer.side, layer.kernel) for layer in convs if layer.stride == 2]
    uneven = sum(side % 2 == 0 and kernel > 1 for side, kernel in strided)
    acts = [layer.act for layer in (*convs, *excites)]
    assert codes.count("DEPTHWISE_CONV_2D") == depthwise
    assert codes.count("CONV_2D") == len(convs) - depthwise + 2 * len(excites)
    assert codes.count("PAD") == (uneven if arch.padding == "symmetric" else 0)
    assert codes.count("PADV2") == sum(layer.side % 2 == 0 for layer in pools)
    assert codes.count("ADD") == sum(row.residual for row in operators(arch))
    gates = [excite.gate for excite in excites]
    multiplied = acts.count("swish") + len(excites) + gates.count("hsigmoid")
    assert codes.count("MUL") == multiplied
    assert codes.count("MEAN") == 1 + len(excites)
    linear = 2 if arch.head.hidden and arch.head.hidden_layer == "linear" else 1
    assert codes.count("FULLY_CONNECTED") == linear
    moving = {"CONCATENATION", "MAX_POOL_2D", "PADV2", "RESHAPE", "SLICE", "TRANSPOSE"}
    allowed = {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "MUL", "PAD"}
    allowed |= moving if "shufflenet" in name else set()
    allowed |= {"LOGISTIC"} if "swish" in acts or "sigmoid" in gates else set()
    allowed |= {"HARD_SWISH"} if "hswish" in (*acts, arch.head.act) else set()
    assert set(codes) <= allowed


def test_tensorflows_padding_is_never_written_out():
    assert same_padding(64, 3, 2) != (1, 1)
    *_, codes, _ = contents(tflite_model(small("tf_mobilenet_v3_small", 64)))
    assert "PAD" not in codes


def test_what_a_file_says_of_itself():
    arch = small("tf_mobilenet_v3_small", 64)
    model = tflite_model(arch, facts={"classes": '["cat", "Käse"]'})
    *_, whole = contents(model)
    facts = {m.name.decode(): bytes(whole.buffers[m.buffer].data).decode() for m in whole.metadata}
    assert facts["network_id"] == network_id(arch)
    assert facts["classes"] == '["cat", "Käse"]'
    assert facts["name"] == "tf_mobilenet_v3_small"
    assert whole.description.decode() == facts["architecture"]
    assert model[4:8] == b"TFL3"
    interpreter = loaded(model)
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (entry["name"], entry["shape"].tolist()) == ("image", [1, 64, 64, 3])
    assert (end["name"], end["shape"].tolist()) == ("logits", [1, 10])
    runner = interpreter.get_signature_runner("serving_default")
    assert runner(image=np.zeros((1, 64, 64, 3), np.float32))["logits"].shape == (1, 10)


def test_constants_are_aligned_as_the_schema_asks():
    model = tflite_model(TINY, facts={"one": "1"})
    whole = schema.Model.GetRootAs(model)
    for i in range(1, whole.BuffersLength()):
        table = whole.Buffers(i)._tab
        start = table.Vector(table.Offset(4))  # the first field, data
        assert start % 16 == 0


@pytest.mark.filterwarnings("ignore")  # the converter's own
def test_googles_converter_makes_the_same_of_a_network(tmp_path):
    converter = pytest.importorskip("litert_torch", reason="needs the package litert-torch")
    arch = small("mobilenet_v3_small", 64)
    net, x = trained(arch), image(arch)
    channels_last = converter.to_channel_last_io(net, args=[0]).eval()
    path = tmp_path / "converted.tflite"
    converter.convert(channels_last, (torch.zeros(1, 64, 64, 3),)).export(str(path))
    ours, theirs = tflite_model(arch, weights(net)), path.read_bytes()
    assert_close(answers(ours, x), answers(theirs, x))
    (*_, our_codes, _), (*_, their_codes, _) = contents(ours), contents(theirs)
    for code in ("CONV_2D", "DEPTHWISE_CONV_2D", "HARD_SWISH", "MEAN"):
        assert our_codes.count(code) == their_codes.count(code)
    assert len(our_codes) <= len(their_codes)
    assert len(ours) <= len(theirs)


# ---- int8


@pytest.mark.parametrize(("name", "resolution"), INT8_CASES)
def test_int8_networks_answer_nearly_as_in_torch(name, resolution):
    arch = small(name, resolution)
    net, x = trained(arch), pictures(arch, 24)
    exact, ours = in_torch(net, x), one_by_one(int8_of(arch, net, x), x)
    off = np.sqrt(np.square(ours - exact).mean())
    assert off < 0.1 * exact.std()
    assert np.corrcoef(ours.ravel(), exact.ravel())[0, 1] > 0.99
    assert (ours.argmax(1) == exact.argmax(1)).mean() >= 0.75


def spread(arch: Arch) -> torch.nn.Module:
    """Every other channel of stem and head has weights a hundred times larger; ReLU6 holds both."""
    net = trained(arch)
    with torch.no_grad():
        net.stem.conv.bn.weight[::2] *= 100
        net.head.conv.bn.weight[::2] *= 100
    return net


def per_tensor(weight: np.ndarray, bias: np.ndarray, axis: int, of_input: float) -> Any:
    step = np.abs(weight).max() / 127
    rounded = (np.rint(weight / step) * step).astype(np.float32)
    return ORIGINAL(rounded, bias, axis, of_input)


ORIGINAL: Callable[..., Any] = quantization._weight_and_bias


def test_channels_far_apart_keep_their_answers(monkeypatch):
    stages = (Stage(16, 2, 2, Block(expand=3, act="relu6")), Stage(24, 2, 2, Block(act="relu6")))
    arch = Arch(stages, Stem(16, act="relu6"), Head(64, "relu6"), 32, classes=10)
    net, x = spread(arch), pictures(arch, 24)
    exact = in_torch(net, x)

    def off() -> float:
        return float(np.abs(one_by_one(int8_of(arch, net, x), x) - exact).mean() / exact.std())

    ours = off()
    monkeypatch.setattr(quantization, "_weight_and_bias", per_tensor)
    assert ours < 0.06
    assert off() > 3 * ours


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "tf_efficientnet_b0", "shufflenet_v2_0.5", "mnasnet_a1_0.5"]
)
def test_how_int8_files_store_what(name):
    arch = small(name, 32)
    net, x = trained(arch), pictures(arch, 4)
    floats, _, _, _ = contents(tflite_model(arch, weights(net)))
    tensors, ops, codes, whole = contents(int8_of(arch, net, x))
    exact = {t.name: t for t in floats}
    float_model = contents(tflite_model(arch, weights(net)))[-1]
    for op, code in zip(ops, codes, strict=True):
        entries, (end,) = [tensors[i] for i in op.inputs], [tensors[i] for i in op.outputs]
        assert end.type == schema.TensorType.INT8
        if code in MOVES:
            for entry in entries:
                if entry.type == schema.TensorType.INT8:
                    assert entry.quantization.scale == end.quantization.scale
                    assert entry.quantization.zeroPoint == end.quantization.zeroPoint
        if code == "LOGISTIC":
            assert (*end.quantization.scale, *end.quantization.zeroPoint) == (1 / 256, -128)
        if "CONV" in code or code == "FULLY_CONNECTED":
            given, weight, bias = entries
            channels = weight.shape[3 if code == "DEPTHWISE_CONV_2D" else 0]
            axis = weight.quantization.quantizedDimension
            assert weight.shape[axis] == channels == len(weight.quantization.scale)
            assert not np.any(weight.quantization.zeroPoint)
            assert bias.type == schema.TensorType.INT32
            assert bias.quantization.scale == pytest.approx(
                np.float32(weight.quantization.scale) * given.quantization.scale[0], rel=1e-6
            )
            true = float_model.buffers[exact[weight.name].buffer].data
            true = np.frombuffer(bytes(true), np.float32).reshape(weight.shape)
            stored = np.frombuffer(bytes(whole.buffers[weight.buffer].data), np.int8)
            steps = [-1 if a == axis else 1 for a in range(true.ndim)]
            scale = np.float32(weight.quantization.scale).reshape(steps)
            assert np.abs(stored.reshape(true.shape) * scale - true).max() <= 0.51 * scale.max()
            assert (np.abs(stored.reshape(true.shape) * scale - true) <= 0.51 * scale).all()


def test_the_input_is_stored_in_256_steps_over_its_range():
    ranges = assumed_ranges() | {"image": (-1.5, 3.6), "logits": (2.0, 4.0)}
    interpreter = loaded(tflite_model(TINY, ranges=ranges))
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert entry["dtype"] == end["dtype"] == np.int8
    scale, zero = entry["quantization"]
    assert scale == pytest.approx(5.1 / 255)
    assert zero == round(-128 + 1.5 / scale)
    assert end["quantization"] == (pytest.approx(4 / 255), -128)  # 0 is always one of the steps


def test_channels_without_weights_keep_their_biases():
    arch = Arch((Stage(8, blocks=Block("conv", act="relu")),), Stem(8), Head(0), 8, classes=3)
    net, x = trained(arch), pictures(arch, 4)
    with torch.no_grad():
        net.stage1_block1.conv.bn.weight[::2] = 0
        net.stage1_block1.conv.bn.bias[:4] = torch.tensor([0.0, 0.0, 0.75, 0.75])
    exact, ours = in_torch(net, x), one_by_one(int8_of(arch, net, x), x)
    assert np.abs(ours - exact).max() < 0.05 * np.abs(exact).max()


EXCITED = [
    Arch((Stage(8, blocks=Block(**kind)), Stage(8)), Stem(8), Head(16), 8, classes=3)
    for kind in (
        {"se": 0.25, "act": "relu"},
        {"se": 0.25, "act": "swish"},
        {"se": 0.25, "act": "hswish", "se_gate": "hsigmoid"},
    )
]


def test_a_silent_gate_keeps_the_answers():
    net, x = trained(EXCITED[0]), pictures(EXCITED[0], 4)
    with torch.no_grad():
        net.stage1_block1.se.reduce.bias.fill_(-99)
    exact, ours = in_torch(net, x), one_by_one(int8_of(EXCITED[0], net, x), x)
    assert np.abs(ours - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("top", [0.0, 1e-9, 1e-5])
@pytest.mark.parametrize("arch", EXCITED)
def test_files_open_whichever_activation_is_silent_or_faint(arch, top):
    net, x = trained(arch), pictures(arch, 4)
    ranges = activation_ranges(onnx_model(arch, weights(net)).SerializeToString(), x)
    for name in ranges:
        answers(tflite_model(arch, weights(net), ranges={**ranges, name: (0.0, top)}), x[:1])


@pytest.mark.parametrize("limits", [(1.0, 0.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_range_that_is_none(limits):
    with pytest.raises(UserError, match=r"range of 'stem\.conv\.relu' must be two finite numbers"):
        tflite_model(TINY, ranges=assumed_ranges() | {"stem.conv.relu": limits})


def test_ranges_of_another_network():
    with pytest.raises(UserError, match=r"ranges lack 'stem\.conv\.relu'; measure them"):
        tflite_model(TINY, ranges={"image": (-1.0, 1.0)})


def test_weights_that_do_not_fit_are_named():
    given = weights(trained(TINY))
    with pytest.raises(UserError, match=r"lack 'head\.conv\.bn\.running_var'"):
        tflite_model(TINY, {k: v for k, v in given.items() if k != "head.conv.bn.running_var"})


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(UserError, match=r"ai-edge-litert: pip install -e '\.\[litert\]'"):
        tflite_model(TINY)
