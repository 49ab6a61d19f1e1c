"""Boxes of COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nas.core.errors import UserError
from nas.data.annotated.annotation import (
    CROWD,
    NO_PICTURE,
    Annotation,
    Faults,
    Found,
    files_under,
    named_classes,
    part_of,
    read_text,
    stacked,
)
from nas.data.annotated.picture_index import PictureIndex
from nas.data.splits import UNSPLIT

COCO_IDS = {"images": ["id"], "annotations": ["image_id", "category_id"], "categories": ["id"]}


def coco(top: Path, classes: str | None, faults: Faults) -> Found:
    """JSON files as of COCO's "instances", at any depth beside or above their pictures.

    A file's split is what its name or its folder's says (train, val, test), else each picture's
    folder, else shares.  Classes are the categories that have boxes, by their numbers.
    Raises UserError for a box of an unknown category or picture, and for an id of two pictures.
    """
    files = {file: _coco_json(file) for file in files_under(top, ".json")}
    told: Mapping[Path, Mapping[str, Any]] = {
        f: data for f, data in files.items() if data is not None
    }
    if not told:
        raise UserError(f"{top} holds no JSON with images, annotations and categories of COCO's")
    for file, data in told.items():
        _check_entries(file, data)
    told = _without_repeats(top, told, faults)
    names = named_classes(classes, top) or _categories(told)
    index = PictureIndex(top)
    found: list[Annotation] = []
    for file, data in told.items():
        found += _coco_pictures(file, data, names, index, faults)
    return names, found


def _coco_json(file: Path) -> Mapping[str, Any] | None:
    """What the file holds; None where that is something else."""
    try:
        data = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    whole = isinstance(data, Mapping) and all(isinstance(data.get(p), list) for p in COCO_IDS)
    return data if whole else None


def _check_entries(file: Path, data: Mapping[str, Any]) -> None:
    """UserError where an image, annotation or category is no object, or a list is its id."""
    for part, keys in COCO_IDS.items():
        for place, entry in enumerate(data[part]):
            where = f"{file}: {part}[{place}]"
            if not isinstance(entry, Mapping):
                wanted = ", ".join(keys)
                raise UserError(f"{where} must be an object with {wanted}, not {entry!r:.60}")
            for key in keys:
                if isinstance(number := entry.get(key), list | dict):
                    raise UserError(f"{where}: {key} must be a number or text, not {number!r:.60}")


def _without_repeats(
    top: Path, told: Mapping[Path, Mapping[str, Any]], faults: Faults
) -> Mapping[Path, Mapping[str, Any]]:
    """The files but for those of pictures that COCO's "instances" list too, such as key points."""
    pictures = {
        file: {(_said(top, file), str(picture.get("file_name"))) for picture in data["images"]}
        for file, data in told.items()
    }
    known = {file for file in told if file.stem.startswith("instances")}
    listed = set[tuple[int, str]]().union(*(pictures[file] for file in known))
    again = [file for file in told if known and file not in known and pictures[file] <= listed]
    shown = next((file.relative_to(top) for file in again), "")
    faults.add("JSON files of the same pictures, which are not read", shown, len(again))
    return {file: data for file, data in told.items() if file not in again}


def _said(top: Path, file: Path) -> int:
    """The split that the name of a JSON file or of its folders says."""
    return part_of(PurePosixPath(file.relative_to(top).as_posix()))


def _categories(told: Mapping[Path, Mapping[str, Any]]) -> list[str]:
    """The categories that have boxes, by their numbers; two of one name are one."""
    used: dict[Any, str] = {}
    for file, data in told.items():
        for number, name in _boxed_categories(file, data):
            if used.setdefault(number, name) != name:
                raise UserError(
                    f"{file} calls category {number} {name!r}, another file {used[number]!r}"
                )
    if len({isinstance(number, str) for number in used}) > 1:
        shown = ", ".join(map(repr, used))
        raise UserError(
            f"categories must have ids that are all numbers or all text, not {shown:.80}: mend "
            "them in the JSON"
        )
    return list(dict.fromkeys(used[number] for number in sorted(used)))


def _boxed_categories(file: Path, data: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """The id and the name of each category that has boxes."""
    boxed = {note.get("category_id") for note in data["annotations"]}
    found = []
    for kind in data["categories"]:
        number, name = kind.get("id"), kind.get("name")
        if number not in boxed:
            continue
        if not isinstance(number, int | float | str):
            raise UserError(f"{file}: a category's id must be a number or text, not {number!r:.60}")
        if not isinstance(name, int | float | str) or name == "":
            raise UserError(
                f"{file}: category {number!r} has boxes, and its name must be text, not "
                f"{name!r:.60}: name it there"
            )
        found.append((number, str(name)))
    return found


def _coco_pictures(
    file: Path, data: Mapping[str, Any], names: list[str], index: PictureIndex, faults: Faults
) -> Iterator[Annotation]:
    said = _said(index.top, file)
    category = dict(_boxed_categories(file, data))
    known = _picture_ids(file, data["images"])
    notes: dict[Any, list[Mapping[str, Any]]] = {}
    for note in data["annotations"]:
        number, kind = note.get("image_id"), category.get(note.get("category_id"))
        if kind not in names:
            raise UserError(
                f"{file}: annotation {note.get('id')} is of the category "
                f"{note.get('category_id')!r} ({kind}), which is no class ({', '.join(names)})"
            )
        if number not in known:
            raise UserError(f"{file}: annotation {note.get('id')} is of no picture: {number!r}")
        notes.setdefault(number, []).append(note)
    for picture in data["images"]:
        name = str(picture.get("file_name"))
        at = index.find(name, file.parent, said)
        if at is None:
            faults.add(NO_PICTURE, f"{name} of {file.name}")
            continue
        mine = notes.get(picture.get("id"), [])
        corners = [
            _corners(note.get("bbox"), f"{file}: annotation {note.get('id')}") for note in mine
        ]
        size = picture.get("width"), picture.get("height")
        yield Annotation(
            at,
            index.part(at) if said == UNSPLIT else said,
            size if all(isinstance(s, int) and s > 0 for s in size) else None,
            stacked(corners),
            np.array([names.index(category[note["category_id"]]) for note in mine], np.int64),
            np.array([CROWD if note.get("iscrowd") else 0 for note in mine], np.int64),
        )


def _picture_ids(file: Path, pictures: list[Mapping[str, Any]]) -> set[Any]:
    """The ids of a file's pictures; UserError where two have the same."""
    names: dict[Any, str] = {}
    for picture in pictures:
        number, name = picture.get("id"), str(picture.get("file_name"))
        if number in names:
            raise UserError(
                f"{file}: {names[number]} and {name} have one id, {number!r}, and nothing tells "
                "whose boxes are whose: give each picture an id of its own"
            )
        names[number] = name
    return set(names)


def _corners(box: Any, where: str) -> tuple[float, ...]:
    """COCO's left, top, width and height as left, top, right, bottom."""
    try:
        left, top, width, height = (float(number) for number in box)
    except (TypeError, ValueError):
        raise UserError(f"{where}: its bbox must be four numbers, not {box!r:.60}") from None
    return left, top, left + width, top + height
