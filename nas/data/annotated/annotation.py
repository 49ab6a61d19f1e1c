"""What a layout says of one picture, and a count of what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from nas.core.errors import UserError, one_line
from nas.data.class_folders import walk
from nas.data.decoding import is_picture
from nas.data.splits import TEST, TRAIN, UNSPLIT, VAL

Boxes = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NO_PICTURE = "pictures that are missing"  # a fault: what is annotated is not there
# What an `Annotation` ignores: an object that is hard to see, and a region of many; 0 counts
DIFFICULT, CROWD = 1, 2

# The usual names of splits, as folders, files or parts of a file's name
WORDS = {
    **dict.fromkeys(("train", "training", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing"), TEST),
}


@dataclass(frozen=True, eq=False)
class Annotation:
    """One picture.

    size      width and height in pixels, where they are told.
    boxes     (n, 4): left, top, right, bottom in pixels; parts of the picture where `relative`.
    labels    (n,): numbers of classes, from 0.
    ignored   (n,): DIFFICULT and CROWD count neither for nor against an answer, 0 does.
    mask      the file of the classes of its pixels, where there is one.
    """

    file: Path
    part: int
    size: tuple[int, int] | None = None
    boxes: Boxes = field(default_factory=lambda: np.zeros((0, 4)))
    labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    relative: bool = False
    mask: Path | None = None


Found = tuple[list[str], list[Annotation]]  # class names, and what is said of each picture


@dataclass
class Faults:
    """How often each thing was wrong, and where first; what cannot be used is left out."""

    numbers: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, where: object, number: int = 1) -> None:
        """Count it, if there is any."""
        if number:
            self.numbers[what] += number
            self.first.setdefault(what, one_line(str(where)))

    def __str__(self) -> str:
        parts = (f"{n:,} {what} ({self.first[what]})" for what, n in self.numbers.items())
        return ", ".join(parts)


def part_of(path: PurePosixPath) -> int:
    """The split that a folder or the file's name says, by its last such word; else UNSPLIT."""
    words = [w for name in (*path.parent.parts, path.stem) for w in _words(name)]
    return next((WORDS[word] for word in reversed(words) if word in WORDS), UNSPLIT)


def _words(name: str) -> list[str]:
    """Letters in a row: instances_train2017 says train."""
    return "".join(c if c.isalpha() else " " for c in name.lower()).split()


def files_under(top: Path, *suffixes: str) -> list[Path]:
    """The files below `top` with one of these endings, in order; hidden ones are left out."""
    found = []
    for folder, _, names in walk(top):
        kept = (name for name in names if not name.startswith("."))
        found += [folder / name for name in kept if name.lower().endswith(suffixes)]
    return sorted(found)


def pictures_under(top: Path) -> list[Path]:
    """The picture files below `top`, in order."""
    return [file for file in files_under(top, "") if is_picture(file)]


def read_text(file: Path) -> str:
    """The text of a file; UserError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"cannot read {file}: {reason}") from None


def named_classes(given: str | None, top: Path, *files: str) -> list[str] | None:
    """Class names: those given with commas between them, else one a line of a file in `top`."""
    if given is not None:
        names = [name.strip() for name in given.split(",")]
    else:
        path = next((top / file for file in files if (top / file).is_file()), None)
        if path is None:
            return None
        names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    return different(names)


def different(names: list[str]) -> list[str]:
    """The names of classes themselves; UserError where one is empty, or there twice."""
    if "" in names or len(set(names)) < len(names) or not names:
        raise UserError(f"classes must be different names, not {', '.join(names)!r:.80}")
    return names


def usable_boxes(
    boxes: Boxes, size: tuple[int, int], where: object, faults: Faults
) -> tuple[Boxes, Flags]:
    """Boxes in parts of the picture of `size`, cut to it, and which of those given they are.

    What has no area or lies outside is left out, and counted as what was cut.
    """
    width, height = size
    parts = boxes / np.array([width, height, width, height], np.float64)
    cut: Boxes = parts.clip(0, 1)
    flat = ~(np.isfinite(parts).all(1) & _has_area(boxes))
    outside = ~flat & ~_has_area(cut)
    pixels = max(size) if max(size) > 1 else 320  # of boxes in parts, a usual side
    over = np.abs(cut - parts).max(1, initial=0) * pixels > 1  # less is rounding
    faults.add("boxes without area", where, int(flat.sum()))
    faults.add("boxes outside their picture", where, int(outside.sum()))
    kept = ~flat & ~outside
    faults.add("boxes cut to their picture", where, int((over & kept).sum()))
    return cut[kept], np.asarray(kept)


def _has_area(boxes: Boxes) -> Flags:
    return np.asarray((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def stacked(boxes: Sequence[Sequence[float]]) -> Boxes:
    """(n, 4), for no boxes too."""
    return np.array(boxes, np.float64).reshape(-1, 4)
