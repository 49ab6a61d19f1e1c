"""Data sets: images of bytes in three splits that never overlap.

A new data set is one function that returns a `Source`, one entry in DATASETS and a short YAML.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, Unpack

import numpy as np
import torch

from nas.arch.arch import ImageSpec
from nas.core.errors import UserError, one_line, unknown
from nas.core.typed import Count, Natural, Range, Side, check, hints_of
from nas.data import arrays, folder, hub
from nas.data.decoding import EIGHT_BITS, ValueRange
from nas.data.pictures import Pictures, take_rows
from nas.data.splits import SPLIT_NAMES, TEST, TRAIN, VAL, Ints, Source, Split, choose

__all__ = ["DATASETS", "ImageData", "Split", "load_data"]

log = logging.getLogger(__name__)

DATASETS: dict[str, Callable[..., Source]] = {
    "embedded": arrays.embedded,
    "fashion_mnist": arrays.fashion_mnist,
    "cifar10": arrays.cifar10,
    "folder": folder.load,
    "hub": hub.load,
}
ANY_SIZE = ("folder", "hub")  # data sets whose pictures are read at the size one asks for
GROUP = 512  # images whose mean is taken at a time
NAMED = 3  # classes in the line that describes a data set
MAX_STATISTICS_BYTES = 1 << 30  # of larger training splits evenly spaced images are looked at


Part = Annotated[float, Range(0, 1, above=True, below=True)]  # of each class


class Knobs(TypedDict, total=False):
    """What only some data sets' loaders take, each explained in conf/data/."""

    path: str | None
    config: str | None
    image_column: str | None
    label_column: str | None
    val_share: Part
    test_share: Part
    together: bool
    max_unreadable: Annotated[float, Range(0, 1)]


class DataSet:
    """What follows from the classes and the training images of a data set."""

    classes: tuple[str, ...]
    train: Any

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.train.images.shape[1])

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return int(self.train.images.shape[-1])

    @property
    def spec(self) -> ImageSpec:
        """What these images ask of a network."""
        return ImageSpec(self.channels, self.num_classes, self.resolution)


