"""ONNX models straight from layers, in milliseconds and without torch.

Each norm is folded into its convolution, and the shapes are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.arch.arch import Arch
from nas.arch.layers import (
    Concat,
    Conv,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    Operator,
    Pool,
    Shuffle,
    Split,
    SqueezeExcite,
    layer_role,
    run_layers,
    same_padding,
)
from nas.arch.notation import network_facts
from nas.arch.operators import operators
from nas.network.folding import Array, Parameters, Weights

OPSET = 17  # HardSwish came with 14; GlobalAveragePool and Clip have not changed since 13
IR_VERSION = 8  # that of ONNX 1.12, which brought opset 17
PLAIN_OPERATORS = {"relu": "Relu", "hswish": "HardSwish", "sigmoid": "Sigmoid"}


@dataclass
class _Graph:
    """Nodes and tensors so far."""

    padding: str
    parameters: Parameters
    flat: bool = False  # whether the last output is (N, C) and not (N, C, H, W)
    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node; its one output has its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def tensor(self, name: str, values: NDArray[Any]) -> str:
        """Store a constant under `name`, once."""
        if name not in self.tensors:
            values = np.asarray(values, np.float32, order="C")
            self.tensors[name] = numpy_helper.from_array(values, name)
        return name

    def integers(self, name: str, *values: int) -> str:
        """Store whole numbers, which say a shape or a place, under `name`."""
        self.tensors[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def layer(self, name: str, shape: tuple[int, ...]) -> tuple[str, str]:
        """Names of the weight and the bias of a layer without norm."""
        return self._stored(name, self.parameters.of_layer(name, shape))

    def folded(self, name: str, shape: tuple[int, ...]) -> tuple[str, str]:
        """As `layer`, for `name`.conv followed by the batch norm `name`.bn."""
        return self._stored(f"{name}.conv", self.parameters.folded(name, shape))

    def _stored(self, name: str, values: tuple[Array, Array]) -> tuple[str, str]:
        weight, bias = values
        return self.tensor(f"{name}.weight", weight), self.tensor(f"{name}.bias", bias)


def _activate(graph: _Graph, act: str, x: str, name: str) -> str:
    """One of ACTIVATIONS or GATES of `nas.arch.fields`, or "" for none."""
    out = f"{name}.{act}"
    match act:
        case "":
            return x
        case "relu" | "hswish" | "sigmoid":
            return graph.add(PLAIN_OPERATORS[act], [x], out)
        case "relu6":
            limits = graph.tensor("zero", np.array(0)), graph.tensor("six", np.array(6))
            return graph.add("Clip", [x, *limits], out)
        case "swish":
            return graph.add("Mul", [x, _activate(graph, "sigmoid", x, name)], out)
        case "hsigmoid":  # relu6(x + 3) / 6
            return graph.add("HardSigmoid", [x], out, alpha=1 / 6, beta=0.5)
    raise AssertionError(f"no ONNX operator for the activation {act!r}")


def _conv(graph: _Graph, layer: Conv, x: str, name: str) -> str:
    """(N, cin, side, side) -> (N, cout, side_out, side_out)."""
    before = after = layer.kernel // 2
    if graph.padding == "same":
        before, after = same_padding(layer.side, layer.kernel, layer.stride)
    shape = (layer.cout, layer.cin // layer.groups, layer.kernel, layer.kernel)
    folded = graph.folded(name, shape) if layer.norm else graph.layer(f"{name}.conv", shape)
    sizes = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2}
    pads = [before, before, after, after]
    out = graph.add("Conv", [x, *folded], f"{name}.conv", **sizes, group=layer.groups, pads=pads)
    return _activate(graph, layer.act, out, name)


def _squeeze_excite(graph: _Graph, layer: SqueezeExcite, x: str, name: str) -> str:
    """(N, C, side, side) -> the same shape."""
    gate = graph.add("GlobalAveragePool", [x], f"{name}.pool")  # (N, C, 1, 1)
    reduce = graph.layer(f"{name}.reduce", (layer.squeeze, layer.channels, 1, 1))
    gate = graph.add("Conv", [gate, *reduce], f"{name}.reduce")  # (N, squeeze, 1, 1)
    gate = _activate(graph, layer.act, gate, f"{name}.reduce")
    expand = graph.layer(f"{name}.expand", (layer.channels, layer.squeeze, 1, 1))
    gate = graph.add("Conv", [gate, *expand], f"{name}.expand")  # (N, C, 1, 1)
    gate = _activate(graph, layer.gate, gate, f"{name}.expand")
    return graph.add("Mul", [x, gate], f"{name}.scale")


def _linear(graph: _Graph, layer: Linear, x: str, name: str) -> str:
    """(N, cin[, 1, 1]) -> (N, cout)."""
    if not graph.flat:
        x, graph.flat = graph.add("Flatten", [x], f"{name}.flatten"), True
    parameters = graph.layer(f"{name}.linear", (layer.cout, layer.cin))
    out = graph.add("Gemm", [x, *parameters], f"{name}.linear", transB=1)
    return _activate(graph, layer.act, out, name)


def _split(graph: _Graph, layer: Split, x: str, name: str) -> str:
    """(N, cin, side, side) -> (N, cout, side, side)."""
    if layer.cout == layer.cin:
        return x
    places = {"starts": layer.first, "ends": layer.first + layer.cout, "axes": 1}
    inputs = [graph.integers(f"{name}.{key}", value) for key, value in places.items()]
    return graph.add("Slice", [x, *inputs], name)


def _shuffle(graph: _Graph, layer: Shuffle, x: str, name: str) -> str:
    """(N, C, side, side) -> the same shape."""
    groups, side = layer.groups, layer.side
    apart = graph.integers(f"{name}.apart", 0, groups, layer.channels // groups, side, side)
    x = graph.add("Reshape", [x, apart], f"{name}.reshape")  # (N, groups, C / groups, side, side)
    x = graph.add("Transpose", [x], f"{name}.transpose", perm=[0, 2, 1, 3, 4])
    together = graph.integers(f"{name}.together", 0, layer.channels, side, side)
    return graph.add("Reshape", [x, together], name)


def _layer(graph: _Graph, layer: Layer, name: str, *inputs: str) -> str:
    x = inputs[-1]
    match layer:
        case Conv():
            return _conv(graph, layer, x, name)
        case SqueezeExcite():
            return _squeeze_excite(graph, layer, x, name)
        case Pool():
            return graph.add("GlobalAveragePool", [x], name)
        case MaxPool():
            sizes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
            return graph.add("MaxPool", [x], name, **sizes)
        case Linear():
            return _linear(graph, layer, x, name)
        case Dropout():
            return x
        case Split():
            return _split(graph, layer, x, name)
        case Concat():
            return graph.add("Concat", inputs, name, axis=1)
        case Shuffle():
            return _shuffle(graph, layer, x, name)
    assert_never(layer)


def _row(graph: _Graph, row: Operator, x: str) -> str:
    def run(layer: Layer, *inputs: str) -> str:
        return _layer(graph, layer, f"{row.place}.{layer_role(layer)}", *inputs)

    out = run_layers(row.layers, x, run)
    return graph.add("Add", [x, out], f"{row.place}.add") if row.residual else out


def onnx_rows(
    rows: Sequence[Operator],
    *,
    padding: str = "symmetric",
    bn_eps: float = 1e-5,
    weights: Weights | None = None,
    batch: int = 1,
    seed: int = 0,
    names: tuple[str, str] = ("input", "output"),
) -> onnx.ModelProto:
    """Consecutive rows of a network as a model of their own, in float32.

    (batch, cin, side, side) of the first row -> (batch, cout, side_out, side_out) of the last, or
    (batch, cout) after a linear layer.  `weights` is the network's state dict, in NumPy; without
    it weights are random, from `seed`.
    Raises UserError where `weights` lack a tensor or hold one of another shape.
    """
    graph = _Graph(padding, Parameters(weights, bn_eps, seed))
    first, last, out = rows[0], rows[-1], names[0]
    for row in rows:
        out = _row(graph, row, out)
    assert graph.nodes[-1].output[0] == out
    graph.nodes[-1].output[0] = names[1]
    given = [batch, first.cin, first.side, first.side]
    made = [batch, last.cout] + [last.side_out] * (0 if graph.flat else 2)
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in zip(names, (given, made), strict=True)
    )
    tensors = list(graph.tensors.values())
    body = helper.make_graph(graph.nodes, "network", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION)


def onnx_model(
    arch: Arch, weights: Weights | None = None, *, batch: int = 1, seed: int = 0
) -> onnx.ModelProto:
    """The whole network: "image" (batch, channels, r, r) to "logits" (batch, classes), float32.

    `weights` is the state dict of `nas.network.modules.build(arch)`, in NumPy; without it weights
    are random, from `seed`, of a scale at which activations stay alive.  The metadata hold the
    network's id and `arch_string`.  Raises UserError where `weights` do not fit.
    """
    model = onnx_rows(
        operators(arch),
        padding=arch.padding,
        bn_eps=arch.bn_eps,
        weights=weights,
        batch=batch,
        seed=seed,
        names=("image", "logits"),
    )
    helper.set_model_props(model, network_facts(arch))
    return model
