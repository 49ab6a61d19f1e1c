"""TFLite models of networks and of rows of them, without torch and without a converter.

MobileNetV3-Small is written in 0.03 s and EfficientNet-B0 in 0.1 s, on a core of an AMD EPYC that
has other work; converters take half a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.arch.arch import Arch
from nas.arch.layers import Operator
from nas.arch.notation import network_facts
from nas.arch.operators import operators
from nas.network.activation_ranges import Ranges
from nas.network.folding import Parameters, Weights
from nas.network.tflite.flatbuffer import tflite_bytes
from nas.network.tflite.graph import tflite_nodes
from nas.network.tflite.quantization import Quantization, quantized


def tflite_rows(
    rows: Sequence[Operator],
    *,
    padding: str = "symmetric",
    bn_eps: float = 1e-5,
    weights: Weights | None = None,
    batch: int = 1,
    seed: int = 0,
    ranges: Ranges | None = None,
    names: tuple[str, str] = ("input", "output"),
    facts: Mapping[str, str] | None = None,
    description: str = "",
) -> bytes:
    """Consecutive rows of a network as a .tflite file of their own, in NHWC.

    (batch, side, side, cin) of the first row -> (batch, side_out, side_out, cout) of the last, or
    (batch, cout) after a linear layer.  `weights` is the network's state dict, in NumPy; without
    it weights are random, from `seed`, the same as in `onnx_rows`.

    With `ranges` (`nas.network.activation_ranges`) everything is int8, input and output too: what
    accelerators for whole numbers ask for, and a phone loses no time by converting.  Scale and
    zero point of both are in the file: real = scale * (stored - zero_point).

    `facts` become metadata of the file, by name.  Raises UserError where `weights` or `ranges` do
    not fit, or the package ai-edge-litert is absent.
    """
    nodes = tflite_nodes(rows, padding, Parameters(weights, bn_eps, seed), batch, names)
    scales: dict[str, Quantization] = {}
    if ranges is not None:
        nodes, scales = quantized(nodes, names[0], ranges)
    entry = names[0], (batch, rows[0].side, rows[0].side, rows[0].cin)
    return tflite_bytes(nodes, entry, scales, facts or {}, description)


def tflite_model(
    arch: Arch,
    weights: Weights | None = None,
    *,
    batch: int = 1,
    seed: int = 0,
    ranges: Ranges | None = None,
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """The whole network: "image" (batch, r, r, channels) to "logits" (batch, classes).

    In float32, or with `ranges` in int8, as in `tflite_rows`.  The metadata hold the network's id,
    its `arch_string`, its name, and `facts` (classes, mean, std, ...).
    """
    known = network_facts(arch)
    return tflite_rows(
        operators(arch),
        padding=arch.padding,
        bn_eps=arch.bn_eps,
        weights=weights,
        batch=batch,
        seed=seed,
        ranges=ranges,
        names=("image", "logits"),
        facts=known | dict(facts or {}),
        description=known["architecture"],
    )
