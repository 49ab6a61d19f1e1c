"""Pictures, and beside them PNG masks of their size that hold a class number for each pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from nas.core.errors import UserError
from nas.data.annotated.annotation import (
    NO_PICTURE,
    WORDS,
    Annotation,
    Faults,
    Found,
    named_classes,
    part_of,
    pictures_under,
)
from nas.data.decoding import Bytes
from nas.data.splits import SPLIT_NAMES, TRAIN

SPLIT_NAME = "|".join(sorted(WORDS, key=len, reverse=True))
SPLIT_FOLDER = re.compile(rf"\b(?:{SPLIT_NAME})\b")
# Whole words of a folder's name, spaced by `_spaced`; SegNet's trainannot is one word
MASK_FOLDER = re.compile(
    rf"\b(?:{SPLIT_NAME})?(?:(?:annot|label|mask|segmentation ?class)[a-z]*|gt(?=\d*\b))"
)
INSTANCE_FOLDER = re.compile(r"\b(?:segmentation ?object|instances?\b)")
PICTURE_FOLDER = re.compile(r"\b(?:jpeg ?)?(?:images?|imgs?|jpe?gs?|pictures?|photos?|frames?)\b")


def masks(top: Path, classes: str | None, faults: Faults) -> Found:
    """Each picture with the PNG of the same name in a folder of masks (MASK_FOLDER).

    Of several such PNGs it is the one in the same folders but for those of masks and of pictures.
    Splits are folders called train, val and test, above or below; else shares.  Names of classes
    are `classes`, or the lines of classes.txt.  Raises UserError where there are none, and where
    several masks fit a picture.
    """
    names = named_classes(classes, top, "classes.txt")
    if names is None:
        raise UserError(f"{top} has no classes.txt: give data.classes=first,second")
    pictures, pngs = _pictures_and_masks(top, faults)
    found = []
    for (part, stem), files in pictures.items():
        for file in files:
            mask = _mask_of(file, pngs.get((part, stem), []), len(files) == 1, top)
            if mask is None:
                faults.add("pictures without a mask", file.relative_to(top))
            else:
                found.append(Annotation(file, part, mask=mask))
    alone = [file for key, files in pngs.items() if key not in pictures for file in files]
    faults.add(NO_PICTURE, f"that of {alone[0].relative_to(top)}" if alone else "", len(alone))
    if not found:
        raise UserError(
            f"{top} holds no picture with a PNG of its name in a folder called masks: give "
            f"images/a.jpg and masks/a.png{f' (left out: {faults})' if faults.numbers else ''}"
        )
    return names, found


Named = dict[tuple[int, str], list[Path]]  # files by their split and name without an ending


def _pictures_and_masks(top: Path, faults: Faults) -> tuple[Named, Named]:
    """The pictures, and the masks; instance maps and pictures among masks are counted out."""
    pictures: Named = {}
    pngs: Named = {}
    for file in pictures_under(top):
        path = file.relative_to(top)
        held = pictures
        if _lies_in(INSTANCE_FOLDER, path):
            faults.add("instance maps, which are not read", path)
            continue
        if _lies_in(MASK_FOLDER, path):
            if file.suffix.lower() != ".png":
                faults.add("pictures in folders of masks", path)
                continue
            held = pngs
        held.setdefault((_part(file, top), file.stem), []).append(file)
    return pictures, pngs


def _mask_of(picture: Path, pngs: list[Path], alone: bool, top: Path) -> Path | None:
    """Which of the PNGs of its name is that of a picture; `alone`: no other has the name."""
    place = _place(picture.relative_to(top), PICTURE_FOLDER)
    fitting = [png for png in pngs if _place(png.relative_to(top), MASK_FOLDER) == place]
    if not fitting and alone:
        fitting = pngs
    if len(fitting) > 1:
        which = ", ".join(png.relative_to(top).as_posix() for png in fitting[:3])
        raise UserError(
            f"{picture} has {len(fitting)} masks, one is allowed: which of {which}? take the "
            "others out, or put pictures and masks in folders of the same names below images/ "
            "and masks/"
        )
    return next(iter(fitting), None)


def _place(path: Path, kind: re.Pattern[str]) -> tuple[str, ...]:
    """The folders above a file without the words of its `kind` and of its split."""
    rest = []
    for folder in path.parent.parts:
        spaced = _spaced(folder)
        words = kind.sub("", SPLIT_FOLDER.sub("", spaced))
        rest.append(folder if words == spaced else " ".join(words.split()))
    return tuple(folder for folder in rest if folder)


def holds_masks(path: Path) -> bool:
    """Whether a file lies in a folder of masks or of instance maps, by the folders' names."""
    return _lies_in(MASK_FOLDER, path) or _lies_in(INSTANCE_FOLDER, path)


