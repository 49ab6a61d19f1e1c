"""The exported model goes on to what is asked: boxes after non-maximum suppression, or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.tasks.anchors import LARGEST, VARIANCES
from nas.tasks.detection import Detection
from nas.tasks.task import Task

LOGITS = "logits"  # what the network itself puts out
END = np.iinfo(np.int64).max


class _Nodes:
    """Nodes behind the network, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def whole(self, name: str, *values: int) -> str:
        return self.constant(name, values, np.int64)

    def add(self, op: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def cut(self, x: str, name: str, first: int, last: int) -> str:
        """Columns from `first` to before `last` of the last axis."""
        places = (("first", first), ("last", last), ("axis", -1))
        return self.add("Slice", [x, *(self.whole(f"{name}.{k}", v) for k, v in places)], name)


def with_answers(model: bytes, task: Task) -> bytes:
    """The exported network with what it answers in the place of its logits.

    Boxes: "boxes" (n, 4): left, top, right, bottom as parts of the picture; "scores" (n,) and
    "labels" (n,), classes from 0, the best first.  Masks: "mask" (1, side, side), classes from 0.
    """
    proto = onnx.load_from_string(model)
    nodes = _Nodes()
    made: dict[str, tuple[int, list[Any]]]
    if isinstance(task, Detection):
        _boxes(nodes, task)
        made = {
            "boxes": (TensorProto.FLOAT, ["n", 4]),
            "scores": (TensorProto.FLOAT, ["n"]),
            "labels": (TensorProto.INT64, ["n"]),
        }
    else:
        most = nodes.add("ArgMax", [LOGITS], "classes", axis=1, keepdims=0)
        nodes.add("Cast", [most], "mask", to=TensorProto.UINT8)
        sides = [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim[-2:]]
        made = {"mask": (TensorProto.UINT8, [1, *sides])}
    proto.graph.node.extend(nodes.nodes)
    proto.graph.initializer.extend(nodes.tensors)
    del proto.graph.output[:]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in made.items()
    )
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _boxes(nodes: _Nodes, task: Detection) -> None:
    """Decoding as in `nas.tasks.anchors.decoded`, suppression, and the best `task.most` of all."""
    assert task.anchors is not None
    add, constant = nodes.add, nodes.constant
    corner = _decoded(nodes, task.anchors.cpu().numpy())  # (1, A, 4)
    logits = nodes.cut(LOGITS, "class_logits", 0, -4)
    certain = add("Softmax", [logits], "certain", axis=-1)
    of_classes = nodes.cut(certain, "of_classes", 1, END)  # without the background
    scores = add("Transpose", [of_classes], "by_class", perm=[0, 2, 1])  # (1, classes, A)
    limits = [
        nodes.whole("most", task.most),
        constant("iou", [task.nms_iou]),
        constant("least", [task.min_score]),
    ]
    rows = add("NonMaxSuppression", [corner, scores, *limits], "rows")  # (k, 3)
    found = add("GatherND", [scores, rows], "found")  # (k,)
    number = add("Shape", [found], "number")
    fewest = add("Min", [number, "most"], "fewest")
    add("TopK", [found, fewest], "scores", "order", axis=0, largest=1, sorted=1)
    best = add("Gather", [rows, "order"], "best", axis=0)  # (n, 3)
    for name, column in (("labels", 1), ("anchor", 2)):
        at = constant(f"{name}.column", column, np.int64)
        add("Gather", [best, at], name, axis=1)
    first = constant("first_picture", 0, np.int64)
    add("Gather", [add("Gather", [corner, first], "of_picture", axis=0), "anchor"], "boxes", axis=0)


def _decoded(nodes: _Nodes, anchors: NDArray[Any]) -> str:
    add, constant = nodes.add, nodes.constant
    raw = nodes.cut(LOGITS, "raw_offsets", -4, END)
    offsets = add("Div", [raw, constant("variances", VARIANCES)], "offsets")
    move, grow = nodes.cut(offsets, "move", 0, 2), nodes.cut(offsets, "grow", 2, 4)
    size_of, centre_of = (
        constant("anchor_sizes", anchors[:, 2:]),
        constant("anchor_centres", anchors[:, :2]),
    )
    centre = add("Add", [add("Mul", [move, size_of], "moved"), centre_of], "centre")
    bounded = add("Min", [grow, constant("largest", LARGEST)], "bounded")
    size = add("Mul", [add("Exp", [bounded], "grown"), size_of], "size")
    half = add("Mul", [size, constant("half", 0.5)], "half_size")
    ends = [add("Sub", [centre, half], "low"), add("Add", [centre, half], "high")]
    both = add("Concat", ends, "corners", axis=-1)
    return add("Clip", [both, constant("nought", 0.0), constant("one", 1.0)], "clipped")
