"""Pictures, and beside them PNG masks of their size that hold a class number for each pixel."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.core.errors import UserError
from nas.data.annotated.annotation import (
    Annotation,
    Faults,
    files_under,
    named_classes,
    part_of,
    pictures_under,
)

MASK_WORDS = ("mask", "annot", "label", "segmentationclass", "gt")  # in the name of their folder


def masks(top: Path, classes: str | None, faults: Faults) -> tuple[list[str], list[Annotation]]:
    """Each picture with the PNG of the same name in a folder whose name has one of MASK_WORDS.

    Splits are folders called train, val and test, above or below; else shares.  Names of classes
    are `classes`, or the lines of classes.txt.  Raises UserError where there are none.
    """
    names = named_classes(classes, top, "classes.txt")
    if names is None:
        raise UserError(f"{top} has no classes.txt: give data.classes=first,second")
    pngs = {file for file in files_under(top, ".png") if _is_mask(file.relative_to(top))}
    by_name: dict[tuple[int, str], list[Path]] = {}
    for file in sorted(pngs):
        by_name.setdefault((_part(file, top), file.stem), []).append(file)
    found = []
    for file in pictures_under(top):
        if file in pngs or _is_mask(file.relative_to(top)):
            continue
        part = _part(file, top)
        if mask := by_name.get((part, file.stem)):
            found.append(Annotation(file, part, mask=mask[0]))
        else:
            faults.add("pictures without a mask", file.relative_to(top))
    if not found:
        raise UserError(
            f"{top} holds no picture with a PNG of its name in a folder called masks: give "
            "images/a.jpg and masks/a.png"
        )
    return names, found


def _part(file: Path, top: Path) -> int:
    return part_of(
        PurePosixPath(file.parent.relative_to(top).as_posix().replace("annot", " "), "x")
    )


def _is_mask(path: Path) -> bool:
    return any(word in folder.lower() for folder in path.parent.parts for word in MASK_WORDS)


def read_mask(
    file: Path, size: tuple[int, int], side: int, num_classes: int, void: int
) -> npt.NDArray[np.uint8]:
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