def _lies_in(kind: re.Pattern[str], path: Path) -> bool:
    return any(kind.search(_spaced(folder)) for folder in path.parent.parts)


def _spaced(folder: str) -> str:
    """The words of a folder's name in small letters: "gt fine" of gtFine and of gt_fine."""
    words = re.split(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", folder)
    return " ".join(word.lower() for word in words if word)


def _part(file: Path, top: Path) -> int:
    return part_of(
        PurePosixPath(file.parent.relative_to(top).as_posix().replace("annot", " "), "x")
    )


def mask_size(file: Path) -> tuple[int, int]:
    """Width and height of a mask."""
    with Image.open(file) as stored:
        return stored.width, stored.height


def read_mask(file: Path, size: tuple[int, int], side: int, num_classes: int, void: int) -> Bytes:
    """(side, side): the numbers of a mask for a picture of `size`, VOID where it says `void`.

    Raises UserError for another number than the classes', ValueError for another size or colours.
    """
    with Image.open(file) as stored:
        image: Image.Image = stored
        if image.mode not in ("1", "L", "P"):
            raise ValueError(f"is a mask with colours ({image.mode})")
        if image.size != size:
            raise ValueError(f"is a mask of another size: {image.size}, not {size}")
        if image.mode == "1":
            image = image.convert("L").point(lambda value: value > 0)
        values = np.asarray(image)
        small = np.asarray(image.resize((side, side), Image.Resampling.NEAREST))
    unknown = (values >= num_classes) & (values != void)
    if unknown.any():
        raise UserError(
            f"{file} holds the class {values[unknown][0]}, and there are {num_classes} from 0: "
            f"give data.classes, or data.void=NUMBER of pixels that do not count (now {void})"
        )
    return np.where(small == void, VOID, small).astype(np.uint8)


VOID = 255  # in our own masks


def check_masks(masks: Mapping[str, Bytes], names: Sequence[str], void: int) -> list[str]:
    """The classes without a pixel to train with; UserError where that leaves less than two, and
    where a split is void throughout.

    `masks` are the (N, side, side) of each split.  A class whose number is `void` is none.
    """
    none = np.zeros(256, np.int64)
    pixels = {
        part: sum((np.bincount(one.flat, minlength=256) for one in held), start=none)
        for part, held in masks.items()
    }
    for part, counted in pixels.items():
        if not np.delete(counted, VOID).any():
            raise UserError(
                f"every pixel of the masks of {part} is {void}, which does not count (data.void), "
                "and some must: store the numbers of classes, or set data.void"
            )
    train = pixels[SPLIT_NAMES[TRAIN]]
    missing = [k for k in range(len(names)) if k != void and not train[k]]
    if np.count_nonzero(np.delete(train, VOID)) > 1:
        return [names[k] for k in missing]
    if not missing:
        raise UserError(
            f"there is one class ({', '.join(names)}) beside pixels of {void}, which do not count "
            "(data.void), and two are needed: give data.classes=background,thing, or data.void"
        )
    shown = ", ".join(f"{k} ({names[k]})" for k in missing[:5]) + ", ..." * (len(missing) > 5)
    if not np.delete(train, (0, VOID)).any() and train[VOID]:
        raise UserError(
            f"the masks of {SPLIT_NAMES[TRAIN]} hold only 0 and {void}, which does not count "
            f"(data.void), and two classes must have pixels there: none is of {shown}: store the "
            "numbers of classes, as 0 and 1, or set data.void to another number"
        )
    raise UserError(
        f"no pixel of the masks of {SPLIT_NAMES[TRAIN]} is of {shown}, and two classes must have "
        "some there: add pictures (data.train limits them, data.resolution what is seen of them)"
    )
