"""Boxes of YOLO's text files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from nas.core.errors import UserError
from nas.data.annotated.annotation import (
    Annotation,
    Faults,
    files_under,
    named_classes,
    part_of,
    pictures_under,
    read_text,
    stacked,
)
from nas.data.annotated.boxes import NO_PICTURE, Found
from nas.data.splits import UNSPLIT


def yolo(top: Path, classes: str | None, faults: Faults) -> Found:
    """Text files beside the pictures, or under labels/ where those are under images/.

    A line is a class number and the box's centre and sides as parts of the picture's.  Names are
    those of a data.yaml or of classes.txt.  A picture without a text file has no boxes.
    Raises UserError for a class number that has no name.
    """
    names = named_classes(classes, top, "classes.txt") or _yolo_names(top)
    pictures = pictures_under(top)
    texts = {file: _label_file(file) for file in pictures}
    if not any(text.is_file() for text in texts.values()):
        raise UserError(f"{top} holds no text file of YOLO's beside a picture or under labels/")
    found = []
    for file, text in texts.items():
        part = part_of(PurePosixPath(file.parent.relative_to(top).as_posix(), "x"))
        lines = read_text(text).splitlines() if text.is_file() else []
        one = _yolo_picture(text, [line.split() for line in lines if line.strip()], names)
        found.append(replace(one, file=file, part=part))
    listed = set(texts.values())
    for text in files_under(top, ".txt"):
        if text.parent.name == "labels" and text not in listed:
            faults.add(NO_PICTURE, f"that of {text.name}")
    return names, found


def _label_file(picture: Path) -> Path:
    beside = picture.with_suffix(".txt")
    parts = list(beside.parts)
    if "images" in parts and not beside.is_file():
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _yolo_names(top: Path) -> list[str]:
    for file in files_under(top, ".yaml", ".yml"):
        try:
            names = (yaml.safe_load(read_text(file)) or {}).get("names")
        except (yaml.YAMLError, AttributeError):
            continue
        if isinstance(names, Mapping):
            names = [names[key] for key in sorted(names)]
        if isinstance(names, list) and names:
            return [str(name) for name in names]
    raise UserError(
        f"{top} has no data.yaml with names and no classes.txt: give data.classes=first,second"
    )


def _yolo_picture(text: Path, lines: Sequence[Sequence[str]], names: list[str]) -> Annotation:
    corners, labels = [], []
    for number, words in enumerate(lines, 1):
        try:
            label, (x, y, width, height) = int(words[0]), map(float, words[1:5])
        except ValueError:
            raise UserError(
                f"{text}: line {number} is no class number and four parts: {' '.join(words)!r:.60}"
            ) from None
        if not 0 <= label < len(names):
            raise UserError(
                f"{text}: line {number} is of class {label}, and there are {len(names)}"
            )
        corners.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        labels.append(label)
    ignored = np.zeros(len(labels), bool)
    return Annotation(
        text, UNSPLIT, None, stacked(corners), np.array(labels, np.int64), ignored, relative=True
    )
