"""ONNX models in 8 bits, as ONNX Runtime computes them fastest on processors.

Weights are signed, with a scale for each output channel (one scale for all costs a depthwise
network some 15 points of accuracy), activations unsigned (signed ones are no faster than float32
on x86), in the QDQ format.  Hard-swish and hard-sigmoid have no 8-bit kernel there and stay float.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry

from nas.network.activation_ranges import Ranges

PRECISIONS = ("float32", "int8")


def quantize(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """The float32 `model` of `nas.network.onnx_graph`, which is changed, with 8-bit operators.

    `ranges` are those of `nas.network.activation_ranges`, of the input and every node's output.
    """
    graph = model.graph
    names = [graph.input[0].name, *(name for node in graph.node for name in node.output)]
    limits = {name: tuple(np.float32(end) for end in ranges[name]) for name in names}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[],  # all
        nodes_to_exclude=[],
        op_types_to_quantize=list(QDQRegistry),
        extra_options={},
    )
    quantizer.quantize_model()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
