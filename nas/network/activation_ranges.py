"""What values a network's activations take on pictures, which is what 8 bits are spread over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Ranges = Mapping[str, tuple[float, float]]  # by the tensor's name: its least and largest value


def tensor_names(model: onnx.ModelProto) -> list[str]:
    """The input and every output of a node, in order."""
    return [model.graph.input[0].name, *(name for n in model.graph.node for name in n.output)]


def activation_ranges(model: onnx.ModelProto, images: Iterable[NDArray[np.float32]]) -> Ranges:
    """The least and the largest value of each tensor of `model` over `images`.

    Each image is (1, C, side, side), as the model takes it; they pass one by one.
    """
    names, inner = tensor_names(model), onnx.ModelProto()
    inner.CopyFrom(model)
    del inner.graph.output[:]
    inner.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names[1:])
    session = onnxruntime.InferenceSession(
        inner.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for image in images:
        values = [image, *session.run(names[1:], {names[0]: image})]
        low = np.minimum(low, [value.min() for value in values])
        high = np.maximum(high, [value.max() for value in values])
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return dict(zip(names, pairs, strict=True))
