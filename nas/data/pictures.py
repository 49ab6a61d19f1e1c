"""Picture files of any size and kind, decoded once to one uint8 array that is memory-mapped."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import shutil
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from nas.core.download import atomic_file, cache_dir, show_progress
from nas.core.errors import UserError, one_line
from nas.data.decoding import EIGHT_BITS, Bytes, Look, ValueRange, decode, look
from nas.data.looks import Flags, Looks, check_values, native_side, range_in_use

log = logging.getLogger(__name__)

Opener = Callable[[], Path | BinaryIO]  # what gives one picture's file

DAMAGE = (  # what NumPy raises for damaged files
    *(OSError, EOFError, ValueError, TypeError, AttributeError, NotImplementedError),
    *(OverflowError, MemoryError, BadZipFile, zlib.error),
)
FORMAT = 3  # raise it when the same files would decode to other pixels
FREE_PART = 2  # an array takes at most this part of the free memory: the splits copy it
GROUP = 512  # pictures decoded before the next are begun, so that memory stays small
MAX_IN_MEMORY_BYTES = 4 << 30  # larger choices of pictures stay on disk, memory-mapped


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images, uint8 (N, C, H, W); `digests` (N,) of their pixels, 0 where one was unreadable.

    `digests` is None for data that is known to be whole and free of duplicates.  `value_range`
    became 0 to 255 in pictures of over 8 bits.
    """

    images: Bytes
    digests: npt.NDArray[np.uint64] | None = None
    value_range: ValueRange = EIGHT_BITS


def _looks(openers: Sequence[Opener], target: Path, what: str) -> Looks:
    """What `look` tells of each picture, (N, 6), NaN where it cannot be read; kept in `target`."""
    shape = (len(openers), len(Look._fields))
    if (looks := _kept(target, shape)) is None:
        with atomic_file(target) as file, ThreadPoolExecutor(_workers()) as pool:
            with show_progress(f"looking at {what}", len(openers)) as advance:
                found = []
                for one in pool.map(_look, openers):
                    found.append(one)
                    advance(1)
            looks = np.array(found, np.float64).reshape(shape)
            np.save(file, looks)
    return np.array(looks)


def _kept(file: Path, *shapes: tuple[int, ...]) -> Any:
    """What an earlier call left in `file`; None where it is not there or damaged.

    Of .npy an array of one of those shapes, memory-mapped; of .npz all arrays by name.
    """
    try:
        if file.suffix == ".npz":
            with file.open("rb") as opened, np.load(opened) as arrays:
                return dict(arrays.items())
        found = np.lib.format.open_memmap(file, mode="c")
        if found.shape in shapes and found.dtype in (np.uint8, np.float64):
            return found
        reason = f"holds {found.dtype} {found.shape}"
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"
    log.warning(one_line(f"{file} is damaged ({reason}) and is made anew"))
    if file.is_dir():
        file.rmdir()
    return None


def _look(opener: Opener) -> Look:
    try:
        return look(opener())
    except Exception as error:  # what decoders raise is of any kind
        log.debug("nothing is known of a picture: %s", error)
        return Look()


def _attempt(opener: Opener, side: int, value_range: ValueRange) -> tuple[Bytes, str]:
    """The picture and no reason, or blackness and the reason why it cannot be read."""
    try:
        return decode(opener(), side, value_range), ""
    except Exception as error:  # what decoders raise is of any kind
        return np.zeros((3, side, side), np.uint8), f"{type(error).__name__}: {error}"


def _workers() -> int:
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)


def _header(number: int, channels: int, side: int) -> bytes:
    head, shape = BytesIO(), (number, channels, side, side)
    facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, facts)
    return head.getvalue()


def _decode_all(
    openers: Sequence[Opener], side: int, value_range: ValueRange, target: Path, what: str
) -> None:
    """Write pictures to `target`, .npy (N, 1 or 3, side, side), and what is known to .npz."""
    digests: list[int] = []
    failed, reason, grey = -1, "", True
    with atomic_file(target) as file, ThreadPoolExecutor(_workers()) as pool:
        file.write(_header(len(openers), 3, side))
        with show_progress(f"decoding {what}", len(openers)) as advance:
            for start in range(0, len(openers), GROUP):
                group = openers[start : start + GROUP]
                for pixels, why in pool.map(_attempt, group, repeat(side), repeat(value_range)):
                    if why and failed < 0:
                        failed, reason = len(digests), why
                    grey = grey and bool((pixels == pixels[:1]).all())
                    data = pixels.tobytes()
                    file.write(data)
                    digest = hashlib.blake2b(data, digest_size=8).digest()
                    digests.append(0 if why else int.from_bytes(digest, "big") or 1)
                    advance(1)
    if grey:
        images = np.load(target, mmap_mode="r")
        _write_rows(target, images, np.arange(len(images)), channels=1)
    with atomic_file(target.with_suffix(".npz")) as file:  # last: its presence means complete
        np.savez(file, digests=np.array(digests, np.uint64), failed=failed, reason=reason)


