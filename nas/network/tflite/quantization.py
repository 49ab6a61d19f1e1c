"""int8 from float32, as TFLite's quantization specification asks for it.

https://ai.google.dev/edge/litert/models/quantization_spec and Jacob et al. 2018: activations have
one scale and zero point each, weights a scale an output channel and zero point 0, biases the
product of both scales in int32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError
from nas.network.activation_ranges import Ranges
from nas.network.tflite.graph import Constants, Node

# Operators that move values and do not compute: the specification wants one scale on both sides.
MOVES = {"CONCATENATION", "MAX_POOL_2D", "PAD", "PADV2", "RESHAPE", "SLICE", "TRANSPOSE"}
LARGEST_BIAS = 2**30  # half of int32: the products that are added to a bias have room, too
FINER = 127  # times finer than what goes in an output may be stored: from 128 on LiteRT refuses


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (stored - zero_point); several scales are those of slices along `axis`."""

    scale: NDArray[np.float32]
    zero_point: int = 0
    axis: int = 0


def quantized(
    nodes: Sequence[Node], entry: str, ranges: Ranges
) -> tuple[list[Node], dict[str, Quantization]]:
    """The nodes with constants of int8 and int32, and how each activation and constant is stored.

    Constants go by "output.key".  `entry` is the input's name.  Raises UserError where `ranges`
    lack an activation.
    """
    scales = _activation_scales(nodes, entry, ranges)
    made = []
    for node in nodes:
        constants, how = _quantized_constants(node, scales)
        scales |= {f"{node.output}.{key}": one for key, one in how.items()}
        made.append(replace(node, constants={**node.constants, **constants}))
    return made, scales


def _activation_scales(
    nodes: Sequence[Node], entry: str, ranges: Ranges
) -> dict[str, Quantization]:
    """For the input and each output; those that are only moved share the hull of their ranges."""
    shared = {name: name for name in (entry, *(node.output for node in nodes))}

    def group(name: str) -> str:
        while shared[name] != name:
            name = shared[name]
        return name

    for node in nodes:
        if node.op in MOVES:
            shared |= {group(x): group(node.output) for x in node.inputs}
    known = {node.output: node.limits for node in nodes if node.op not in MOVES}
    hulls: dict[str, list[float]] = {}
    for name, limits in {entry: None, **known}.items():
        hulls.setdefault(group(name), [0.0]).extend(limits or _range(ranges, name))
    steps = {to: _step(hull) for to, hull in hulls.items()}
    for node in nodes:
        to = group(node.output)
        steps[to] = max(steps[to], _finest_step(node, [steps[group(x)] for x in node.inputs]))
    return {name: _asymmetric(min(hulls[to]), steps[to])
            for name in shared for to in [group(name)]}  # fmt: skip


def _range(ranges: Ranges, name: str) -> tuple[float, float]:
    try:
        low, high = ranges[name]
    except KeyError:
        raise UserError(
            f"ranges lack {name!r}; measure them on the ONNX model of this very network"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UserError(f"the range of {name!r} must be two finite numbers, low <= high, "
                        f"not ({low}, {high}); measure it on other pictures")  # fmt: skip
    return low, high


def _step(hull: Sequence[float]) -> float:
    """Of 256 from the lowest to the highest; what is always 0 is stored as if from 0 to 1."""
    return (max(hull) - min(hull) or 1.0) / 255


def _finest_step(node: Node, of_inputs: Sequence[float]) -> float:
    """The finest step that the runtime takes of an output, by the steps of what goes in."""
    match node.op:
        case "CONV_2D" | "FULLY_CONNECTED" | "DEPTHWISE_CONV_2D":
            weight, bias = node.constants["weight"], node.constants["bias"]
            scale = _weight_scale(weight, bias, _channels_of(node), of_inputs[0])
            return of_inputs[0] * float(scale.max()) / FINER
        case "ADD" | "HARD_SWISH":
            return max(of_inputs) / FINER
    return 0.0


def _asymmetric(low: float, scale: float) -> Quantization:
    """256 steps of int8 from `low` on, one of them exactly 0; low <= 0."""
    zero_point = round(-128 - low / scale)
    return Quantization(np.array([scale], np.float32), min(max(zero_point, -128), 127))


def _quantized_constants(
    node: Node, scales: Mapping[str, Quantization]
) -> tuple[Constants, dict[str, Quantization]]:
    match node.op:
        case "CONV_2D" | "FULLY_CONNECTED" | "DEPTHWISE_CONV_2D":
            of_input = float(scales[node.inputs[0]].scale[0])
            return _weight_and_bias(
                node.constants["weight"], node.constants["bias"], _channels_of(node), of_input
            )
        case "MUL" if node.constants:
            scale = (node.constants["sixth"] / 127).astype(np.float32)
            return {"sixth": np.array([127], np.int8)}, {"sixth": Quantization(scale)}
        case "PADV2":
            return {"lowest": np.array([-128], np.int8)}, {"lowest": scales[node.inputs[0]]}
    return {}, {}


def _channels_of(node: Node) -> int:
    """The axis of the output channels in a node's weight."""
    return 3 if node.op == "DEPTHWISE_CONV_2D" else 0


def _weight_scale(
    weight: NDArray[np.float32], bias: NDArray[np.float32], axis: int, of_input: float
) -> NDArray[np.float32]:
    """A scale a channel along `axis`, by which biases fit into int32."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.abs(weight).max(axis=others).astype(np.float64)
    scale = np.maximum(largest / 127, np.abs(bias) / (of_input * LARGEST_BIAS))
    return np.where(scale > 0, scale, 1.0).astype(np.float32)  # a channel of zeros


def _weight_and_bias(
    weight: NDArray[np.float32], bias: NDArray[np.float32], axis: int, of_input: float
) -> tuple[Constants, dict[str, Quantization]]:
    """Weights from -127 to 127, with a scale a channel along `axis`; biases in int32."""
    scale = _weight_scale(weight, bias, axis, of_input)
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
    stored = np.rint(weight / scale.reshape(shape)).clip(-127, 127).astype(np.int8)
    of_bias = (scale * np.float32(of_input)).astype(np.float32)
    whole = np.rint(bias / of_bias.astype(np.float64)).astype(np.int32)
    how = {"weight": Quantization(scale, axis=axis), "bias": Quantization(of_bias)}
    return {"weight": stored, "bias": whole}, how
