"""ONNX models in 8 bits, as ONNX Runtime computes them fastest on processors.

Weights are signed, with a scale for each output channel (channels of a depthwise network differ
too much for one), activations unsigned, which x86 multiplies with signed ones, in the QDQ format.
Hard-swish and hard-sigmoid have no 8-bit kernel there and stay float.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry

from nas.network.activation_ranges import Ranges

PRECISIONS = ("float32", "int8")
WEIGHTED = ("Conv", "Gemm")  # operators with a weight (out, ...) and a bias (out)
FEW = 2  # output channels, which are enough for a quantiser to treat them each by itself
LARGEST = 127  # of a weight, so that both signs have as many steps
LARGEST_BIAS = 2**31 - 1

Floats = NDArray[np.float32]


def quantize(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """The float32 `model` of `nas.network.onnx_graph`, which is changed, with 8-bit operators.

    `ranges` are those of `nas.network.activation_ranges`, of the input and every node's output.
    It becomes what ONNX Runtime's own quantiser makes of it, three to five times sooner: that goes
    through output channels one by one, so it gets two of each weight, and all are put in after.
    """
    graph = model.graph
    names = [graph.input[0].name, *(name for node in graph.node for name in node.output)]
    limits = {name: tuple(np.float32(end) for end in ranges[name]) for name in names}
    known = {tensor.name: tensor for tensor in graph.initializer}
    whole = {}
    for node in (node for node in graph.node if node.op_type in WEIGHTED):
        for name in node.input[1:]:
            whole[name] = numpy_helper.to_array(known[name])
            known[name].CopyFrom(numpy_helper.from_array(whole[name][:FEW], name))
    graph.value_info.extend(  # types, which cannot be inferred of a few channels
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names[1:-1]
    )
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
    del quantized.graph.value_info[:]  # shapes of a few channels
    _put_in(quantized, whole)
    return quantized


def _put_in(model: onnx.ModelProto, whole: dict[str, Floats]) -> None:
    """Put all output channels of the weights and biases `whole` where a few of each were."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}

    def put(name: str, values: NDArray[np.generic]) -> None:
        known[name].CopyFrom(numpy_helper.from_array(values, name))

    for node in (node for node in graph.node if node.op_type in WEIGHTED):
        image, weight, bias = (made[name].input for name in node.input)
        values = whole[weight[0].removesuffix("_quantized")]
        offsets = whole[bias[0].removesuffix("_quantized")]
        of_input = numpy_helper.to_array(known[image[1]])
        scale = _scales(values, offsets, float(of_input))
        of_bias = (of_input * scale).astype(np.float32)
        offset = offsets.astype(np.float64) / of_bias
        steps = values / scale.reshape(-1, *[1] * (values.ndim - 1))
        put(weight[0], np.rint(steps).clip(-LARGEST, LARGEST).astype(np.int8))
        put(weight[1], scale)
        put(weight[2], np.zeros(len(scale), np.int8))
        put(bias[0], np.rint(offset).astype(np.int32))
        put(bias[1], of_bias)
        put(bias[2], np.zeros(len(scale), np.int32))


def _scales(weight: Floats, bias: Floats, of_input: float) -> Floats:
    """A step for each output channel of a weight (out, ...); 1 where all of it is zero.

    Where a channel's weights are so small that its bias (out), in steps of weight and input, would
    not fit into 32 bits, the step is larger: as ONNX Runtime makes it.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1).astype(np.float64)
    scale = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    candidate = of_input * scale.astype(np.float64)
    least = (1.0001 * (2.0 * np.abs(bias))).astype(np.float64) / (2 * LARGEST_BIAS)
    short = candidate < least
    scale[short] = (scale.astype(np.float64) * (least / candidate))[short]
    return scale
