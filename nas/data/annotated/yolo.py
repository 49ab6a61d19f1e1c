"""Boxes of YOLO's text files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

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

CLASSES = "classes.txt"  # beside labels LabelImg writes it; never a label file


def yolo(top: Path, classes: str | None, faults: Faults) -> Found:
    """Text files beside the pictures, or under labels/ where those are under images/.

    A line is a class number and the box's centre and sides as parts of the picture's, or the
    corners of a polygon, of which the box is taken.  Names are those of classes.txt, of a data.yaml
    or of a classes.txt further below.  A picture without a text file has no boxes.
    Raises UserError for a class number that has no name.
    """
    sheets = _sheets(top)
    names = named_classes(classes, top, CLASSES) or _sheet_names(sheets) or _names_below(top)
    points = any("kpt_shape" in sheet for sheet in sheets.values())
    pictures = pictures_under(top)
    texts = {file: _label_file(file) for file in pictures}
    if not any(_is_label(text) for text in texts.values()):
        raise UserError(f"{top} holds no text file of YOLO's beside a picture or under labels/")
    found = []
    for file, text in texts.items():
        part = part_of(PurePosixPath(file.parent.relative_to(top).as_posix(), "x"))
        lines = read_text(text).splitlines() if _is_label(text) else []
        split = [line.split() for line in lines if line.strip()]
        found.append(replace(_yolo_picture(text, split, names, points), file=file, part=part))
    listed = set(texts.values())
    for text in files_under(top, ".txt"):
        if text.parent.name == "labels" and text not in listed and _is_label(text):
            faults.add(NO_PICTURE, f"that of {text.name}")
    return names, found


def _label_file(picture: Path) -> Path:
    beside = picture.with_suffix(".txt")
    parts = list(beside.parts)
    if "images" in parts and not _is_label(beside):
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _is_label(text: Path) -> bool:
    return text.name != CLASSES and text.is_file()


def _sheets(top: Path) -> dict[Path, Mapping[str, Any]]:
    """What the YAML files say, as of data.yaml; those that cannot be read are another's."""
    held = {}
    for file in files_under(top, ".yaml", ".yml"):
        try:
            sheet = yaml.safe_load(read_text(file))
        except (yaml.YAMLError, ValueError, UserError):
            continue
        if isinstance(sheet, Mapping):
            held[file] = sheet
    return held


def _sheet_names(sheets: Mapping[Path, Mapping[str, Any]]) -> list[str] | None:
    """The names of classes in the first sheet that has some."""
    for file, sheet in sheets.items():
        names = sheet.get("names")
        if isinstance(names, Mapping) and any(str(key).isdecimal() for key in names):
            names = _in_order(file, names)
        if isinstance(names, list) and names:
            return [str(name) for name in names]
    return None


def _in_order(file: Path, names: Mapping[Any, Any]) -> list[Any]:
    """Names by their numbers, which may be written as text."""
    try:
        numbered = {int(key): name for key, name in names.items()}
        return [numbered[number] for number in range(len(names))]
    except (TypeError, ValueError, KeyError):
        keys = ", ".join(map(str, names))
        raise UserError(
            f"{file}: names are numbered {keys:.60}, and must be 0 to {len(names) - 1} without a "
            "hole: number them so"
        ) from None


def _names_below(top: Path) -> list[str]:
    """The names of every classes.txt, which must be the same."""
    files = [file for file in files_under(top, CLASSES) if file.name == CLASSES]
    told = {tuple(named_classes(None, file.parent, CLASSES) or ()): file for file in files}
    if len(told) == 1:
        return list(*told)
    wrong = f"no data.yaml with names and no {CLASSES}"
    if told:
        wrong = f"different names in {' and '.join(map(str, told.values()))}"
    raise UserError(f"{top} has {wrong}: give data.classes=first,second")


def _yolo_picture(
    text: Path, lines: Sequence[Sequence[str]], names: list[str], points: bool
) -> Annotation:
    """What a file says of its picture; `points`: key points follow each box."""
    corners, labels = [], []
    for number, words in enumerate(lines, 1):
        try:
            label, box = int(words[0]), _box(words[1:5] if points else words[1:])
        except ValueError:
            raise UserError(
                f"{text}: line {number} is no class number and four parts of a box, or three or "
                f"more corners: {' '.join(words)!r:.60}: mend it or take it out"
            ) from None
        if not 0 <= label < len(names):
            raise UserError(
                f"{text}: line {number} is of class {label}, and there are {len(names)}"
            )
        corners.append(box)
        labels.append(label)
    ignored = np.zeros(len(labels), np.int64)
    return Annotation(
        text, UNSPLIT, None, stacked(corners), np.array(labels, np.int64), ignored, relative=True
    )


def _box(words: Sequence[str]) -> tuple[float, ...]:
    """Left, top, right and bottom; ValueError for what is no box and no polygon."""
    if len(words) >= 6 and len(words) % 2 == 0:
        points = np.array(words, np.float64).reshape(-1, 2)
        return (*points.min(0).tolist(), *points.max(0).tolist())
    if len(words) not in (4, 5):  # a fifth is the confidence
        raise ValueError
    x, y, width, height = map(float, words[:4])
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
