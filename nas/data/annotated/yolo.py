"""Boxes of YOLO's text files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from nas.core.errors import UserError
from nas.data.annotated.annotation import (
    NO_PICTURE,
    Annotation,
    Faults,
    Found,
    different,
    files_under,
    named_classes,
    part_of,
    pictures_under,
    read_text,
    stacked,
)
from nas.data.splits import TEST, TRAIN, UNSPLIT, VAL

CLASSES = "classes.txt"  # beside labels LabelImg writes it; never a label file
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}  # as data.yaml calls them


def yolo(top: Path, classes: str | None, faults: Faults) -> Found:
    """Text files beside the pictures, or under labels/ where those are under images/.

    A line is a class number and the box's centre and sides as parts of the picture's, or the
    corners of a polygon, of which the box is taken.  Names are those of classes.txt, of data.yaml
    or of files further below that agree.  A picture without a text file has no boxes.  Splits are
    those that the YAML names, and pictures that it does not list are counted out; else folders.
    Raises UserError for a class number that has no name.
    """
    sheets = _sheets(top)
    names = named_classes(classes, top, CLASSES) or _names_told(top, sheets)
    points = any("kpt_shape" in sheet for sheet in sheets.values())
    pictures = pictures_under(top)
    listed = _listed(top, sheets, pictures, faults)
    texts = {file: _label_file(file) for file in pictures}
    if not any(_is_label(text) for text in texts.values()):
        raise UserError(f"{top} holds no text file of YOLO's beside a picture or under labels/")
    found = []
    for file, text in texts.items():
        path = PurePosixPath(file.relative_to(top).as_posix())
        if listed and file not in listed:
            faults.add("pictures that the YAML does not list", path)
            continue
        part = listed.get(file, part_of(path.with_name("x")))
        lines = read_text(text).splitlines() if _is_label(text) else []
        split = [line.split() for line in lines if line.strip()]
        found.append(replace(_yolo_picture(text, split, names, points), file=file, part=part))
    read = set(texts.values())
    for text in files_under(top, ".txt"):
        folders = text.relative_to(top).parent.parts
        if "labels" in folders and text not in read and _is_label(text):
            faults.add(NO_PICTURE, f"that of {text.relative_to(top)}")
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
    """What data.yaml says, else each YAML file below that has names; others are another's."""
    held = {}
    for file in files_under(top, ".yaml", ".yml"):
        try:
            sheet = yaml.safe_load(read_text(file))
        except (yaml.YAMLError, ValueError, RecursionError, UserError):
            continue
        if isinstance(sheet, Mapping):
            held[file] = sheet
    own = {file: held[file] for file in (top / "data.yaml", top / "data.yml") if file in held}
    return own or {file: sheet for file, sheet in held.items() if _names_in(file, sheet)}


def _names_told(top: Path, sheets: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """The names of the YAML files, else of every classes.txt, which must be the same."""
    told = {tuple(n): file for file, sheet in sheets.items() if (n := _names_in(file, sheet))}
    if not told:
        files = [file for file in files_under(top, CLASSES) if file.name == CLASSES]
        told = {tuple(named_classes(None, file.parent, CLASSES) or ()): file for file in files}
    if len(told) == 1:
        return different(list(*told))
    wrong = f"no data.yaml with names and no {CLASSES}"
    if told:
        wrong = f"different names in {' and '.join(map(str, told.values()))}"
    raise UserError(f"{top} has {wrong}: give data.classes=first,second")


def _names_in(file: Path, sheet: Mapping[str, Any]) -> list[str]:
    """The names of classes in a YAML file; none where it has none."""
    names = sheet.get("names")
    if isinstance(names, Mapping) and any(str(key).isdecimal() for key in names):
        names = _in_order(file, names)
    return [str(name) for name in names] if isinstance(names, list) else []


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


def _listed(
    top: Path,
    sheets: Mapping[Path, Mapping[str, Any]],
    pictures: Sequence[Path],
    faults: Faults,
) -> dict[Path, int]:
    """The split of each picture that a YAML file names for one; UserError where it is in two."""
    known: dict[Path, int] = {}
    for file, word, entry in _entries(sheets):
        bases = [file.parent / str(sheets[file].get("path") or ""), file.parent]
        found = _named_pictures(entry, bases, pictures, faults)
        if not found:
            raise UserError(
                f"{file}: {word} names {entry}, and no picture below {top} is there: mend it, or "
                "take it out to go by the names of folders"
            )
        for picture in found:
            if known.setdefault(picture, SPLITS[word]) != SPLITS[word]:
                raise UserError(
                    f"{file}: {word} names {picture}, which is of another split, and one is "
                    "allowed: take one of them out, and a split that nothing names is dealt"
                )
    return known


def _entries(sheets: Mapping[Path, Mapping[str, Any]]) -> Iterator[tuple[Path, str, str]]:
    """The YAML file, the split's word and each folder or list of files that it has for it."""
    for file, sheet in sheets.items():
        for word in SPLITS:
            said = sheet.get(word) or []
            entries = [said] if isinstance(said, str) else said
            if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
                raise UserError(
                    f"{file}: {word} must be a folder, a .txt of files, or a list of these, not "
                    f"{said!r:.60}"
                )
            yield from ((file, word, entry) for entry in entries)


def _named_pictures(
    entry: str, bases: Sequence[Path], pictures: Sequence[Path], faults: Faults
) -> list[Path]:
    """Those of a folder, or of the lines of a .txt, below the first of `bases` that has some.

    Roboflow writes "../" before folders that lie beside its data.yaml.
    """
    real = cache(Path.resolve)
    for place in (base / name for base in bases for name in (entry, entry.removeprefix("../"))):
        if entry.endswith(".txt") and place.is_file():
            lines = [line.strip() for line in read_text(place).splitlines() if line.strip()]
            files = [base / line for line in lines for base in (place.parent, *bases)]
            wanted = {real(file.parent) / file.name for file in files}
            found = [file for file in pictures if real(file.parent) / file.name in wanted]
            missing = len(set(lines)) - len(found) if found else 0
            faults.add(NO_PICTURE, f"of {place.name}", max(0, missing))
        else:
            inside = {
                folder
                for folder in {file.parent for file in pictures}
                if real(place) in (real(folder), *real(folder).parents)
            }
            found = [file for file in pictures if file.parent in inside]
        if found:
            return found
    return []


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
