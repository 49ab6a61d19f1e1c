"""LiteRT's files (.tflite) for Android, in float32 and in 8 bits; images are NHWC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError
from nas.export.formats.format import Image, Logits, Opened, Source
from nas.network.modules import arrays
from nas.network.tflite.model import tflite_model
from nas.network.tflite.runtime import interpreter_type


def write_float(source: Source) -> tuple[bytes, ...]:
    """The file in float32."""
    return (tflite_model(source.arch, arrays(source.net), facts=source.facts),)


def write_int8(source: Source) -> tuple[bytes, ...]:
    """The file in 8 bits, its input and output too."""
    weights, ranges = arrays(source.net), source.ranges
    return (tflite_model(source.arch, weights, ranges=ranges, facts=source.facts),)


def open_litert(path: Path, source: Source, threads: int) -> Opened:
    """The file in LiteRT, on the processor with XNNPACK; UserError where that refuses it."""
    try:
        litert = interpreter_type()(model_path=str(path), num_threads=threads or None)
        litert.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"LiteRT refuses {path.name} ({reason}): leave it out of to=") from None
    (given,), (made,) = litert.get_input_details(), litert.get_output_details()

    def prepare(image: Image) -> NDArray[Any]:
        pixels = image.transpose(0, 2, 3, 1)
        scale, zero_point = given["quantization"]
        if scale:
            pixels = np.rint(pixels / scale + zero_point).clip(-128, 127)
        return np.ascontiguousarray(pixels, given["dtype"])

    def run(pixels: NDArray[Any]) -> Logits:
        litert.set_tensor(given["index"], pixels)
        litert.invoke()
        logits: Logits = litert.get_tensor(made["index"])[0]
        scale, zero_point = made["quantization"]
        return (logits.astype(np.float32) - zero_point) * scale if scale else logits

    return Opened(prepare, run)
