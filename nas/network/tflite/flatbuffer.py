"""A .tflite file of nodes, by the schema that the runtime brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.core.errors import UserError
from nas.network.tflite.graph import Node, Shape
from nas.network.tflite.quantization import Quantization

FILE_ID, FORMAT_VERSION = b"TFL3", 3  # of every .tflite file since 2018
OPTIONS = {  # the schema's table for the options of each operator; LOGISTIC has none
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "HARD_SWISH": "HardSwishOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "RESHAPE": "ReshapeOptions",
    "SLICE": "SliceOptions",
    "TRANSPOSE": "TransposeOptions",
}
# The versions of operators that work in int8; in float32 all are 1 (TensorFlow's op_version.cc).
INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "HARD_SWISH": 1,
                 "RESHAPE": 1}  # fmt: skip
OTHER_INT8_VERSION = 2
ENUMERATIONS = {"padding": "Padding", "fusedActivationFunction": "ActivationFunctionType"}
ALIGNMENT = 16  # bytes; the schema's force_align of a buffer, which its Python code leaves out
SIGNATURE = "serving_default"  # the name that TensorFlow's converter gives


@dataclass(frozen=True, slots=True)
class _Buffer:
    """The bytes of a constant, aligned: the runtime reads weights where they lie in the file."""

    data: NDArray[np.uint8]
    schema: Any

    def Pack(self, builder: Any) -> int:  # noqa: N802  # so ModelT calls it
        builder.Prep(ALIGNMENT, self.data.size)
        data = builder.CreateNumpyVector(self.data)
        self.schema.BufferStart(builder)
        self.schema.BufferAddData(builder, data)
        return int(self.schema.BufferEnd(builder))


@dataclass
class _Tables:
    """Tensors, buffers and operators so far."""

    schema: Any
    scales: Mapping[str, Quantization]
    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def activation(self, name: str, shape: Shape) -> int:
        """The index of a new tensor without data."""
        return self._tensor(name, shape, "INT8" if name in self.scales else "FLOAT32", buffer=0)

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """The index of a new tensor of these values."""
        return self._tensor(name, values.shape, values.dtype.name.upper(), self.buffer(values))

    def buffer(self, values: NDArray[Any]) -> int:
        """The index of a new buffer."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self.buffers.append(_Buffer(data, self.schema))
        return len(self.buffers) - 1

    def operator(self, node: Node) -> Any:
        """The operator of `node`; tensors are made of its output and constants."""
        operator = self.schema.OperatorT()
        if node.op not in self.codes:
            self.codes.append(node.op)
        operator.opcodeIndex = self.codes.index(node.op)
        constants = [self.constant(f"{node.output}.{key}", x) for key, x in node.constants.items()]
        operator.inputs = _indices([self.index[name] for name in node.inputs] + constants)
        operator.outputs = _indices([self.activation(node.output, node.shape)])
        if node.op in OPTIONS:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, OPTIONS[node.op])
            operator.builtinOptions = self._options(node)
        return operator

    def _options(self, node: Node) -> Any:
        options = getattr(self.schema, f"{OPTIONS[node.op]}T")()
        for key, value in node.options.items():
            assert hasattr(options, key)
            named = isinstance(value, str)
            known = getattr(getattr(self.schema, ENUMERATIONS[key]), value) if named else value
            setattr(options, key, known)
        return options

    def _tensor(self, name: str, shape: Shape, kind: str, buffer: int) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, _indices(shape), buffer
        tensor.type = getattr(self.schema.TensorType, kind)
        tensor.hasRank = True
        if how := self.scales.get(name):
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = how.scale
            tensor.quantization.zeroPoint = np.full(how.scale.shape, how.zero_point, np.int64)
            tensor.quantization.quantizedDimension = how.axis
        self.tensors.append(tensor)
        self.index[name] = len(self.tensors) - 1
        return self.index[name]


def _indices(values: Sequence[int]) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def tflite_bytes(
    nodes: Sequence[Node],
    entry: tuple[str, Shape],
    scales: Mapping[str, Quantization],
    facts: Mapping[str, str],
    description: str,
) -> bytes:
    """The file of `nodes` that read the input `entry`, (name, shape), and end with its output.

    Tensors with `scales` are int8; `facts` become metadata, a buffer of UTF-8 each.  Raises
    UserError where the runtime's package is absent.
    """
    schema, builder_type = _libraries()
    tables = _Tables(schema, scales, buffers=[schema.BufferT()])  # buffer 0 is that of no data
    tables.activation(*entry)
    names = {"inputs": entry[0], "outputs": nodes[-1].output}
    model = schema.ModelT()
    model.version, model.description = FORMAT_VERSION, description
    model.subgraphs = [_subgraph(tables, nodes, names)]
    model.operatorCodes = [_code(schema, op, bool(scales)) for op in tables.codes]
    model.signatureDefs = [_signature(tables, names)]
    model.metadata = [_metadata(tables, key, text) for key, text in facts.items()]
    model.buffers = tables.buffers
    size = sum(buffer.data.nbytes for buffer in tables.buffers[1:])
    builder = builder_type(size + size // 8 + 2**16)  # room for all, as growing would copy it
    builder.Finish(model.Pack(builder), FILE_ID)
    return bytes(builder.Output())


def _libraries() -> tuple[Any, Any]:
    """The schema, and the builder of flatbuffers."""
    try:
        from ai_edge_litert import schema_py_generated
        from flatbuffers import Builder
    except ModuleNotFoundError as error:
        raise UserError(
            "a .tflite file needs the package ai-edge-litert: pip install -e '.[litert]'"
        ) from error
    return schema_py_generated, Builder


def _subgraph(tables: _Tables, nodes: Sequence[Node], names: Mapping[str, str]) -> Any:
    made = tables.schema.SubGraphT()
    made.name = "main"
    made.operators = [tables.operator(node) for node in nodes]
    made.tensors = tables.tensors
    made.inputs, made.outputs = (_indices([tables.index[name]]) for name in names.values())
    return made


def _metadata(tables: _Tables, name: str, text: str) -> Any:
    made = tables.schema.MetadataT()
    made.name = name
    made.buffer = tables.buffer(np.frombuffer(text.encode(), np.uint8))
    return made


def _code(schema: Any, op: str, int8: bool) -> Any:
    made = schema.OperatorCodeT()
    # old runtimes read the code from the deprecated field of one byte; ours are below 127
    made.builtinCode = made.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, op)
    made.version = INT8_VERSIONS.get(op, OTHER_INT8_VERSION) if int8 else 1
    return made


def _signature(tables: _Tables, names: Mapping[str, str]) -> Any:
    """The names by which the runtime's signature runner takes input and output."""
    made = tables.schema.SignatureDefT()
    made.signatureKey = SIGNATURE
    for side, name in names.items():
        pair = tables.schema.TensorMapT()
        pair.name, pair.tensorIndex = name, tables.index[name]
        setattr(made, side, [pair])
    return made
