"""The two small sets of boxes and masks as folders that `data=coco` and `data=masks` read.

python -m benchmarks.dense_data ../shared/data data
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMVID_VOID = 11


def parts(blob: NDArray[Any], offsets: NDArray[Any]) -> list[bytes]:
    """The files that are joined in `blob`."""
    return [blob[first:last].tobytes() for first, last in pairwise(offsets)]


def write_bccd(npz: Path, folder: Path) -> None:
    """Pictures, and train.json, val.json and test.json as of COCO's."""
    held = np.load(npz)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    names = [f"pictures/{name}.jpg" for name in held["name"]]
    for name, data in zip(names, parts(held["blob"], held["offsets"]), strict=True):
        (folder / name).write_bytes(data)
    kinds = [{"id": k + 1, "name": str(name)} for k, name in enumerate(held["class_names"])]
    for split in ("train", "val", "test"):
        mine = np.flatnonzero(held["split"] == split)
        notes = []
        for i in np.flatnonzero(np.isin(held["image_of_box"], mine)).tolist():
            left, top, right, bottom = held["boxes"][i].tolist()
            notes.append({
                "id": i,
                "image_id": int(held["image_of_box"][i]),
                "category_id": int(held["labels"][i]) + 1,
                "bbox": [left, top, right - left, bottom - top],
            })  # fmt: skip
        pictures = [{"id": int(i), "file_name": names[i]} for i in mine]
        told = {"images": pictures, "annotations": notes, "categories": kinds}
        (folder / f"{split}.json").write_text(json.dumps(told))


def write_camvid(npz: Path, folder: Path) -> None:
    """train/, val/ and test/ with images/ and masks/, and classes.txt."""
    held = np.load(npz)
    pictures, masks = (parts(held[f"{kind}blob"], held[f"{kind}offsets"]) for kind in ("", "mask_"))
    for i, (split, picture, mask) in enumerate(zip(held["split"], pictures, masks, strict=True)):
        for kind, data, suffix in (("images", picture, "jpg"), ("masks", mask, "png")):
            file = folder / str(split) / kind / f"{i:04}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    (folder / "classes.txt").write_text("\n".join(map(str, held["class_names"])) + "\n")


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    write_bccd(source / "bccd_detection.npz", target / "bccd")
    write_camvid(source / "camvid_segmentation.npz", target / "camvid")
