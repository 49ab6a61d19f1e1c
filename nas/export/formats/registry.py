"""The kinds of files that a network can be written as."""

from __future__ import annotations

from nas.export.formats.executorch import open_program
from nas.export.formats.executorch import write_float as write_executorch
from nas.export.formats.executorch import write_int8 as write_executorch_int8
from nas.export.formats.format import Format
from nas.export.formats.litert import open_litert
from nas.export.formats.litert import write_float as write_litert
from nas.export.formats.litert import write_int8 as write_litert_int8
from nas.export.formats.onnx import open_onnx
from nas.export.formats.onnx import write_float as write_onnx
from nas.export.formats.onnx import write_int8 as write_onnx_int8
from nas.export.formats.openvino import open_openvino, write_openvino

ONNX = ("onnxruntime", "onnxruntime")
LITERT = ("ai_edge_litert", "ai-edge-litert")
EXECUTORCH = ("executorch", "executorch")
OPENVINO = ("openvino", "openvino")
FORMATS = {
    kind.name: kind
    for kind in (
        Format("onnx", (".onnx",), "float32", *ONNX, write_onnx, open_onnx),
        Format("onnx_int8", (".onnx",), "int8", *ONNX, write_onnx_int8, open_onnx),
        Format("litert", (".tflite",), "float32", *LITERT, write_litert, open_litert),
        Format("litert_int8", (".tflite",), "int8", *LITERT, write_litert_int8, open_litert),
        Format("executorch", (".pte",), "float32", *EXECUTORCH, write_executorch, open_program),
        Format(
            "executorch_int8", (".pte",), "int8", *EXECUTORCH, write_executorch_int8, open_program
        ),
        Format("openvino", (".xml", ".bin"), "float32", *OPENVINO, write_openvino, open_openvino),
    )
}
