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
    Join,
    Layer,
    Linear,
    MaxPool,
    Merge,
    Operator,
    PerAnchor,
    Pool,
    Read,
    Resize,
    Shuffle,
    Split,
    SqueezeExcite,
    inputs_of,
    layer_role,
    row_shape,
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
    batch: int = 1
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

    def layer(self, name: str, shape: tuple[int, ...], bias: bool = True) -> tuple[str, str]:
        """Names of the weight and the bias of a layer without norm."""
        return self._stored(name, self.parameters.of_layer(name, shape, bias))

    def folded(self, name: str, shape: tuple[int, ...], eps: float = 0) -> tuple[str, str]:
        """As `layer`, for `name`.conv followed by the batch norm `name`.bn."""
        return self._stored(f"{name}.conv", self.parameters.folded(name, shape, eps))

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
    before = after = layer.kernel // 2 * layer.dilation
    if graph.padding == "same" and layer.stride > 1:
        before, after = same_padding(layer.side, layer.kernel, layer.stride)
    shape = (layer.cout, layer.cin // layer.groups, layer.kernel, layer.kernel)
    if layer.norm:
        folded = graph.folded(name, shape, layer.bn_eps)
    else:
        folded = graph.layer(f"{name}.conv", shape, layer.bias)
    sizes = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2}
    if layer.dilation > 1:
        sizes["dilations"] = [layer.dilation] * 2
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


def _resize(graph: _Graph, layer: Resize, x: str, name: str) -> str:
    """(N, C, side, side) -> (N, C, side_out, side_out)."""
    sides = layer.side_out, layer.side_out
    if layer.side == 1:
        return graph.add("Expand", [x, graph.integers(f"{name}.size", 1, 1, *sides)], name)
    size = graph.integers(f"{name}.size", graph.batch, layer.channels, *sides)
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.add("Resize", [x, "", "", size], name, **how)


def _per_anchor(graph: _Graph, layer: PerAnchor, x: str, name: str) -> str:
    """(N, anchors * numbers, side, side) -> (N, side * side * anchors, numbers)."""
    x = graph.add("Transpose", [x], f"{name}.transpose", perm=[0, 2, 3, 1])
    shape = graph.integers(f"{name}.shape", 0, layer.side**2 * layer.anchors, layer.numbers)
    return graph.add("Reshape", [x, shape], name)


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
        case Read():
            return x
        case Merge():
            return graph.add({"add": "Add", "multiply": "Mul"}[layer.op], inputs, name)
        case Resize():
            return _resize(graph, layer, x, name)
        case PerAnchor():
            return _per_anchor(graph, layer, x, name)
        case Join():
            return graph.add("Concat", inputs, name, axis=layer.axis)
    assert_never(layer)


def _row(graph: _Graph, row: Operator, x: str, others: Sequence[str]) -> str:
    def run(layer: Layer, *inputs: str) -> str:
        return _layer(graph, layer, f"{row.place}.{layer_role(layer)}", *inputs)

    out = run_layers(row.layers, x, run, others)
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

    (batch, cin, side, side) of the first row -> (batch, *row_shape) of the last; what they read
    from outside, `nas.arch.layers.inputs_of`, are further inputs, by their places.  `weights` is
    the network's state dict, in NumPy; without it weights are random, from `seed`.
    Raises UserError where `weights` lack a tensor or hold one of another shape.
    """
    graph = _Graph(padding, Parameters(weights, bn_eps, seed), batch)
    given = inputs_of(rows)
    given = {names[0]: given.pop("input")} | given
    out, known = names[0], {place: place for place in list(given)[1:]}
    for number, row in enumerate(rows):
        first, *others = row.sources or (row.place,)
        start = known[first] if row.sources and number else out
        out = known[row.place] = _row(graph, row, start, [known[place] for place in others])
    assert graph.nodes[-1].output[0] == out
    graph.nodes[-1].output[0] = names[1]
    inputs, outputs = (
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])
            for name, shape in values.items()
        ]
        for values in (given, {names[1]: row_shape(rows[-1])})
    )
    tensors = list(graph.tensors.values())
    body = helper.make_graph(graph.nodes, "network", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION)


def onnx_model(
    arch: Arch, weights: Weights | None = None, *, batch: int = 1, seed: int = 0
) -> onnx.ModelProto:
    """The whole network: "image" (batch, channels, r, r) to "logits" (batch, classes), float32;
    what a dense head answers (`row_shape` of the last row) in the place of classes.

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
