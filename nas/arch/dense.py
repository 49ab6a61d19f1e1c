"""Heads that answer boxes or masks, as rows over the maps of a backbone.

`Dense` stands in an `Arch` beside its `Head`, of which the 1x1 convolution stays.  A new kind of
head is one function and one entry in `DENSE_HEADS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nas.arch.fields import check_fields, shown
from nas.arch.layers import (
    Concat,
    Conv,
    Dropout,
    Join,
    Layer,
    Merge,
    Operator,
    PerAnchor,
    Pool,
    Read,
    Resize,
    Split,
)
from nas.core.errors import UserError

BOX = 4  # numbers of a box: offsets of its centre, and logarithms of its sides
ANCHORS = 6  # at one place: two squares, and the aspect ratios 2, 3 and their inverses
LOW_STRIDE = 8  # of the finer map of LR-ASPP (Howard et al. 2019, Figure 10)


@dataclass(frozen=True, slots=True)
class Dense:
    """A head for boxes or masks, in the place of pool and classifier.

    op         its kind in `DENSE_HEADS`.
    width      channels: of SSDLite's first extra map, of which later ones have a half, a half and
               a quarter; of each branch of LR-ASPP and DeepLabv3.
    output_stride   pixels of the input to one of the backbone's last map: stages that would go
               beyond it dilate their kernels instead (Chen et al. 2017, section 3.2); 0 for as
               the stages say.
    rate       dilation of DeepLabv3's first atrous branch; the others have twice and three times.
    separable  whether these branches are depthwise separable (Chen et al. 2018, section 3.1).
    dropout    rate before DeepLabv3's last convolutions.
    finer_maps   SSDLite's before the usual ones, each of half the stride: 1 adds stride 8, for
               small things.
    first_anchors   SSDLite's on the finest map: 6, or 3 as in the TensorFlow detection code.
    min_scale, max_scale   sides of SSDLite's anchors on the first and the last map, as parts of
               the picture's (Liu et al. 2016, equation 4).
    own_eps    bn_eps of the norms of LR-ASPP and DeepLabv3; 0 for the backbone's.
    """

    op: str
    width: int = 128
    output_stride: int = 0
    rate: int = 12
    separable: bool = False
    dropout: float = 0.0
    finer_maps: int = 0
    first_anchors: int = ANCHORS
    min_scale: float = 0.2
    max_scale: float = 0.95
    own_eps: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        check_fields(self, ops=DENSE_HEADS)

    def __repr__(self) -> str:
        return shown(self)


def dense_rows(
    dense: Dense, backbone: Sequence[Operator], classes: int, side: int
) -> list[Operator]:
    """The rows of the backbone, one of them cut in two where SSDLite reads it, and of the head.

    `side` is the input's, `classes` the numbers that an anchor or a pixel gets beside its box.
    Raises UserError where the backbone lacks a map that the head reads.
    """
    return DENSE_HEADS[dense.op](dense, list(backbone), classes, side)


def anchor_maps(rows: Sequence[Operator]) -> list[tuple[int, int]]:
    """(side, anchors at one place) of each map, finest first; [] for other heads than SSDLite."""
    boxes = [row for row in rows if row.place == "boxes"]
    return [(x.side, x.anchors) for row in boxes for x in row.layers if isinstance(x, PerAnchor)]


def ssdlite(dense: Dense, rows: list[Operator], classes: int, side: int) -> list[Operator]:
    """SSDLite (Sandler et al. 2018, section 6.2; Howard et al. 2019, section 6.3).

    It reads the expansion of the last block of stride 2 (of one before it too for each of
    `finer_maps`), the last map, and four extra ones (Liu et al. 2016, Figure 2) that halve as long
    as there is more than a pixel; all predictors are depthwise separable.  The answer is
    (anchors, classes + 4): logits, and offsets of boxes.  Widths of the extra maps and ReLU6 are
    torchvision's and TensorFlow's.
    """
    maps: list[Operator] = []
    for back in range(1 + dense.finer_maps, 0, -1):
        rows, fine = _map_before(rows, back)
        maps.append(fine)
    last = rows[-1]
    maps.append(last)
    widths = [dense.width, dense.width // 2, dense.width // 2, dense.width // 4]
    for number, width in enumerate(widths, 1):
        if last.side_out == 1:
            break
        last = _extra_row(number, last, max(2, width))
        rows.append(last)
        maps.append(last)
    places = tuple(row.place for row in maps)
    numbers = {"boxes": BOX, "answers": classes}
    for place, each in numbers.items():
        layers: list[Layer] = []
        for i, row in enumerate(maps):
            if i:
                layers.append(Read(i, (row.cout, row.side_out, row.side_out)))
            layers += _predictor(i, row, dense.first_anchors if i == 0 else ANCHORS, each)
        total = sum(x.side**2 * x.anchors for x in layers if isinstance(x, PerAnchor))
        layers.append(Join("join", 1, (total, each)))
        sources = places
        if place == "answers":
            layers += [Read(len(maps), (total, BOX)), Join("beside", 2, (total, classes + BOX))]
            sources, each = (*places, "boxes"), classes + BOX
        sizes: dict[str, Any] = {
            "cin": maps[0].cout,
            "cout": total * each,
            "side": maps[0].side_out,
            "side_out": 1,
        }
        rows.append(Operator(place, "ssdlite", tuple(layers), **sizes, sources=sources))
    return rows


def _map_before(rows: list[Operator], back: int) -> tuple[list[Operator], Operator]:
    """The rows, and that whose output is the map before the last stride of 2, or the `back`th last.

    A block that expands before it strides is cut in two, as its expansion is the map.
    """
    strided = [i for i, row in enumerate(rows) if i and row.side_out < row.side]
    if len(strided) < back:
        raise UserError(
            f"ssdlite reads maps before the last {back} stages of stride 2, and there are "
            f"{len(strided)}: give more of them, or fewer finer maps"
        )
    at = strided[-back]
    row, first = rows[at], rows[at].layers[0]
    if not (isinstance(first, Conv) and first.role == "expand"):
        return rows, rows[at - 1]
    place = f"{row.place}_expand"
    expand = Operator(place, "conv", (first,), row.cin, first.cout, row.side, row.side)
    rest = replace(row, layers=row.layers[1:], cin=first.cout)
    return [*rows[:at], expand, rest, *rows[at + 1 :]], expand


def _extra_row(number: int, before: Operator, width: int) -> Operator:
    """A map of half the side: 1x1, depthwise 3x3 of stride 2, 1x1 (ReLU6 after each)."""
    inner, side = width // 2, before.side_out
    depthwise = _depthwise("depthwise", inner, side, "relu6", stride=2)
    layers = (
        Conv(role="expand", cin=before.cout, cout=inner, act="relu6", side=side),
        depthwise,
        Conv(role="project", cin=inner, cout=width, act="relu6", side=depthwise.side_out),
    )
    out = depthwise.side_out
    return Operator(f"extra{number}", "ssdlite", layers, before.cout, width, side, out)


def _predictor(i: int, row: Operator, anchors: int, numbers: int) -> list[Layer]:
    """Depthwise 3x3 and 1x1 on one map: `numbers` for each of the `anchors` of a place."""
    channels, side = row.cout, row.side_out
    last = Conv(role=f"predict{i}", cin=channels, cout=anchors * numbers, norm=False, side=side)
    depthwise = _depthwise(f"depthwise{i}", channels, side, "relu6")
    return [depthwise, last, PerAnchor(f"anchors{i}", anchors, numbers, side)]


def _depthwise(role: str, channels: int, side: int, act: str, stride: int = 1) -> Conv:
    sizes: dict[str, Any] = {"cin": channels, "cout": channels, "groups": channels}
    return Conv(role=role, kernel=3, stride=stride, act=act, side=side, **sizes)


def lraspp(dense: Dense, rows: list[Operator], classes: int, side: int) -> list[Operator]:
    """Lite R-ASPP (Howard et al. 2019, section 6.4 and Figure 10), pooled over the whole map.

    The last map, gated by its mean, is added to the first of stride 8, both as logits; they are
    resized to the input.  (classes, side, side).
    """
    last, low = rows[-1], _first_of_side(rows, -(-side // LOW_STRIDE))
    deep, fine, width, eps = last.side_out, low.side_out, dense.width, dense.own_eps
    layers = (
        Conv(role="project", cin=last.cout, cout=width, act="relu", side=deep, bn_eps=eps),
        Split("gate_of", last.cout, 0, last.cout, deep),
        Pool(last.cout, deep),
        _plain("gate", last.cout, width, 1, act="sigmoid", bias=False),
        Merge("multiply", width, deep),
        Resize("resize", width, deep, fine),
        _plain("high", width, classes, fine),
        Read(1, (low.cout, fine, fine)),
        _plain("low", low.cout, classes, fine),
        Merge("add", classes, fine),
        Resize("to_input", classes, fine, side),
    )
    sources = (last.place, low.place)
    row = Operator("answers", "lraspp", layers, last.cout, classes, deep, side, sources=sources)
    return [*rows, row]


def _first_of_side(rows: Sequence[Operator], side: int) -> Operator:
    found = next((row for row in rows if row.side_out == side), None)
    if found is None:
        raise UserError(
            f"lraspp reads a map of {side} pixels, an input's at stride {LOW_STRIDE}, and the "
            f"network's have {', '.join(str(s) for s in dict.fromkeys(r.side_out for r in rows))}"
        )
    return found


def _plain(role: str, cin: int, cout: int, side: int, act: str = "", bias: bool = True) -> Conv:
    """A 1x1 convolution without norm."""
    return Conv(role=role, cin=cin, cout=cout, act=act, norm=False, bias=bias, side=side)


def deeplabv3(dense: Dense, rows: list[Operator], classes: int, side: int) -> list[Operator]:
    """DeepLabv3 (Chen et al. 2017, section 3.3 and Figure 5): a 1x1 branch, three atrous ones and
    the mean of the map, side by side, then 3x3 and 1x1, resized to the input.

    (classes, side, side).  The 3x3 before the last layer is torchvision's.
    """
    last, width, eps = rows[-1], dense.width, dense.own_eps
    cin, deep = last.cout, last.side_out

    def conv(role: str, channels: int, at: int, kernel: int = 1) -> Conv:
        act = "relu"
        sizes: dict[str, Any] = {"cin": channels, "cout": width, "kernel": kernel, "side": at}
        return Conv(role=role, act=act, bn_eps=eps, **sizes)

    layers: list[Layer] = [conv("branch0", cin, deep)]
    for i in (1, 2, 3):
        layers += [Split(f"branch{i}_of", cin, 0, cin, deep)]
        layers += _atrous(dense, conv(f"branch{i}", cin, deep, kernel=3), dense.rate * i)
    layers += [
        Split("mean_of", cin, 0, cin, deep),
        Pool(cin, deep),
        conv("mean", cin, 1),
        Resize("spread", width, 1, deep),
        Concat(5 * width, deep),
        conv("project", 5 * width, deep),
        *([Dropout(dense.dropout)] if dense.dropout else []),
        conv("last", width, deep, kernel=3),
        _plain("logits", width, classes, deep),
        Resize("to_input", classes, deep, side),
    ]
    return [*rows, Operator("answers", "deeplabv3", tuple(layers), cin, classes, deep, side)]


def _atrous(dense: Dense, conv: Conv, rate: int) -> list[Layer]:
    """The 3x3 convolution dilated, or the depthwise one and the 1x1 in its place."""
    if not dense.separable:
        return [replace(conv, dilation=rate)]
    depthwise = _depthwise(f"{conv.role}_depthwise", conv.cin, conv.side, conv.act)
    return [replace(depthwise, dilation=rate, bn_eps=conv.bn_eps), replace(conv, kernel=1)]


Rows = list[Operator]
DENSE_HEADS: dict[str, Callable[[Dense, Rows, int, int], Rows]] = {
    "ssdlite": ssdlite,
    "lraspp": lraspp,
    "deeplabv3": deeplabv3,
}

# torchvision's own; the eps is that of its heads, whatever the backbone's
PRESETS = {
    "ssdlite": Dense("ssdlite", width=512),
    "lraspp": Dense("lraspp", width=128, output_stride=16, own_eps=1e-5),
    "deeplabv3": Dense("deeplabv3", width=256, output_stride=16, dropout=0.5, own_eps=1e-5),
}
