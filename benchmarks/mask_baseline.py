"""What always answering each pixel's most frequent class by its place would score.

python -m benchmarks.mask_baseline data/camvid 192
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from nas.data.annotated.masks import VOID
from nas.data.dense import load_dense
from nas.tasks.segmentation import Segmentation


def baseline(root: str, side: int) -> dict[str, float]:
    """mIoU and pixel accuracy on the test pictures of one mask, by the training masks."""
    data = load_dense("masks", root=root, resolution=side, void=11)
    counts = torch.stack(
        [(data.train.labels == k).sum(0) for k in range(data.num_classes)]
    )  # (classes, side, side)
    mask = counts.argmax(0).to(torch.uint8)
    assert VOID not in np.unique(mask)
    return Segmentation().score([mask] * len(data.test), data.test, data.classes).figures


if __name__ == "__main__":
    print(baseline(sys.argv[1], int(sys.argv[2])))
