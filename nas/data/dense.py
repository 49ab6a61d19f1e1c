"""Data sets of pictures with boxes or masks, in three splits that never overlap.

A new layout is one function that returns names and annotations, one entry in LAYOUTS and a YAML.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from nas.core.download import existing_folder
from nas.core.errors import UserError, one_line
from nas.core.typed import Count, Natural, Range, Side
from nas.data.annotated.annotation import NO_PICTURE, Annotation, Faults, Found
from nas.data.annotated.coco import coco
from nas.data.annotated.masks import check_masks, masks
from nas.data.annotated.reading import Read, digest, read_all
from nas.data.annotated.voc import voc
from nas.data.annotated.yolo import yolo
from nas.data.dataset import NAMED, DataSet, Part, channel_statistics, drop_copies
from nas.data.pictures import require_memory
from nas.data.splits import SPLIT_NAMES, TEST, TRAIN, UNSPLIT, VAL, Ints, by_hash, check_count
from nas.data.splits import unit_hash as placed

LAYOUTS: dict[str, Callable[[Path, str | None, Faults], Found]] = {
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "masks": masks,
}
SIDES = {"detection": 320, "segmentation": 224}  # pixels, as torchvision trains and counts them
SHOWN = (0.0, 255.0)


def task_of(layout: str) -> str:
    """The task that a layout's annotations are for."""
    return "segmentation" if layout == "masks" else "detection"


def require_classes(command: str, data: str) -> None:
    """UserError where a command that knows classes alone is given boxes or masks."""
    if data in LAYOUTS:
        raise UserError(
            f"data={data} is for boxes or masks, and python -m nas.{command} knows classes alone: "
            f"give it to python -m nas.train task={task_of(data)}"
        )


@dataclass(frozen=True, eq=False)
class DenseSplit:
    """Pictures, uint8 (N, 3, S, S), and what is to be answered, both on the CPU.

    labels   of boxes float (N, M, BOX_COLUMNS), rows without a box zero; of masks uint8 (N, S, S).
    sizes    (N, 2): width and height in pixels before they were squeezed to a square.
    names    of the files, below the data's folder.
    """

    images: Tensor
    labels: Tensor
    sizes: Ints
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, rows: Sequence[int]) -> DenseSplit:
        """The pictures of these numbers."""
        which = np.array(rows, np.int64)
        names = tuple(self.names[i] for i in rows)
        return DenseSplit(self.images[which], self.labels[which], self.sizes[which], names)


@dataclass(frozen=True, eq=False)
class DenseData(DataSet):
    """Pictures with boxes or masks; as `nas.data.dataset.ImageData`, for the `task` that they ask.

    `faults` says what was left out, "" for nothing.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    train: DenseSplit
    val: DenseSplit
    test: DenseSplit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    faults: str
    fingerprint: str
    flip: bool
    value_range: tuple[float, float] = SHOWN

    def described(self) -> str:
        """Name, size and numbers in one line."""
        named = ", ".join((*self.classes[:NAMED], "...")[: self.num_classes])
        boxes = f" · {int((self.train.labels[..., 4] > 0).sum()):,} boxes to train"
        return (
            f"{self.name} {self.resolution}x{self.resolution}x{self.channels} · "
            f"{len(self.train):,} train · {len(self.val):,} validation · {len(self.test):,} test · "
            f"{self.num_classes} classes ({named})"
            + (boxes if self.task == "detection" else "")
            + (f" · faults: {self.faults}" if self.faults else "")
        )


def load_dense(
    name: str,
    *,
    root: str | None = None,
    classes: str | None = None,
    resolution: Side | None = None,
    train: Count | None = None,
    val: Count | None = None,
    test: Count | None = None,
    val_share: Part = 0.15,
    test_share: Part = 0.15,
    void: Annotated[int, Range(0, 255)] = 255,
    max_unreadable: Annotated[float, Range(0, 1)] = 0.05,
    seed: Natural = 0,
    flip: bool = True,
) -> DenseData:
    """Load pictures of the layout `name`, one of LAYOUTS, from the folder `root`.

    `resolution` is the side of the square that they are squeezed to.  Splits that no folder and
    no file says are dealt by a hash of `seed` and the file's name.  What cannot be read, or does
    not fit its annotation, is left out and counted; UserError where that is over `max_unreadable`
    of the pictures, or of the boxes, for an unknown class, and for masks of a single class.
    """
    if root is None:
        raise UserError(f"data.root is missing: give the folder of data={name}")
    task, top, faults = task_of(name), existing_folder(root), Faults()
    side = resolution or SIDES[task]
    names, found, files = _annotated(name, top, classes, max_unreadable, faults)
    parts = _dealt(
        np.array([one.part for one in found], np.int64), files, seed, val_share, test_share
    )
    rows = [
        _chosen(parts, part, number, files, seed) for part, number in enumerate((train, val, test))
    ]
    picked = np.unique(np.concatenate(rows))
    require_memory((len(picked), 3 + (task == "segmentation"), side, side))
    read = read_all([found[i] for i in picked], top, side, len(names), void, faults)
    kept = len(picked) - faults.numbers["unreadable"]
    _check_left_out(faults, "unreadable", kept, max_unreadable)
    rows = [np.searchsorted(picked, r) for r in rows]
    splits = _splits(read, rows, [files[i] for i in picked])
    if task == "detection":
        _check_boxes(faults, splits, max_unreadable)
    else:
        _check_masks(faults, splits, names, void)
    mean, std = channel_statistics(splits[TRAIN].images)
    named = tuple(map(one_line, names))
    return DenseData(
        name,
        task,
        named,
        *(splits[TRAIN], splits[VAL], splits[TEST]),
        mean=mean,
        std=std,
        faults=str(faults),
        fingerprint=_fingerprint(named, splits),
        flip=flip,
    )


def _annotated(
    name: str, top: Path, classes: str | None, max_unreadable: float, faults: Faults
) -> tuple[list[str], list[Annotation], list[str]]:
    """Names of classes; the pictures in the order of their files; the files below `top`."""
    names, found = LAYOUTS[name](top, classes, faults)
    for what in (NO_PICTURE, "pictures without a mask"):
        _check_left_out(faults, what, len(found), max_unreadable)
    found = sorted(found, key=lambda one: one.file)
    files = [one.file.relative_to(top).as_posix() for one in found]
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise UserError(f"{top}: the picture {twice} is annotated twice: take one of them out")
    return names, found, files


def _check_left_out(faults: Faults, what: str, kept: int, most: float) -> None:
    number = faults.numbers[what]
    if number > most * (kept + number) or (number and not kept):
        raise UserError(
            f"{number:,} {what}, the first {faults.first[what]}, are over data.max_unreadable="
            f"{most:g} of {kept + number:,}: mend them, or raise it"
        )


def _check_boxes(faults: Faults, splits: Sequence[DenseSplit], most: float) -> None:
    """UserError where a split has no boxes that count, or many of the data's are unusable."""
    rows = [split.labels[split.labels[..., 4] > 0] for split in splits]
    kept = [len(boxes) for boxes in rows]
    for what in ("boxes without area", "boxes outside their picture"):
        _check_left_out(faults, what, sum(kept), most)
    for boxes, part in zip(rows, SPLIT_NAMES, strict=True):
        if not (boxes[:, 5] == 0).any():
            raise UserError(
                f"no picture of {part} has a box that counts (crowds and difficult ones do not): "
                "put some that have there"
            )