def _write_rows(target: Path, images: Bytes, rows: npt.NDArray[np.int64], channels: int) -> None:
    with atomic_file(target) as file:
        file.write(_header(len(rows), channels, images.shape[-1]))
        for start in range(0, len(rows), GROUP):
            file.write(images[rows[start : start + GROUP], :channels].tobytes())


def decode_cached(
    openers: Sequence[Opener],
    names: Sequence[str],
    training: Flags,
    *,
    key: str,
    what: str,
    resolution: int | None,
    max_unreadable: float,
) -> Pictures:
    """The pictures of those files, decoded now or at an earlier call.

    Those of over 8 bits are scaled by the range of the `training` ones.  `key` stands for the
    state of all the files; `names` are for the report of unreadable ones.
    Raises UserError where more than the share `max_unreadable` of them cannot be read.
    """
    folder = cache_dir() / "pictures"
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of damage that does not matter
            looks = _looks(openers, folder / f"{key}-looks-v{FORMAT}.npy", what)
            side, value_range = resolution or native_side(looks), range_in_use(looks, training)
            scale = "" if value_range == EIGHT_BITS else "-{:.17g}-{:.17g}".format(*value_range)
            target = folder / f"{key}-{side}{scale}-v{FORMAT}.npy"
            if (kept := _kept_pictures(target, len(openers), side)) is None:
                _require_space(folder, len(openers) * 3 * side * side)
                _decode_all(openers, side, value_range, target, what)
                kept = _kept_pictures(target, len(openers), side)
            assert kept, target
    except OSError as error:
        raise UserError(
            f"cannot write the decoded images to {folder} ({error.strerror}): "
            "make room, or set NAS_CACHE to a folder on another disk"
        ) from error
    images, known = kept
    digests, reason = known["digests"], " ".join(str(known["reason"]).split())
    first = f"{names[known['failed']]} ({reason})"
    _check_readable(digests == 0, names, what, first, max_unreadable)
    looks[digests == 0] = np.nan
    check_values(looks, names, what, value_range)
    return Pictures(images, digests, value_range)


def _check_readable(
    bad: Flags, names: Sequence[str], what: str, first: str, max_unreadable: float
) -> None:
    """Tell of the unreadable pictures; UserError where they are more than the share allowed."""
    if not bad.any():
        return
    found = f"{bad.sum()} of {len(names)} images of {what} cannot be read, the first is {first}"
    if any(names[i].lower().endswith((".heic", ".heif")) for i in np.flatnonzero(bad).tolist()):
        found += "; HEIC is not read: convert it to JPEG, by the package pillow-heif for one"
    if bad.sum() > max_unreadable * len(names):
        allowed = f"the share allowed is data.max_unreadable={max_unreadable:g}"
        raise UserError(f"{found}; {allowed}: mend or remove them")
    log.warning("%s; left out", one_line(found))


def _kept_pictures(target: Path, number: int, side: int) -> tuple[Bytes, dict[str, Any]] | None:
    """What `_decode_all` wrote; None where that is missing or damaged."""
    shapes = [(number, channels, side, side) for channels in (1, 3)]
    known, images = _kept(target.with_suffix(".npz")), _kept(target, *shapes)
    if known is None or images is None or set(known) != {"digests", "failed", "reason"}:
        return None
    return images, known


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if needed > free:
        raise UserError(
            f"the decoded images need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB "
            "are free: lower data.resolution, or set NAS_CACHE to a folder on another disk"
        )


def free_memory() -> float:
    """Bytes of memory that are free: as Linux says, elsewhere all that the machine has."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())):
        return int(found[1]) * 1024
    if hasattr(os, "sysconf"):  # not on Windows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def require_memory(shape: tuple[int, ...]) -> None:
    """UserError where images uint8 (N, C, H, W) would take over 1 / FREE_PART of what is free."""
    needed, free = math.prod(shape), free_memory()
    if needed > free / FREE_PART:
        raise UserError(
            f"{shape[0]} images of {shape[-1]}x{shape[-1]} pixels need {needed / 1e9:.3g} GB of "
            f"memory, over half of the {free / 1e9:.3g} GB that are free: lower data.resolution, "
            "or data.train, data.val and data.test"
        )


def take_rows(images: Bytes, rows: npt.NDArray[np.int64]) -> Bytes:
    """Those rows of `images`: a view where they are neighbours, else a copy.

    A copy of a memory-mapped array over MAX_IN_MEMORY_BYTES is a memory-mapped file beside it.
    """
    if len(rows) == 0 or rows[-1] - rows[0] + 1 == len(rows):
        return images[rows[0] : rows[-1] + 1] if len(rows) else images[:0]
    size = len(rows) * images[0].nbytes
    if not isinstance(images, np.memmap) or size < MAX_IN_MEMORY_BYTES:
        return np.asarray(images[rows])
    base = Path(str(images.filename))
    target = base.with_name(f"{base.stem}-{hashlib.sha256(rows.tobytes()).hexdigest()[:16]}.npy")
    shape = (len(rows), *images.shape[1:])
    if _kept(target, shape) is None:
        _require_space(target.parent, size)
        _write_rows(target, images, rows, images.shape[1])
    return np.asarray(_kept(target, shape))
