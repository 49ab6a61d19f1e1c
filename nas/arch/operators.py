"""What an `Arch` means: the one list of rows that cost, latency and torch all read."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from functools import lru_cache

from nas.arch.arch import Arch, strides
from nas.arch.blocks import block_row
from nas.arch.dense import dense_rows
from nas.arch.layers import Conv, Dropout, Layer, Linear, Operator, Pool
from nas.core.errors import UserError


# cost, latency and identity of one network ask for the same rows, one after the other
@lru_cache(maxsize=1024)
def operators(arch: Arch) -> tuple[Operator, ...]:
    """The network as rows in order of execution: stem, blocks, head, pool, classifier.

    Raises UserError where the input is too small for the strides.
    """
    stem = _stem(arch)
    rows = [stem, *_body(arch, stem)]
    rows += _last_conv(arch, rows[-1])
    if arch.dense:
        return tuple(dense_rows(arch.dense, rows, arch.classes, arch.resolution))
    return (*rows, *_head(arch, rows[-1].cout, rows[-1].side_out))


def _stem(arch: Arch) -> Operator:
    stem = arch.stem
    _check_side(arch, arch.resolution, stem.stride)
    layer = Conv(
        role="conv",
        cin=arch.channels,
        cout=stem.width,
        kernel=stem.kernel,
        stride=stem.stride,
        act=stem.act,
        side=arch.resolution,
    )
    return _conv_row("stem", layer)


def _conv_row(place: str, layer: Conv) -> Operator:
    return Operator(place, "conv", (layer,), layer.cin, layer.cout, layer.side, layer.side_out)


def _check_side(arch: Arch, side: int, stride: int) -> None:
    if stride > 1 and side < 2:
        total = arch.stem.stride * math.prod(strides(arch))
        raise UserError(
            f"resolution {arch.resolution} is too small for strides of {total} in all: "
            f"allowed is {total // 2 + 1} or more; raise resolution= or lower the strides"
        )


def _body(arch: Arch, stem: Operator) -> list[Operator]:
    rows: list[Operator] = []
    cin, side = stem.cout, stem.side_out
    total, dilation = arch.stem.stride, 1
    most = arch.dense.output_stride if arch.dense else 0
    for s, (stage, first) in enumerate(zip(arch.stages, strides(arch), strict=True), 1):
        for b, block in enumerate(stage.slots(), 1):
            stride = first if b == 1 else 1
            if most and total * stride > most:
                stride, dilation = 1, dilation * stride
            total *= stride
            _check_side(arch, side, stride)
            row = block_row(f"stage{s}_block{b}", block, cin, stage.width, stride, side)
            if row:
                rows.append(_dilated(row, dilation) if dilation > 1 else row)
                cin, side = row.cout, row.side_out
    if not arch.drop_path:
        return rows
    rates = (arch.drop_path * i / len(rows) for i in range(len(rows)))
    return [replace(r, drop_path=p) if r.residual else r for r, p in zip(rows, rates, strict=True)]


def _dilated(row: Operator, dilation: int) -> Operator:
    """The block with its kernels dilated, that which lost its stride among them (torchvision)."""
    layers = (
        replace(x, dilation=dilation) if isinstance(x, Conv) and x.kernel > 1 else x
        for x in row.layers
    )
    return replace(row, layers=tuple(layers))


def _last_conv(arch: Arch, last: Operator) -> list[Operator]:
    """The 1x1 convolution of the head, if it has one."""
    width, act = arch.head.width, arch.head.act
    layer = Conv(role="conv", cin=last.cout, cout=width, act=act, side=last.side_out)
    return [_conv_row("head", layer)] if width else []


def _head(arch: Arch, cin: int, side: int) -> list[Operator]:
    head = arch.head
    rows = [Operator("pool", "pool", (Pool(cin, side),), cin, cin, side, side_out=1)]
    if head.hidden:
        role, width, act = "hidden", head.hidden, head.act
        hidden: Layer = Linear(role, cin, width, act)
        if head.hidden_layer != "linear":
            norm = head.hidden_layer == "conv_norm"
            hidden = Conv(role=role, cin=cin, cout=width, act=act, norm=norm, side=1)
        rows.append(Operator("hidden", head.hidden_layer, (hidden,), cin, head.hidden, 1, 1))
        cin = head.hidden
    last = (Dropout(float(head.dropout)), Linear("linear", cin, arch.classes, ""))
    rows.append(Operator("classifier", "linear", last, cin, arch.classes, 1, 1))
    return rows


def in_backbone(place: str) -> bool:
    """Whether the row there is of stem, blocks or last convolution, and not of what answers."""
    return place.startswith(("stem", "stage", "head"))


@lru_cache(maxsize=1024)
def network_id(arch: Arch) -> str:
    """12 hex digits that two architectures share exactly when they build the same network.

    It is of the layers and the constants of norm and padding; what has no effect does not count.
    """
    number = {row.place: i for i, row in enumerate(operators(arch))}
    rows = [
        (r.layers, r.residual, r.drop_path, *(number[place] for place in r.sources))
        for r in operators(arch)
    ]
    text = repr((rows, arch.padding, float(arch.bn_eps), float(arch.bn_momentum)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
