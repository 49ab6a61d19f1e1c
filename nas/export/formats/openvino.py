"""OpenVINO's files, made from the ONNX model."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nas.export.formats.format import Image, Logits, Opened, Source
from nas.export.formats.onnx import float_model


def write_openvino(source: Source) -> tuple[bytes, ...]:
    """The graph (.xml) and the weights (.bin) in float32."""
    import openvino

    with TemporaryDirectory() as name:
        model = Path(name) / "model.onnx"
        model.write_bytes(float_model(source).SerializeToString())
        converted: Any = openvino.convert_model(model)
        openvino.save_model(converted, model.with_suffix(".xml"), compress_to_fp16=False)
        return tuple(model.with_suffix(end).read_bytes() for end in (".xml", ".bin"))


def open_openvino(path: Path, source: Source, threads: int) -> Opened:
    """The files in OpenVINO, on the processor, in float32."""
    import openvino

    config = {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = str(threads)
    compiled: Any = openvino.Core().compile_model(path, "CPU", config)
    request = compiled.create_infer_request()

    def run(image: Image) -> Logits:
        logits: Logits = np.array(request.infer({0: image})[0][0])
        return logits

    return Opened(np.ascontiguousarray, run)