def _check_masks(
    faults: Faults, splits: Sequence[DenseSplit], names: Sequence[str], void: int
) -> None:
    """UserError where masks cannot teach; classes that no training mask has are counted."""
    held = zip(SPLIT_NAMES, splits, strict=True)
    missing = check_masks({part: split.labels.numpy() for part, split in held}, names, void)
    faults.add("classes without a pixel to train with", next(iter(missing), ""), len(missing))


def _dealt(parts: Ints, files: list[str], seed: int, val_share: float, test_share: float) -> Ints:
    """The split of each picture; those that only train, or none, is said of are dealt."""
    shares = {w: s for w, s in ((TEST, test_share), (VAL, val_share)) if w not in parts}
    if shares:
        parts = np.where(parts == TRAIN, UNSPLIT, parts)
        one = np.zeros(len(parts), np.int64)
        parts = by_hash(parts, one, ("pictures",), placed(files, f"split {seed}"), shares)
    return np.where(parts == UNSPLIT, TRAIN, parts)


def _chosen(parts: Ints, part: int, number: int | None, files: list[str], seed: int) -> Ints:
    """Ascending indices of the pictures of that part, or of `number` of them by a hash."""
    available = np.flatnonzero(parts == part)
    if not len(available):
        raise UserError(f"no picture is for {SPLIT_NAMES[part]}: add some, or raise its share")
    number = check_count(SPLIT_NAMES[part], number, len(available))
    order = placed([files[i] for i in available], f"order {seed}")
    return np.sort(available[np.argsort(order)[:number]])


def _splits(
    read: Sequence[Read | None], rows: list[Ints], files: Sequence[str]
) -> list[DenseSplit]:
    """Train, val and test, of which `rows` are the indices; a copy is in one of them."""
    digests = np.array([digest(one) for one in read], np.uint64)
    rows = drop_copies(rows, digests)
    return [_split(read, r, files, part) for r, part in zip(rows, SPLIT_NAMES, strict=True)]


def _split(read: Sequence[Read | None], rows: Ints, files: Sequence[str], part: str) -> DenseSplit:
    held = [one for i in rows if (one := read[i]) is not None]
    if not held:
        raise UserError(f"no picture of {part} is left: add some that can be read")
    labels = [torch.from_numpy(one.label) for one in held]
    boxes = labels[0].ndim == 2 and labels[0].dtype == torch.float32
    padded = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True) if boxes else None
    return DenseSplit(
        torch.from_numpy(np.stack([one.image for one in held])),
        torch.stack(labels) if padded is None else padded,
        np.array([one.size for one in held], np.int64),
        tuple(files[i] for i in rows if read[i] is not None),
    )


def _fingerprint(classes: Sequence[str], splits: Sequence[DenseSplit]) -> str:
    state = hashlib.sha256("\0".join(classes).encode())
    for split in splits:
        for values in (split.images, split.labels):
            state.update(str(tuple(values.shape)).encode() + values.numpy().tobytes())
    return state.hexdigest()[:16]
