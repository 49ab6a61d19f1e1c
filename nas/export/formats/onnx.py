"""ONNX files, in float32 and in 8 bits, for ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.export.formats.format import Image, Logits, Opened, Source
from nas.network.modules import arrays
from nas.network.onnx_graph import onnx_model
from nas.network.quantization import quantize
from nas.network.sessions import open_session


def float_model(source: Source) -> onnx.ModelProto:
    """The network alone, (1, C, side, side) -> (1, classes), with its metadata."""
    model = onnx_model(source.arch, arrays(source.net))
    known = {entry.key for entry in model.metadata_props}
    for key, text in source.facts.items():
        if key not in known:
            model.metadata_props.add(key=key, value=text)
    return model


def write_float(source: Source) -> tuple[bytes, ...]:
    """The file in float32."""
    return (_as_asked(float_model(source), source).SerializeToString(),)


def write_int8(source: Source) -> tuple[bytes, ...]:
    """The file in 8 bits."""
    return (_as_asked(quantize(float_model(source), source.ranges), source).SerializeToString(),)


def _as_asked(model: onnx.ModelProto, source: Source) -> onnx.ModelProto:
    if source.preprocess:
        _take_bytes(model, source)
    if source.free_batch:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _take_bytes(model: onnx.ModelProto, source: Source) -> None:
    """Have the model take pictures: uint8, (1, side, side, C), as decoders give them."""
    graph, first = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = [f"{first}.normalised" if name == first else name for name in node.input]
    for name, values in zip(("factor", "offset"), _colours(source), strict=True):
        graph.initializer.append(numpy_helper.from_array(values, f"{first}.{name}"))
    before = [
        helper.make_node("Cast", [first], [f"{first}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{first}.float", f"{first}.factor"], [f"{first}.scaled"]),
        helper.make_node("Add", [f"{first}.scaled", f"{first}.offset"], [f"{first}.moved"]),
        helper.make_node(
            "Transpose", [f"{first}.moved"], [f"{first}.normalised"], perm=[0, 3, 1, 2]
        ),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *rest])
    arch = source.arch
    shape = [1, arch.resolution, arch.resolution, arch.channels]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(first, TensorProto.UINT8, shape))


def open_onnx(path: Path, source: Source, threads: int) -> Opened:
    """The file in ONNX Runtime, on the processor."""
    session = open_session(path.read_bytes(), threads)
    name = session.get_inputs()[0].name

    def prepare(image: Image) -> NDArray[Any]:
        return as_bytes(image, source) if source.preprocess else np.ascontiguousarray(image)

    def run(given: NDArray[Any]) -> Logits:
        logits: Logits = session.run(None, {name: given})[0][0]
        return logits

    return Opened(prepare, run)


def as_bytes(image: Image, source: Source) -> NDArray[np.uint8]:
    """The picture that a normalised image (1, C, side, side) was: uint8, (1, side, side, C)."""
    factor, offset = _colours(source)
    values = np.rint((image - offset[:, None, None]) / factor[:, None, None]).clip(0, 255)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1).astype(np.uint8))


def rounded_to_bytes(images: Image, source: Source) -> Image:
    """Normalised images (..., C, side, side) of pictures whose values are whole numbers."""
    factor, offset = (values[:, None, None] for values in _colours(source))
    rounded: Image = np.rint((images - offset) / factor).clip(0, 255) * factor + offset
    return rounded


def _colours(source: Source) -> tuple[Image, Image]:
    """Factor and offset (C,) that normalise bytes: (x / 255 - mean) / std."""
    mean, std = (np.array(json.loads(source.facts[key]), np.float32) for key in ("mean", "std"))
    return np.float32(1) / (np.float32(255) * std), -mean / std
