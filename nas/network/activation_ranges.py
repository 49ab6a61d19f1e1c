"""The lowest and the highest value of each activation: what int8 needs to know of a network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nas.core.errors import UserError
from nas.network.sessions import open_session

Ranges = Mapping[str, tuple[float, float]]  # name of an activation -> (lowest, highest)


def activation_ranges(model: bytes, images: Iterable[NDArray[np.float32]]) -> Ranges:
    """(lowest, highest) of the input and of each node's output of an ONNX model, by name.

    `images` are read one by one, each (C, H, W) and normalised as the network wants it; `model`
    takes a batch of one, as `onnx_model` makes it.  Raises UserError where there is no image.
    """
    graph = onnx.load_from_string(model)
    entry = graph.graph.input[0].name
    names = [name for node in graph.graph.node for name in node.output]
    del graph.graph.output[:]
    graph.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = open_session(graph.SerializeToString())
    ranges: dict[str, tuple[float, float]] = {}
    for image in images:
        arrays = {entry: image[None]} | dict(
            zip(names, session.run(names, {entry: image[None]}), strict=True)
        )
        for name, values in arrays.items():
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    if not ranges:
        raise UserError("there is no image to measure activations on; give one or more")
    return ranges


def assumed_ranges() -> defaultdict[str, tuple[float, float]]:
    """-8 to 8 for every activation: without images, for timing, which values do not change."""
    return defaultdict(lambda: (-8.0, 8.0))
