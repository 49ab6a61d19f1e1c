"""The form of a block's time: a sum over its layers of counts times what one count takes here.

A layer is described by what it computes, reads, writes and calls, by kind of layer, and a device
by how long each takes: never negative, learnt from blocks that were timed (Lawson and Hanson's
non-negative least squares, on relative errors).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import assert_never

import numpy as np
from scipy.optimize import nnls

from nas.arch.layers import (
    Concat,
    Conv,
    Dropout,
    Join,
    Layer,
    Linear,
    MaxPool,
    Merge,
    Operator,
    PerAnchor,
    Pool,
    Read,
    Resize,
    Shuffle,
    Split,
    SqueezeExcite,
)
from nas.core.errors import UserError
from nas.latency.curve import STRAIGHT, Curve, Floats, fit_curve

Counts = dict[str, float]

BLOCK = 4  # channels; layers of no multiple of it ONNX Runtime computes unblocked, more slowly
LANES = 16  # float32 numbers in the widest vector registers (AVX-512), and ONNX Runtime's blocks
NETWORK_WEIGHT = 10.0  # of a whole network beside a block: it holds ten to twenty of them
REFITS = 3  # of the sum and the curve in turn: more change mean errors by less than 0.001


def _blocked(channels: int) -> int:
    return -(-channels // LANES) * LANES


@lru_cache(maxsize=65536)
def layer_counts(layer: Layer) -> Counts:
    """What the layer does, by kind: calls, multiply-adds, elements read and written, weights."""
    match layer:
        case Conv():
            return _conv_counts(layer)
        case SqueezeExcite():
            return {
                "se.calls": 1,
                "se.elements": layer.channels * layer.side**2,
                "se.weights": layer.channels * layer.squeeze,
                "se.channels": layer.channels,
            }
        case Pool():
            return _moved("pool", layer.channels, layer.side)
        case MaxPool():
            return _moved("maxpool", layer.channels, layer.side)
        case Split(cin=cin, cout=cout, side=side):
            return _moved("split", cout, side) if cout < cin else {}
        case Concat():
            return _moved("concat", layer.channels, layer.side)
        case Shuffle():
            return _moved("shuffle", layer.channels, layer.side)
        case Linear():
            weights = layer.cin * layer.cout
            act = _act(layer.act, layer.cout)
            return {"linear.calls": 1, "linear.weights": weights, **act}
        case Merge():
            return _moved(layer.op, layer.channels, layer.side)
        case Resize():
            return _moved("resize", layer.channels, layer.side_out)
        case PerAnchor():
            return _moved("per_anchor", layer.anchors * layer.numbers, layer.side)
        case Join(shape=(rows, columns)):
            return _moved("join", rows * columns, 1)
        case Dropout() | Read():
            return {}
    assert_never(layer)


def _moved(kind: str, channels: int, side: int) -> Counts:
    """Of layers that do little but read and write."""
    return {f"{kind}.calls": 1, f"{kind}.elements": channels * side**2}


def _conv_counts(layer: Conv) -> Counts:
    read, written = layer.cin * layer.side**2, layer.cout * layer.side_out**2
    counts = _act(layer.act, written)
    # channels that do not fill the vector registers cost rearranging, as such layers run apart
    odd = [n for c, n in ((layer.cin, read), (layer.cout, written)) if c % LANES]
    dilated = ".dilated" if layer.dilation > 1 else ""
    if layer.groups > 1:
        kind = f"depthwise{layer.kernel}.stride{layer.stride}{dilated}"
        counts |= {f"{kind}.written": written, "depthwise.read": read, "depthwise.calls": 1}
        if odd:
            counts |= {f"{kind}.unaligned": written, "depthwise.unaligned.calls": 1}
        if layer.cout % BLOCK:
            counts |= {f"{kind}.unblocked": written, "depthwise.unblocked.calls": 1}
        return counts
    kind = f"conv{layer.kernel}{dilated}"
    area = layer.kernel**2 * layer.side_out**2
    counts |= {
        f"{kind}.calls": 1,
        f"{kind}.macs": layer.cin * layer.cout * area,
        f"{kind}.blocked_macs": _blocked(layer.cin) * _blocked(layer.cout) * area,
        f"{kind}.read": read,
        f"{kind}.written": written,
        f"{kind}.weights": layer.cin * layer.cout,
    }
    if odd:
        counts |= {f"{kind}.unaligned.calls": len(odd), "conv.unaligned": sum(odd)}
    if layer.cout % BLOCK:
        counts |= {f"{kind}.unblocked.calls": 1, f"{kind}.unblocked.macs": counts[f"{kind}.macs"]}
    return counts


def _act(act: str, elements: int) -> Counts:
    return {f"{act}.calls": 1, f"{act}.elements": elements} if act else {}


def row_counts(row: Operator) -> Counts:
    """The sum over the layers of the row, and over the addition of its residual."""
    counts: Counter[str] = Counter()
    for layer in row.layers:
        counts.update(layer_counts(layer))
    if row.residual:
        counts.update({"add.calls": 1, "add.elements": row.cout * row.side**2})
    return dict(counts)


def with_movements(rows: Sequence[Operator]) -> list[Operator]:
    """`rows`, and as rows of their own what only moves channels in those of several branches.

    Inside a block it goes along with convolutions of its size, whose time would take its own in.
    """
    moving = {}
    for row in rows:
        layers = tuple(x for x in row.layers if isinstance(x, Split | Concat | Shuffle))
        if layers and row.cin == row.cout and row.side == row.side_out:
            moving[layers] = replace(row, layers=layers, residual=False)
    return [*rows, *moving.values()]


def column_names(rows: Iterable[Operator]) -> tuple[str, ...]:
    """The names of all counts, sorted."""
    return tuple(sorted({name for row in rows for name in row_counts(row)}))


def matrix(parts: Sequence[Sequence[Operator]], names: Sequence[str]) -> Floats:
    """(parts, names): the counts of each part, without those that `names` lacks."""
    column = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(parts), len(names)))
    for i, part in enumerate(parts):
        for row in part:
            for name, count in row_counts(row).items():
                if name in column:
                    out[i, column[name]] += count
    return out


def d_optimal_rows(counts: Floats, number: int) -> list[int]:
    """Indices of the blocks, rows of `counts`, that tell most about all.

    Greedy D-optimal design: next comes the largest predictive variance of a ridge regression on
    counts scaled to [0, 1], each block to length one, as errors are relative.
    """
    scaled = counts / np.maximum(counts.max(axis=0), 1e-30)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-30)
    covariance = 1e3 * np.eye(counts.shape[1])
    left = np.ones(len(counts), bool)
    chosen: list[int] = []
    for _ in range(min(number, len(counts))):
        gain = scaled @ covariance
        variance = np.where(left, np.einsum("ij,ij->i", gain, scaled), -1.0)
        best = int(variance.argmax())
        chosen.append(best)
        left[best] = False
        covariance -= np.outer(gain[best], gain[best]) / (1 + variance[best])
    return chosen


def relative_fit(counts: Floats, ms: Floats, weights: Floats) -> Floats:
    """Non-negative coefficients that minimise the weighted sum of squared relative errors."""
    scaled = counts / ms[:, None] * weights[:, None]
    scale = np.maximum(np.abs(scaled).max(axis=0), 1e-30)
    coefficients, _ = nnls(scaled / scale, weights, maxiter=100 * counts.shape[1])
    return np.asarray(coefficients / scale)


@dataclass(frozen=True)
class LatencyModel:
    """What one count of each kind takes, in milliseconds, inside a network.

    overhead_ms   of a network beside its rows.
    alone         (factor, ms): a block alone takes its time in a network / factor + ms.  The ms
                  are what a call costs; the factor is for the caches that other blocks emptied.
    curve         from the sum over rows and overhead to what the whole network takes.
    """

    coefficients: dict[str, float]
    overhead_ms: float
    alone: tuple[float, float]
    curve: Curve = STRAIGHT

    def row_ms(self, row: Operator) -> float:
        """What the row adds to a network's sum; UserError for layers that no measured block had."""
        counts = row_counts(row)
        if unknown := counts.keys() - self.coefficients.keys():
            kinds = ", ".join(sorted({name.partition(".")[0] for name in unknown}))
            raise UserError(f"the latency table knows no {kinds}: it was built for another space")
        return sum(self.coefficients[name] * count for name, count in counts.items())

    def network_ms(self, rows: Sequence[Operator]) -> float:
        """What a network of those rows takes."""
        total = 0.0  # added in order, as the trellis does: sum() of Python 3.12 rounds otherwise
        for row in rows:
            total += self.row_ms(row)
        return float(self.whole_ms(np.array(total)))

    def whole_ms(self, sums: Floats) -> Floats:
        """What whole networks take, by the sums over their rows; any shape."""
        return self.curve.whole_ms(sums + self.overhead_ms)

    def sum_ms(self, whole: Floats) -> Floats:
        """The inverse of `whole_ms`."""
        return self.curve.sum_ms(whole) - self.overhead_ms


