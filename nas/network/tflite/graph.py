"""TFLite operators from layers, in float32 and NHWC, the layout of TFLite's kernels.

Names of activations are those of `nas.network.onnx_graph`.  Each norm is folded into its
convolution; ReLU and ReLU6 belong to the convolution before them, whose output has their name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

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
    layer_role,
    run_layers,
    same_padding,
)
from nas.core.errors import UserError
from nas.network.folding import Array, Parameters

FUSED = {"relu": "RELU", "relu6": "RELU6"}
# What LOGISTIC puts out in int8 has scale 1/256 and zero point -128 (TFLite's quantization spec):
# the 256 steps from 0 to 255/256.
LOGISTIC_RANGE = (0.0, 255 / 256)
LOWEST = np.finfo(np.float32).min
NO_DENSE = "boxes and masks have no .tflite here: use the ONNX model"

Constants = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, with one output.

    op         as in BuiltinOperator of TFLite's schema.
    inputs     names of the activations that it reads, in order; `constants` follow them.
    output     the name of what it puts out, of this `shape`.
    constants  weights and biases (float32), shapes and axes (int32).
    options    the operator's own, as in the schema; enumerations by name.
    limits     the range of the output, where it is known beforehand.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    shape: Shape
    constants: Constants = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[float, float] | None = None


@dataclass
class _Graph:
    """Nodes so far, and the shapes of their outputs."""

    padding: str
    parameters: Parameters
    shapes: dict[str, Shape]
    nodes: list[Node] = field(default_factory=list)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        shape: Shape | None = None,
        constants: Constants | None = None,
        limits: tuple[float, float] | None = None,
        **options: Any,
    ) -> str:
        """Append a node; its output has the `shape` of its first input unless another is given."""
        shape = shape or self.shapes[inputs[0]]
        self.nodes.append(Node(op, tuple(inputs), output, shape, constants or {}, options, limits))
        self.shapes[output] = shape
        return output


def _integers(values: Any) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def _activate(graph: _Graph, act: str, x: str, name: str) -> str:
    """An activation that no convolution can hold, or "" for none."""
    match act:
        case "":
            return x
        case "hswish":
            return graph.add("HARD_SWISH", [x], f"{name}.hswish")
        case "sigmoid":
            return graph.add("LOGISTIC", [x], f"{name}.sigmoid", limits=LOGISTIC_RANGE)
        case "swish":
            return graph.add("MUL", [x, _activate(graph, "sigmoid", x, name)], f"{name}.swish")
    raise AssertionError(f"no TFLite operator for the activation {act!r}")


def _weighted(
    graph: _Graph,
    op: str,
    x: str,
    output: str,
    shape: Shape,
    parameters: tuple[NDArray[Any], Array],
    act: str,
    name: str,
    **options: Any,
) -> str:
    """A convolution or fully connected layer; what `act` makes of it is called `name`.`act`."""
    weight, bias = parameters
    constants = {"weight": np.ascontiguousarray(weight), "bias": bias}
    options["fusedActivationFunction"] = FUSED.get(act, "NONE")
    if act in FUSED:
        return graph.add(op, [x], f"{name}.{act}", shape, constants, **options)
    return _activate(graph, act, graph.add(op, [x], output, shape, constants, **options), name)


def _padded(graph: _Graph, x: str, half: int, output: str, **lowest: NDArray[Any]) -> str:
    """`half` pixels more on all sides, of zeros or of what PADV2 is given."""
    n, side, _, channels = graph.shapes[x]
    pads = {"paddings": _integers([[0, 0], [half, half], [half, half], [0, 0]]), **lowest}
    shape = (n, side + 2 * half, side + 2 * half, channels)
    return graph.add("PADV2" if lowest else "PAD", [x], output, shape, pads)


def _is_same(side: int, kernel: int, stride: int) -> bool:
    """Whether TensorFlow's SAME is as many pixels on all sides."""
    return same_padding(side, kernel, stride) == (kernel // 2, kernel // 2)


def _conv(graph: _Graph, layer: Conv, x: str, name: str) -> str:
    """(N, side, side, cin) -> (N, side_out, side_out, cout)."""
    if layer.dilation > 1 or layer.bn_eps:
        raise UserError(NO_DENSE)
    kernel, stride, padding = layer.kernel, layer.stride, "SAME"
    if graph.padding == "symmetric" and not _is_same(layer.side, kernel, stride):
        x, padding = _padded(graph, x, kernel // 2, f"{name}.pad"), "VALID"
    shape = (layer.cout, layer.cin // layer.groups, kernel, kernel)
    read = graph.parameters
    weight, bias = read.folded(name, shape) if layer.norm else read.of_layer(f"{name}.conv", shape)
    options = {"padding": padding, "strideW": stride, "strideH": stride}
    op, order = "CONV_2D", (0, 2, 3, 1)  # (cout, kernel, kernel, cin / groups)
    if layer.groups == layer.cin > 1:
        op, order = "DEPTHWISE_CONV_2D", (1, 2, 3, 0)  # (1, kernel, kernel, cout)
        options["depthMultiplier"] = layer.cout // layer.cin
    made = (graph.shapes[x][0], layer.side_out, layer.side_out, layer.cout)
    weight = weight.transpose(order)
    out = f"{name}.conv"
    return _weighted(graph, op, x, out, made, (weight, bias), layer.act, name, **options)


def _squeeze_excite(graph: _Graph, layer: SqueezeExcite, x: str, name: str) -> str:
    """(N, side, side, C) -> the same shape."""

    def conv(x: str, role: str, cin: int, cout: int, act: str, more: float = 0) -> str:
        weight, bias = graph.parameters.of_layer(f"{name}.{role}", (cout, cin, 1, 1))
        parameters = weight.reshape(cout, 1, 1, cin), bias + np.float32(more)
        options = {"padding": "VALID", "strideW": 1, "strideH": 1}
        out, shape = f"{name}.{role}", (graph.shapes[x][0], 1, 1, cout)
        return _weighted(graph, "CONV_2D", x, out, shape, parameters, act, out, **options)

    gate = _mean(graph, x, f"{name}.pool")  # (N, 1, 1, C)
    gate = conv(gate, "reduce", layer.channels, layer.squeeze, layer.act)  # (N, 1, 1, squeeze)
    if layer.gate == "sigmoid":
        gate = conv(gate, "expand", layer.squeeze, layer.channels, "sigmoid")  # (N, 1, 1, C)
    else:  # hsigmoid is relu6(x + 3) / 6; the bias holds the 3
        gate = conv(gate, "expand", layer.squeeze, layer.channels, "relu6", more=3)
        graph.nodes[-1] = replace(graph.nodes[-1], limits=(0.0, 6.0))
        sixth, out = {"sixth": np.array([1 / 6], np.float32)}, f"{name}.expand.hsigmoid"
        gate = graph.add("MUL", [gate], out, constants=sixth, limits=(0.0, 1.0))
    return graph.add("MUL", [x, gate], f"{name}.scale")


def _mean(graph: _Graph, x: str, name: str) -> str:
    """(N, side, side, C) -> (N, 1, 1, C)."""
    n, _, _, channels = graph.shapes[x]
    return graph.add("MEAN", [x], name, (n, 1, 1, channels), {"axes": _integers([1, 2])},
                     keepDims=True)  # fmt: skip


def _max_pool(graph: _Graph, layer: MaxPool, x: str, name: str) -> str:
    """(N, side, side, C) -> (N, ceil(side / 2), ceil(side / 2), C)."""
    padding, side = "SAME", -(-layer.side // 2)
    if not _is_same(layer.side, 3, 2):
        lowest = np.array([LOWEST], np.float32)
        x, padding = _padded(graph, x, 1, f"{name}.pad", lowest=lowest), "VALID"
    sizes: dict[str, Any] = {"filterWidth": 3, "filterHeight": 3, "strideW": 2, "strideH": 2}
    shape = (graph.shapes[x][0], side, side, layer.channels)
    return graph.add("MAX_POOL_2D", [x], name, shape, padding=padding, **sizes)


def _linear(graph: _Graph, layer: Linear, x: str, name: str) -> str:
    """(N[, 1, 1], cin) -> (N, cout); FULLY_CONNECTED flattens what it reads."""
    parameters = graph.parameters.of_layer(f"{name}.linear", (layer.cout, layer.cin))
    out, shape = f"{name}.linear", (graph.shapes[x][0], layer.cout)
    return _weighted(graph, "FULLY_CONNECTED", x, out, shape, parameters, layer.act, name)


def _split(graph: _Graph, layer: Split, x: str, name: str) -> str:
    """(N, side, side, cin) -> (N, side, side, cout)."""
    if layer.cout == layer.cin:
        return x
    shape = (*graph.shapes[x][:3], layer.cout)
    places = {"begin": _integers([0, 0, 0, layer.first]), "size": _integers(shape)}
    return graph.add("SLICE", [x], name, shape, places)


def _shuffle(graph: _Graph, layer: Shuffle, x: str, name: str) -> str:
    """(N, side, side, C) -> the same shape; in between four dimensions, which every device has."""
    shape, groups = graph.shapes[x], layer.groups
    apart = (shape[0], layer.side**2, groups, layer.channels // groups)
    turned = (*apart[:2], apart[3], groups)

    def reshape(x: str, name: str, to: Shape) -> str:
        return graph.add("RESHAPE", [x], name, to, {"shape": _integers(to)}, newShape=list(to))

    x = reshape(x, f"{name}.reshape", apart)
    order = {"order": _integers([0, 1, 3, 2])}
    return reshape(graph.add("TRANSPOSE", [x], f"{name}.transpose", turned, order), name, shape)


def _layer(graph: _Graph, layer: Layer, name: str, *inputs: str) -> str:
    x = inputs[-1]
    match layer:
        case Conv():
            return _conv(graph, layer, x, name)
        case SqueezeExcite():
            return _squeeze_excite(graph, layer, x, name)
        case Pool():
            return _mean(graph, x, name)
        case MaxPool():
            return _max_pool(graph, layer, x, name)
        case Linear():
            return _linear(graph, layer, x, name)
        case Dropout():
            return x
        case Split():
            return _split(graph, layer, x, name)
        case Concat():
            shape = (*graph.shapes[x][:3], layer.channels)
            return graph.add("CONCATENATION", inputs, name, shape, axis=3)
        case Shuffle():
            return _shuffle(graph, layer, x, name)
        case Read() | Merge() | Resize() | PerAnchor() | Join():
            raise UserError(NO_DENSE)
    assert_never(layer)


def _row(graph: _Graph, row: Operator, x: str) -> str:
    def run(layer: Layer, *inputs: str) -> str:
        return _layer(graph, layer, f"{row.place}.{layer_role(layer)}", *inputs)

    out = run_layers(row.layers, x, run)
    return graph.add("ADD", [x, out], f"{row.place}.add") if row.residual else out


def tflite_nodes(
    rows: Sequence[Operator],
    padding: str,
    parameters: Parameters,
    batch: int,
    names: tuple[str, str],
) -> list[Node]:
    """The operators of consecutive rows, in order of execution; `names` of input and output.

    (batch, side, side, cin) of the first row -> (batch, side_out, side_out, cout) of the last, or
    (batch, cout) after a linear layer.
    """
    first, out = rows[0], names[0]
    graph = _Graph(padding, parameters, {out: (batch, first.side, first.side, first.cin)})
    for row in rows:
        out = _row(graph, row, out)
    assert graph.nodes[-1].output == out
    graph.nodes[-1] = replace(graph.nodes[-1], output=names[1])
    return graph.nodes
