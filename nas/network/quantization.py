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

from nas.network.activation_ranges import Ranges, tensor_names

PRECISIONS = ("float32", "int8")
NOMINAL = (-3.0, 3.0)  # where only time matters, which does not depend on ranges


def quantize(model: onnx.ModelProto, ranges: Ranges | None = None) -> onnx.ModelProto:
    """The float32 `model` of `nas.network.onnx_graph`, which is changed, with 8-bit operators.

    `ranges` are the least and the largest value of each tensor, by name, on pictures like those
    that it will see; without them every tensor has the same range, which is right for timing only.
    """
    names = tensor_names(model)
    found = dict.fromkeys(names, NOMINAL) if ranges is None else {n: ranges[n] for n in names}
    limits = {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.items()}
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
