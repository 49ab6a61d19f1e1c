"""Pictures and what is to be answered, read from their files; what cannot be read is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas.core.download import show_progress
from nas.core.errors import UserError
from nas.data.annotated.annotation import Annotation, Faults, usable_boxes
from nas.data.annotated.masks import mask_size, read_mask
from nas.data.decoding import Bytes, decode_whole

BOX_COLUMNS = 6  # left, top, right, bottom in parts of the picture; class from 1; as `ignored`


class Read(NamedTuple):
    """One picture; `label` (M, BOX_COLUMNS) or (side, side)."""

    image: Bytes
    label: npt.NDArray[np.generic]
    size: tuple[int, int]


def read_all(
    found: Sequence[Annotation], top: Path, side: int, num_classes: int, void: int, faults: Faults
) -> list[Read | None]:
    """Each picture with its label, None where it cannot be read."""
    one = partial(_attempt, top=top, side=side, num_classes=num_classes, void=void)
    read: list[Read | None] = []
    with ThreadPoolExecutor() as pool, show_progress(f"reading {top}", len(found)) as advance:
        for result, wrong in pool.map(one, found):
            for what, number in wrong.numbers.items():
                faults.add(what, wrong.first[what], number)
            read.append(result)
            advance(1)
    return read


def _attempt(
    one: Annotation, top: Path, side: int, num_classes: int, void: int
) -> tuple[Read | None, Faults]:
    faults, name = Faults(), one.file.relative_to(top).as_posix()
    try:
        told = one.size if one.mask is None else mask_size(one.mask)
        # tools that write parts of the picture show it upright
        image, size, untold = decode_whole(one.file, side, told, upright=one.relative)
        if one.size not in (None, size):
            raise ValueError(f"is of {size} pixels, and its annotation says {one.size}")
        mask = None if one.mask is None else read_mask(one.mask, size, side, num_classes, void)
    except UserError:
        raise
    except Exception as error:  # what decoders raise is of any kind
        faults.add("unreadable", f"{name} {' '.join(str(error).split())[:80]}")
        return None, faults
    faults.add("pictures kept as stored, though EXIF turns them", name, untold)
    if mask is not None:
        return Read(image, mask, size), faults
    boxes, kept = usable_boxes(one.boxes, (1, 1) if one.relative else size, name, faults)
    rows = np.zeros((len(boxes), BOX_COLUMNS), np.float32)
    rows[:, :4], rows[:, 4], rows[:, 5] = boxes, one.labels[kept] + 1, one.ignored[kept]
    return Read(image, rows, size), faults


def digest(one: Read | None) -> int:
    """0 for an unreadable picture."""
    if one is None:
        return 0
    return int.from_bytes(hashlib.blake2b(one.image.tobytes(), digest_size=8).digest()) | 1
