"""Boxes of Pascal VOC's XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from nas.core.errors import UserError, unknown
from nas.data.annotated.annotation import (
    DIFFICULT,
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
    index, listed = PictureIndex(top), _voc_splits(top)
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