def _named(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {name: float(x) for name, x in zip(names, values, strict=True)}


def fit_blocks(blocks: Sequence[Operator], ms: Sequence[float]) -> LatencyModel:
    """The model by isolated blocks alone: the constant is a call's, a network is the sum."""
    names, times = column_names(blocks), np.asarray(ms, float)
    counts, ones = matrix([[row] for row in blocks], names), np.ones(len(times))
    *coefficients, call_ms = relative_fit(np.c_[counts, ones], times, ones)
    return LatencyModel(_named(names, coefficients), 0.0, (1.0, float(call_ms)))


def correct(
    model: LatencyModel,
    blocks: Sequence[Operator],
    block_ms: Sequence[float],
    networks: Sequence[Sequence[Operator]],
    network_ms: Sequence[float],
) -> LatencyModel:
    """`model` (of `fit_blocks`) corrected by whole networks.

    The sum comes first.  Where the networks show a bend, the curve and the sum, which then is of
    networks without the bend, are fitted in turn.
    """
    whole = np.asarray(network_ms, float)
    found = _corrected_sum(model, blocks, block_ms, networks, whole)
    curve, bends = fit_curve(_sums(found, networks), whole)
    if not bends:
        return found
    for _ in range(REFITS):
        found = _corrected_sum(model, blocks, block_ms, networks, curve.sum_ms(whole))
        curve, _ = fit_curve(_sums(found, networks), whole)
    return replace(found, curve=curve)


def _sums(model: LatencyModel, networks: Sequence[Sequence[Operator]]) -> Floats:
    return np.array([model.network_ms(rows) for rows in networks])


def _corrected_sum(
    model: LatencyModel,
    blocks: Sequence[Operator],
    block_ms: Sequence[float],
    networks: Sequence[Sequence[Operator]],
    whole: Floats,
) -> LatencyModel:
    """First one factor and one constant are fitted to all networks: by them what blocks take alone
    becomes what they take inside.  Then all coefficients are fitted to blocks and networks.
    """
    names = tuple(model.coefficients)
    inside = matrix(networks, names)
    ones = np.ones(len(whole))
    sums = inside @ np.array(list(model.coefficients.values()))
    _, factor = relative_fit(np.c_[ones, sums], whole, ones)
    alone = np.asarray(block_ms, float)
    target = factor * (alone - model.alone[1])
    kept = target > 0.1 * factor * alone  # others are all call, and tell nothing
    counts = matrix([[row] for row, keep in zip(blocks, kept, strict=True) if keep], names)
    both = np.r_[np.c_[counts, np.zeros(len(counts))], np.c_[inside, ones]]
    weights = np.r_[np.ones(len(counts)), NETWORK_WEIGHT * ones]
    *coefficients, overhead_ms = relative_fit(both, np.r_[target[kept], whole], weights)
    return LatencyModel(
        _named(names, coefficients), float(overhead_ms), (float(factor), model.alone[1])
    )
