"""SSD's anchors, and boxes as offsets from them.  All boxes are parts of the picture's sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nas.arch.arch import Arch
from nas.arch.dense import ANCHORS, Dense, anchor_maps
from nas.arch.operators import operators

RATIOS = (2.0, 3.0)  # with their inverses; and two squares (Liu et al. 2016, section 2.2)
VARIANCES = (10.0, 10.0, 5.0, 5.0)  # offsets are this much larger (SSD's code, .1 and .2)
LARGEST = math.log(1000 / 16)  # of a logarithm, so that its exponential stays finite (torchvision)
SMALLEST_SCALE = 0.1  # of the three anchors of the TensorFlow detection code on the finest map


def anchors_of(arch: Arch) -> Tensor:
    """(A, 4): centre, width and height of every anchor, in the order of the network's answer."""
    assert arch.dense is not None
    maps = anchor_maps(operators(arch))
    found = [
        _of_map(side, sizes[:number])
        for (side, number), sizes in zip(maps, sizes_of(arch.dense, len(maps)), strict=True)
    ]
    return torch.cat(found)


def sizes_of(dense: Dense, maps: int) -> list[list[tuple[float, float]]]:
    """Width and height of the anchors at a place of each map, at most 1 (equation 4 and below)."""
    low, high = dense.min_scale, dense.max_scale
    scales = [low + (high - low) * k / max(1, maps - 1) for k in range(maps)] + [1.0]
    sizes = []
    for k in range(maps):
        scale, between = scales[k], math.sqrt(scales[k] * scales[k + 1])
        stretched = [(scale * math.sqrt(r), scale / math.sqrt(r)) for r in RATIOS]
        turned = [pair for w, h in stretched for pair in ((w, h), (h, w))]
        sizes.append([(scale, scale), (between, between), *turned])
    if dense.first_anchors < ANCHORS:
        small = SMALLEST_SCALE * low / 0.2, SMALLEST_SCALE * low / 0.2
        sizes[0] = [small, *sizes[0][2:4]]
    return [[(min(w, 1.0), min(h, 1.0)) for w, h in of_map] for of_map in sizes]


def _of_map(side: int, sizes: Sequence[tuple[float, float]]) -> Tensor:
    """(side * side * sizes, 4): row by row, column by column, the sizes of one place in turn."""
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack((x, y), -1).reshape(-1, 1, 2).expand(-1, len(sizes), 2)
    shapes = torch.tensor(sizes).expand(side * side, -1, 2)
    return torch.cat((places, shapes), -1).reshape(-1, 4)


def corners(boxes: Tensor) -> Tensor:
    """(..., 4): centre, width and height -> left, top, right, bottom."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), -1)


def encoded(boxes: Tensor, anchors: Tensor) -> Tensor:
    """(..., A, 4): the offsets that make the anchors into `boxes` (corners)."""
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    moved = (centre - anchors[:, :2]) / anchors[:, 2:]
    return torch.cat((moved, (size / anchors[:, 2:]).log()), -1) * boxes.new_tensor(VARIANCES)


def decoded(offsets: Tensor, anchors: Tensor) -> Tensor:
    """(..., A, 4): the boxes (corners) that offsets make of the anchors, cut to the picture."""
    offsets = offsets / offsets.new_tensor(VARIANCES)
    centre = offsets[..., :2] * anchors[:, 2:] + anchors[:, :2]
    size = offsets[..., 2:].clamp(max=LARGEST).exp() * anchors[:, 2:]
    return corners(torch.cat((centre, size), -1)).clamp(0, 1)


def overlaps(left: Tensor, right: Tensor, crowds: Tensor | None = None) -> Tensor:
    """(..., n, m): intersection over union of boxes (..., n, 4) and (..., m, 4), as corners.

    Of `crowds` (..., n) it is over the area of the right one alone, as COCO scores them.
    """
    first = torch.maximum(left[..., :, None, :2], right[..., None, :, :2])
    last = torch.minimum(left[..., :, None, 2:], right[..., None, :, 2:])
    both = (last - first).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (left, right)]
    whole = areas[0][..., :, None] + areas[1][..., None, :] - both
    if crowds is not None:
        whole = torch.where(crowds[..., :, None], areas[1][..., None, :], whole)
    return both / whole.clamp(min=1e-12)


def kept_boxes(boxes: Tensor, scores: Tensor, iou: float, most: int) -> Tensor:
    """Indices of at most `most` boxes (n, 4), the best first, none over another by more than `iou`.

    Greedy non-maximum suppression, as ONNX's NonMaxSuppression.
    """
    order = scores.argsort(descending=True, stable=True)
    left, top, right, bottom = boxes[order].cpu().numpy().T
    areas = (right - left) * (bottom - top)
    rest, kept = np.arange(len(order)), list[int]()
    while len(rest) and len(kept) < most:
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        both = width.clip(min=0) * height.clip(min=0)
        rest = rest[both / (areas[best] + areas[rest] - both).clip(min=1e-12) <= iou]
    return order[torch.tensor(kept, dtype=torch.long)]