@dataclass(frozen=True, eq=False)
class ImageData(DataSet):
    """A data set in three splits without a common image.

    `mean` and `std` are those of each channel of the training images scaled to [0, 1]; `skipped`
    counts images that could not be read; `fingerprint` changes with any pixel, label or class
    name of any split; `flip` says whether a mirrored image is still of its class.  `value_range`
    became 0 to 255 in images of over 8 bits; `passed_over` counts files that are no images.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int = 0
    fingerprint: str = ""
    flip: bool = True
    value_range: ValueRange = EIGHT_BITS
    passed_over: int = 0

    def described(self) -> str:
        """Name, size and numbers in one line."""
        size = f"{self.resolution}x{self.resolution}x{self.channels}"
        named = ", ".join((*self.classes[:NAMED], "...")[: self.num_classes])
        facts = (
            f"{self.name} {size} · {len(self.train):,} train · {len(self.val):,} validation · "
            f"{len(self.test):,} test · {self.num_classes} classes ({named})"
        )
        if self.value_range != EIGHT_BITS:
            facts += " · values {:g} to {:g}".format(*self.value_range)
        for number, what in ((self.skipped, "unreadable"), (self.passed_over, "passed over")):
            facts += f" · {number:,} {what}" if number else ""
        return facts


def load_data(
    name: str,
    *,
    root: str | None = None,
    resolution: Side | None = None,
    train: Count | None = None,
    val: Count | None = None,
    test: Count | None = None,
    seed: Natural = 0,
    flip: bool = True,
    **more: Unpack[Knobs],
) -> ImageData:
    """Load the data set `name`, one of DATASETS.

    `resolution` is the images' side in pixels (None: their own).  `train`, `val`, `test` limit
    the numbers of images, evenly over the classes (None: the data set's own numbers); `seed`
    decides which images they are.  `more` are the knobs of that data set's loader.
    Raises UserError for what is missing, damaged, too small or not a knob.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    given = {"resolution": resolution, "seed": seed, "flip": flip, **more}
    for key, value in given.items():
        check(f"data.{key}", hints_of(load_data).get(key, Any), value)
    source = _open_source(name, {"root": root, "val": val, "seed": seed}, dict(more))
    splits, rows, pictures = _read(source, (train, val, test), resolution)
    mean, std = channel_statistics(splits[TRAIN].images)
    classes = tuple(map(one_line, source.classes))
    return ImageData(
        name,
        classes,
        *(splits[TRAIN], splits[VAL], splits[TEST]),
        mean=mean,
        std=std,
        skipped=0 if pictures.digests is None else int((pictures.digests == 0).sum()),
        fingerprint=_fingerprint(classes, splits, rows, pictures),
        flip=flip,
        value_range=pictures.value_range,
        passed_over=source.passed_over,
    )


def _read(
    source: Source, numbers: Sequence[int | None], resolution: int | None
) -> tuple[list[Split], list[Ints], Pictures]:
    """The three splits with those numbers of images, and which rows of what pictures they are."""
    _require_classes(source, numbers)
    chosen = [choose(source, part, number) for part, number in enumerate(numbers)]
    picked = np.unique(np.concatenate(chosen))
    pictures = source.pixels(picked, resolution)
    labels = source.labels[picked]
    _check_labels(labels, pictures.digests, source.classes)
    rows = drop_copies([np.searchsorted(picked, c) for c in chosen], pictures.digests)
    for before, after, name in zip(chosen, rows, SPLIT_NAMES, strict=True):
        if lost := set(source.labels[before]) - set(labels[after]):
            assert pictures.digests is not None  # or none was left out
            read = pictures.digests[(labels == min(lost)) & (pictures.digests != 0)]
            raise UserError(
                f"no image of class {source.classes[min(lost)]!r} is left in {name} once "
                f"unreadable ones and copies of other splits' images are out ({len(read)} "
                f"of its images can be read, {len(np.unique(read))} of them differ): add some to it"
            )
    splits = [
        Split(torch.from_numpy(take_rows(pictures.images, r)), torch.from_numpy(labels[r]))
        for r in rows
    ]
    return splits, rows, pictures


def _open_source(name: str, common: dict[str, Any], more: dict[str, Any]) -> Source:
    known = inspect.signature(DATASETS[name]).parameters
    for knob in more:
        if knob not in known:
            raise unknown(f"option of data={name}", knob, [*known, "resolution", *SPLIT_NAMES])
    if common["root"] is not None and "root" not in known:
        raise UserError(f"data={name} has no data.root (its knobs: {', '.join(known)})")
    return DATASETS[name](**{k: v for k, v in common.items() if k in known}, **more)


def _require_classes(source: Source, numbers: Sequence[int | None]) -> None:
    """UserError where a split for search or test lacks a class that training has."""
    for part in (VAL, TEST):
        lost = set(source.labels[source.part == TRAIN]) - set(source.labels[source.part == part])
        if lost:
            raised = "" if numbers[part] is None else f"raise data.{SPLIT_NAMES[part]}=, "
            raise UserError(
                f"class {source.classes[min(lost)]!r} has images in train and none in "
                f"{SPLIT_NAMES[part]} ({len(lost)} classes are so): {raised}add some there, or "
                "take the class out of train"
            )


def _check_labels(labels: Ints, digests: Any, classes: Sequence[str]) -> None:
    """Tell of images that are in several classes; UserError where two classes hold the same."""
    if digests is None:
        return
    known = np.unique(np.stack([digests, labels.astype(np.uint64)])[:, digests != 0], axis=1)
    images, number = np.unique(known[0], return_counts=True)
    shared = np.isin(digests, images[number > 1])
    if not shared.any():
        return
    one, other = (classes[i] for i in np.unique(labels[digests == digests[shared][0]])[:2])
    first: dict[frozenset[int], int] = {}
    for label in np.unique(labels[shared]).tolist():
        mine = frozenset(known[0, known[1] == label].tolist())
        if (same := first.setdefault(mine, label)) != label:
            raise UserError(
                f"classes {classes[same]!r} and {classes[label]!r} hold the same images once "
                "decoded: give each its own, or take one of them out"
            )
    found = f"{shared.sum()} images are in several classes too, as in {one!r} and {other!r}"
    log.warning(one_line(f"{found}: one of the labels is wrong"))


def drop_copies(rows: list[Ints], digests: Any) -> list[Ints]:
    """`rows` of the three splits without unreadable images and copies of a later split's images."""
    if digests is None:
        return rows
    rows = [r[digests[r] != 0] for r in rows]
    for part, later in ((TRAIN, (VAL, TEST)), (VAL, (TEST,))):
        held = digests[np.concatenate([rows[other] for other in later])]
        copies = np.isin(digests[rows[part]], held)
        if copies.any():
            name, where = SPLIT_NAMES[part], " and ".join(SPLIT_NAMES[other] for other in later)
            log.warning(f"{copies.sum()} images of {name} are in {where} too; left out of {name}")
        rows[part] = rows[part][~copies]
    return rows


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of bytes (N, C, H, W) scaled to [0, 1]."""
    images = images[:: -(-images.nbytes // MAX_STATISTICS_BYTES)]
    first, second = [], []
    for start in range(0, len(images), GROUP):
        scaled = images[start : start + GROUP].float().div_(255)
        first.append(scaled.mean((2, 3)).double())  # (n, C)
        second.append(scaled.square_().mean((2, 3)).double())
    mean = torch.cat(first).mean(0)
    variance = torch.cat(second).mean(0) - mean.square()
    std = variance.clamp(min=1e-6).sqrt()  # a channel without contrast is not blown up
    return tuple(mean.tolist()), tuple(std.tolist())


def _fingerprint(
    classes: Sequence[str], splits: list[Split], rows: list[Ints], pictures: Pictures
) -> str:
    state = hashlib.sha256("\0".join(classes).encode())
    state.update(str(tuple(splits[TRAIN].images.shape[1:])).encode())
    for split, r in zip(splits, rows, strict=True):
        state.update(split.labels.numpy().tobytes())
        held = split.images.numpy() if pictures.digests is None else pictures.digests[r]
        state.update(np.ascontiguousarray(held).data)
    return state.hexdigest()[:16]
