"""Small folders of pictures with boxes or masks, in every layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["disc", "bar"]
SPLITS = {"train": 12, "val": 4, "test": 4}
SIZE = (64, 48)  # width and height of the pictures


def picture(seed: int) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """A noisy picture with one or two bright shapes, and their classes and boxes."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    pixels = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
    shapes = []
    for label in (0, 1)[: 1 + seed % 2]:
        w, h = (16, 16) if label == 0 else (24, 10)
        left, top = int(rng.integers(0, width // 2 - w)) + label * width // 2, 4 + 20 * label
        pixels[top : top + h, left : left + w, label] = 250
        shapes.append((label, [left, top, left + w, top + h]))
    return pixels, shapes


def all_pictures(more: int = 0) -> list[tuple[str, int]]:
    """(split, number) of every picture, with so many `more` to train."""
    named = [split for split, count in SPLITS.items() for _ in range(count)]
    return [(split, i) for i, split in enumerate(named + ["train"] * more)]


def save(pixels: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def write_coco(top: Path, more: int = 0) -> Path:
    for split in SPLITS:
        told = {"images": [], "annotations": [], "categories": []}
        told["categories"] = [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)]
        for part, number in all_pictures(more):
            if part != split:
                continue
            pixels, shapes = picture(number)
            save(pixels, top / "images" / f"{number}.png")
            told["images"].append(
                {"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]}
            )
            for label, (left, top_, right, bottom) in shapes:
                told["annotations"].append({
                    "id": len(told["annotations"]) + 1, "image_id": number,
                    "category_id": label + 1, "bbox": [left, top_, right - left, bottom - top_],
                })  # fmt: skip
        (top / "annotations").mkdir(exist_ok=True)
        (top / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(told))
    return top


def write_voc(top: Path) -> Path:
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, number in all_pictures():
        pixels, shapes = picture(number)
        save(pixels, top / "JPEGImages" / f"{number}.png")
        objects = "".join(
            f"<object><name>{CLASSES[label]}</name><difficult>0</difficult><bndbox>"
            f"<xmin>{left + 1}</xmin><ymin>{upper + 1}</ymin><xmax>{right}</xmax>"
            f"<ymax>{bottom}</ymax></bndbox></object>"
            for label, (left, upper, right, bottom) in shapes
        )
        text = (
            f"<annotation><filename>{number}.png</filename><size><width>{SIZE[0]}</width>"
            f"<height>{SIZE[1]}</height></size>{objects}</annotation>"
        )
        (top / "Annotations").mkdir(exist_ok=True)
        (top / "Annotations" / f"{number}.xml").write_text(text)
        lists[split].append(str(number))
    (top / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in lists.items():
        (top / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    return top


def write_yolo(top: Path) -> Path:
    for split, number in all_pictures():
        pixels, shapes = picture(number)
        save(pixels, top / "images" / split / f"{number}.png")
        lines = [
            f"{label} {(a + c) / 2 / SIZE[0]} {(b + d) / 2 / SIZE[1]} {(c - a) / SIZE[0]} "
            f"{(d - b) / SIZE[1]}"
            for label, (a, b, c, d) in shapes
        ]
        file = top / "labels" / split / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines))
    (top / "data.yaml").write_text("names: [disc, bar]\n")
    return top


def write_masks(top: Path, more: int = 0) -> Path:
    """Background, disc and bar; a void line at the left."""
    for split, number in all_pictures(more):
        pixels, shapes = picture(number)
        save(pixels, top / split / "images" / f"{number}.png")
        mask = np.zeros(SIZE[::-1], np.uint8)
        for label, (left, upper, right, bottom) in shapes:
            mask[upper:bottom, left:right] = label + 1
        mask[:, :2] = 255
        save(mask, top / split / "masks" / f"{number}.png")
    (top / "classes.txt").write_text("nothing\ndisc\nbar\n")
    return top


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo, "masks": write_masks}
