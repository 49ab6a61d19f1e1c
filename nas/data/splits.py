"""Which image goes to training, search or test: by exact number, or by a hash of its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch

from nas.core.checks import check_whole
from nas.core.errors import UserError
from nas.data.pictures import Pictures

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TRAIN, VAL, TEST, UNSPLIT = 0, 1, 2, -1
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, C, H, W), and their class numbers, int64 (N,), both on the CPU."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Source:
    """What a data set's loader returns: everything but the pixels, which are read when chosen.

    `labels` (N,) number the `classes`; `part` (N,) is TRAIN, VAL or TEST; of a class the images
    lowest in `order` (N,) are taken first; `pixels(indices, resolution)` reads those images, at
    the data set's own size where resolution is None.  `passed_over` counts files that are none.
    """

    classes: tuple[str, ...]
    labels: Ints
    part: Ints
    order: Floats
    pixels: Callable[[Ints, int | None], Pictures]
    passed_over: int = 0


def stratified_choice(labels: Ints, number: int, order: Floats) -> Ints:
    """Ascending indices of `number` of the labels, as even over the classes as they allow.

    A smaller choice is part of a larger one: within a class the lowest of `order` are taken.
    """
    by_class = np.lexsort((order, labels))
    grouped = labels[by_class]
    rank = np.arange(len(labels)) - np.searchsorted(grouped, grouped)  # place within its class
    return np.sort(by_class[np.lexsort((order[by_class], rank))[:number]])


def check_count(what: str, value: int | None, available: int) -> int:
    """`value` as a number of images from 1 to `available`; None means all of them."""
    if value is None:
        return available
    check_whole(f"data.{what}", value, 1)
    if value > available:
        raise UserError(
            f"data.{what}={value} is more than the {available} images there are for it: "
            f"ask for at most {available}, or null for all"
        )
    return value


def choose(source: Source, part: int, number: int | None) -> Ints:
    """Ascending indices of the images of that part, or of `number` of them."""
    available = np.flatnonzero(source.part == part)
    number = check_count(SPLIT_NAMES[part], number, len(available))
    return available[stratified_choice(source.labels[available], number, source.order[available])]


def unit_hash(names: Sequence[str], salt: str) -> Floats:
    """A number in [0, 1) for each name, the same on every machine and whatever else is there."""
    digests = b"".join(_digest(f"{salt}/{name}") for name in names)
    return (np.frombuffer(digests, ">u8") >> np.uint64(11)) / 2.0**53


def _digest(name: str) -> bytes:
    return blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()


def by_hash(
    part: Ints, labels: Ints, classes: Sequence[str], place: Floats, shares: dict[int, float]
) -> Ints:
    """`part` with the UNSPLIT images dealt to training and to the parts named by `shares`.

    An image goes where its `place` in [0, 1) falls, so a new image moves no other.  Only a class
    of which a part would get none is dealt by the rank of its places instead.
    """
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        given = ", ".join(f"data.{SPLIT_NAMES[p]}_share={share}" for p, share in shares.items())
        raise UserError(f"{given}: shares lie between 0 and 1, and their sum below 1")
    part = part.copy()
    edges = np.cumsum(list(shares.values()))
    for label, name in enumerate(classes):
        mine = np.flatnonzero((part == UNSPLIT) & (labels == label))
        bins = np.searchsorted(edges, place[mine], side="right")
        if len(np.unique(bins)) <= len(shares):
            bins = _by_rank(place[mine], list(shares.values()), name)
        part[mine] = np.array([*shares, TRAIN])[bins]
    return part


def regroup(dealt: Ints, before: Ints, labels: Ints, classes: Sequence[str], place: Floats) -> Ints:
    """`dealt` by by_hash from `before`, with all images of one `place` in the last of their parts.

    Raises UserError where a class is left without a part.
    """
    mine = before == UNSPLIT
    groups, member = np.unique(place[mine], return_inverse=True)
    latest = np.full(len(groups), TRAIN)
    np.maximum.at(latest, member, dealt[mine])
    part = dealt.copy()
    part[mine] = latest[member]
    for label, name in enumerate(classes):
        own = mine & (labels == label)
        if lost := set(dealt[own]) - set(part[own]):
            raise UserError(
                f"class {name!r} has no group of images left for {SPLIT_NAMES[min(lost)]}, as "
                "groups are in several classes: add some, or try another data.seed"
            )
    return part


def _by_rank(place: Floats, shares: Sequence[float], name: str) -> Ints:
    """Bins of one small class, at least one distinct place in each; the last bin is training."""
    groups, member = np.unique(place, return_inverse=True)  # one place: images kept together
    number, bins = len(groups), len(shares) + 1
    if number < bins:
        what = "images" if number == len(place) else "groups of images"
        raise UserError(
            f"class {name!r} has {number} {what}, too few to split: {bins} are needed; "
            "add some, or take the class out"
        )
    dealt = np.full(number, bins - 1)
    start = 0
    for index, share in enumerate(shares):
        limit = number - start - (bins - 1 - index)  # leaves one for each later bin
        size = min(max(1, round(share * number)), limit)
        dealt[start : start + size] = index
        start += size
    return dealt[member]
