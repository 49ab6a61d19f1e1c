"""COCO's figures of boxes, by faster-coco-eval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nas.data.annotated.annotation import CROWD, DIFFICULT
from nas.data.dense import DenseSplit

FIGURES = ("mAP", "AP50", "AP75")
UNSCORED = 2e10  # pixels, beyond the largest area that COCO scores


class Boxes(NamedTuple):
    """Boxes of one picture: corners (n, 4) as parts of it, scores (n,), classes (n,) from 0."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def coco_figures(
    found: Sequence[Boxes], split: DenseSplit, classes: tuple[str, ...]
) -> tuple[dict[str, float], pd.DataFrame]:
    """mAP (mean over overlaps .5 to .95), AP50 and AP75 as COCO defines them, and by class.

    NaN where no box counts.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth, given = coco_truth(split, classes), []
    for i, one in enumerate(found):
        size = torch.tensor(np.tile(split.sizes[i], 2), dtype=torch.float64)
        corners_px = one.boxes.double() * size
        spans = torch.cat((corners_px[:, :2], corners_px[:, 2:] - corners_px[:, :2]), 1)
        for box, score, label in zip(
            spans.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True
        ):
            given.append({"image_id": i, "category_id": label, "bbox": box, "score": score})
    rows = split.labels[(split.labels[..., 4] > 0) & (split.labels[..., 5] == 0)]
    counted = {int(label) - 1 for label in rows[:, 4].tolist()}
    if not given or not counted:
        nothing = 0.0 if counted else math.nan
        of_class = [0.0 if k in counted else math.nan for k in range(len(classes))]
        table = pd.DataFrame({"class": classes, "mAP": of_class, "AP50": of_class})
        return dict.fromkeys(FIGURES, nothing), table
    known = COCO(truth)
    judge = COCOeval_faster(known, known.loadRes(given), "bbox", print_function=_silent)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes)
    precision = np.where(precision < 0, np.nan, precision)
    by_class = {
        "class": classes,
        "mAP": [_mean(precision[:, :, k]) for k in range(len(classes))],
        "AP50": [_mean(precision[0, :, k]) for k in range(len(classes))],
    }
    figures = dict(zip(FIGURES, map(float, judge.stats[:3]), strict=True))
    return figures, pd.DataFrame(by_class)


def _mean(values: Any) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _silent(*_: object) -> None:
    """In the place of COCO's own printing."""


def coco_truth(split: DenseSplit, classes: tuple[str, ...]) -> dict[str, Any]:
    """The boxes of a split as COCO's JSON, in pixels of the pictures' own sizes.

    A difficult object is as large as none that is scored; a crowd would take every answer in it.
    """
    notes: list[dict[str, Any]] = []
    for i, rows in enumerate(split.labels.double()):
        width, height = split.sizes[i].tolist()
        for left, top, right, bottom, label, ignored in rows[rows[:, 4] > 0].tolist():
            box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
            notes.append({
                "id": len(notes) + 1,
                "image_id": i,
                "category_id": int(label) - 1,
                "bbox": box,
                "area": UNSCORED if ignored == DIFFICULT else box[2] * box[3],
                "iscrowd": int(ignored == CROWD),
            })  # fmt: skip
    pictures = [
        {"id": i, "width": int(w), "height": int(h)} for i, (w, h) in enumerate(split.sizes)
    ]
    kinds = [{"id": k, "name": name} for k, name in enumerate(classes)]
    return {"images": pictures, "annotations": notes, "categories": kinds}
