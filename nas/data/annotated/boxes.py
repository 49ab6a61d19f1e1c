"""Boxes of two layouts: COCO's JSON and Pascal VOC's XML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nas.core.errors import UserError, unknown
from nas.data.annotated.annotation import (
    CROWD,
    DIFFICULT,
    NO_PICTURE,
    Annotation,
    Faults,
    files_under,
    named_classes,
    part_of,
    pictures_under,
    read_text,
    stacked,
)
from nas.data.annotated.masks import holds_masks
from nas.data.splits import UNSPLIT

Found = tuple[list[str], list[Annotation]]  # class names, and what is said of each picture
COCO_IDS = {"images": ["id"], "annotations": ["image_id", "category_id"], "categories": ["id"]}


def coco(top: Path, classes: str | None, faults: Faults) -> Found:
    """JSON files as of COCO's "instances", at any depth beside or above their pictures.

    A file's split is what its name or its folder's says (train, val, test), else each picture's
    folder, else shares.  Classes are the categories that have boxes, by their numbers.
    Raises UserError for a box of an unknown category or picture, and for an id of two pictures.
    """
    files = {file: _coco_json(file) for file in files_under(top, ".json")}
    told = {file: data for file, data in files.items() if data is not None}
    if not told:
        raise UserError(f"{top} holds no JSON with images, annotations and categories of COCO's")
    for file, data in told.items():
        _check_entries(file, data)
    told = _without_repeats(top, told, faults)
    names = named_classes(classes, top) or _categories(told)
    index = _Index(top)
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
    file: Path, data: Mapping[str, Any], names: list[str], index: _Index, faults: Faults
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


def _shared(file: Path, other: Path) -> int:
    """How many of the last parts of two paths are equal."""
    pairs = zip(reversed(file.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class _Index:
    """Picture files below a folder, by the ends of their paths."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.by_name: dict[str, list[Path]] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for file in pictures_under(top):
            self.by_name.setdefault(file.name, []).append(file)
            self.by_stem.setdefault(file.stem, []).append(file)

    def find(self, name: str, beside: Path, part: int) -> Path | None:
        """The picture that a file in `beside` calls `name`, which may lack its ending: there, else
        in folders of most of the same names, else of that split.  UserError where several are left.
        """
        direct = beside / name.replace("\\", "/")
        files = self.by_name.get(direct.name) or [
            file
            for file in self.by_stem.get(direct.name, [])
            if file.parent == direct.parent or not holds_masks(file.relative_to(self.top))
        ]
        shared = [_shared(file.parent, direct.parent) for file in files]
        fitting = [f for f, number in zip(files, shared, strict=True) if number == max(shared)]
        nearest = [f for f in fitting if self.part(f) == part] or fitting
        if len(nearest) > 1:
            which = ", ".join(file.relative_to(self.top).as_posix() for file in nearest[:3])
            raise UserError(
                f"{beside} calls a picture {name}, and there are {len(nearest)}: which of {which}? "
                "write the folder in the annotation, or take the others out"
            )
        return next(iter(nearest), None)

    def part(self, file: Path) -> int:
        """The split that the folders of a file say."""
        return part_of(PurePosixPath(file.parent.relative_to(self.top).as_posix(), "x"))


def voc(top: Path, classes: str | None, faults: Faults) -> Found:
    """XML files as of Pascal VOC, one a picture, beside it or in a folder of their own.

    A picture is the one that <filename> says, else that of the XML's own name.  Splits are
    ImageSets/Main/train.txt, val.txt and test.txt, and pictures that these do not list are counted
    out; else folders of these names, of the XML or of the picture, else shares.  Objects that are
    difficult are ignored.  Raises UserError for a class beside `classes`, and where no XML is
    listed.
    """
    sheets = {file: _voc_xml(file) for file in files_under(top, ".xml")}
    told = {file: root for file, root in sheets.items() if root is not None}
    if not told:
        raise UserError(f"{top} holds no XML of Pascal VOC's, with <annotation> and <object>")
    index, listed = _Index(top), _voc_splits(top)
    told = _listed_only(told, listed, faults)
    given = named_classes(classes, top, "classes.txt")
    named = {_voc_name(node) for root in told.values() for node in root.iter("object")}
    names = given or sorted(named)
    found = []
    for file, root in told.items():
        name = root.findtext("filename", "").strip() or file.stem
        part = listed[file.stem] if listed else index.part(file)
        at = index.find(name, file.parent, part) or index.find(file.stem, file.parent, part)
        if at is None:
            faults.add(NO_PICTURE, f"{name} of {file.name}")
            continue
        if part == UNSPLIT:
            part = index.part(at)
        found.append(_voc_picture(file, root, at, part, names))
    return names, found


def _listed_only(
    told: dict[Path, ET.Element], listed: Mapping[str, int], faults: Faults
) -> dict[Path, ET.Element]:
    """What is told of pictures that are `listed`, if any are; the others are counted."""
    if not listed:
        return told
    kept = {file: root for file, root in told.items() if file.stem in listed}
    if not kept:
        raise UserError(
            f"ImageSets/Main lists {next(iter(listed))!r} and so on, but none of the XMLs, as "
            f"{next(iter(told)).stem!r}: list their names without .xml, or take the lists out"
        )
    others = [file.name for file in told if file not in kept]
    faults.add("pictures that ImageSets/Main does not list", next(iter(others), ""), len(others))
    return kept


def _voc_xml(file: Path) -> ET.Element | None:
    try:
        root = ET.fromstring(file.read_bytes())  # the file says its encoding
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{file} is not valid XML: {error}") from None
    return root if root.tag == "annotation" else None


def _voc_name(node: ET.Element) -> str:
    """The class of an object."""
    return node.findtext("name", "").strip()


def _voc_splits(top: Path) -> dict[str, int]:
    """The split of each picture by the name of its file, where ImageSets say it."""
    lists = [file for file in files_under(top, ".txt") if file.parent.name == "Main"]
    known: dict[str, int] = {}
    for file in lists:
        if (part := part_of(PurePosixPath(file.name))) != UNSPLIT and "_" not in file.stem:
            known |= {
                line.split()[0]: part for line in read_text(file).splitlines() if line.split()
            }
    return known


def _voc_picture(
    file: Path, root: ET.Element, picture: Path, part: int, names: list[str]
) -> Annotation:
    size = [root.findtext(f"size/{side}", "") for side in ("width", "height")]
    whole = all(text.isdecimal() and int(text) for text in size)
    corners, labels, ignored = [], [], []
    for node in root.iter("object"):
        if (name := _voc_name(node)) not in names:
            raise unknown(f"class in {file}:", name, names)
        sides = [node.findtext(f"bndbox/{key}", "") for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = map(float, sides)
        except ValueError:
            raise UserError(f"{file}: the bndbox of a {name} is no four numbers: {sides}") from None
        corners.append((left - 1, top - 1, right, bottom))  # pixels are counted from 1, to the last
        labels.append(names.index(name))
        difficult = node.findtext("difficult", "0").strip() == "1"
        ignored.append(DIFFICULT if difficult else 0)
    return Annotation(
        picture,
        part,
        (int(size[0]), int(size[1])) if whole else None,
        stacked(corners),
        np.array(labels, np.int64),
        np.array(ignored, np.int64),
    )
