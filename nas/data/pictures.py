"""Picture files of any size and kind, decoded once to one uint8 array that is memory-mapped."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import shutil
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from nas.core.download import atomic_file, cache_dir, show_progress
from nas.core.errors import UserError

log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
Opener = Callable[[], Path | BinaryIO]  # what gives one picture's file

DEFAULT_SIDE = 224  # pixels; the resolution of ImageNet networks since AlexNet
FORMAT = 1  # raise it when the same files would decode to other pixels
FREE_PART = 2  # an array takes at most this part of the free memory: the splits copy it
GROUP = 512  # pictures decoded before the next are begun, so that memory stays small
MAX_IN_MEMORY_BYTES = 4 << 30  # larger choices of pictures stay on disk, memory-mapped
MAX_SAMPLED = 100  # pictures whose size is looked at to find out a data set's own size
UNREADABLE = (  # what Pillow raises on damaged files, over all its formats
    *(OSError, ValueError, SyntaxError, EOFError, IndexError),
    *(struct.error, Image.DecompressionBombError),
)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images, uint8 (N, C, H, W); `digests` (N,) of their pixels, 0 where one was unreadable.

    `digests` is None for data that is known to be whole and free of duplicates.
    """

    images: Bytes
    digests: npt.NDArray[np.uint64] | None = None


def _rgb(image: Image.Image) -> Image.Image:
    """Any picture as 8-bit RGB; transparency turns white."""
    if image.mode.startswith("I"):  # 16-bit grey, also in 32-bit containers
        grey = np.asarray(image).clip(0, 65535).astype(np.uint16) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # floats in [0, 1], or in [0, 255]
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max() <= 1 else values
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def decode(file: Path | BinaryIO, side: int) -> Bytes:
    """One picture as uint8 (3, side, side): its upright centre square, bicubic, antialiased.

    Raises one of UNREADABLE when it cannot be read.
    """
    with Image.open(file) as image:
        image.draft(None, (2 * side, 2 * side))  # JPEG: decode no more than is needed
        upright = _rgb(ImageOps.exif_transpose(image))
        width, height = upright.size
        edge, size, bicubic = min(width, height), (side, side), Image.Resampling.BICUBIC
        left, top = (width - edge) / 2, (height - edge) / 2
        if upright.size != size:
            box = (left, top, left + edge, top + edge)
            upright = upright.resize(size, bicubic, box=box, reducing_gap=3.0)
        return np.ascontiguousarray(np.asarray(upright).transpose(2, 0, 1))


def native_side(openers: Sequence[Opener]) -> int:
    """Pixels to decode to when none are given.

    The side of the pictures where those looked at (up to MAX_SAMPLED) are squares of one size up
    to DEFAULT_SIDE, else DEFAULT_SIDE.
    """
    sizes = set()
    for index in np.linspace(0, len(openers) - 1, min(MAX_SAMPLED, len(openers)), dtype=int):
        try:
            with Image.open(openers[index]()) as image:
                sizes.add(image.size)
        except UNREADABLE as error:
            log.debug("size of picture %d is unknown: %s", index, error)
    width, height = sizes.pop() if len(sizes) == 1 else (DEFAULT_SIDE, DEFAULT_SIDE)
    return int(width) if width == height <= DEFAULT_SIDE else DEFAULT_SIDE


def _attempt(opener: Opener, side: int) -> tuple[Bytes, str]:
    """The picture and no reason, or blackness and the reason why it cannot be read."""
    try:
        return decode(opener(), side), ""
    except UNREADABLE as error:
        return np.zeros((3, side, side), np.uint8), f"{type(error).__name__}: {error}"


def _header(number: int, channels: int, side: int) -> bytes:
    head, shape = BytesIO(), (number, channels, side, side)
    facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, facts)
    return head.getvalue()


def _decode_all(openers: Sequence[Opener], side: int, target: Path, what: str) -> None:
    """Write pictures to `target`, .npy (N, 1 or 3, side, side), and what is known to .npz."""
    digests: list[int] = []
    failed, reason, grey = -1, "", True
    workers = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    with atomic_file(target) as file, ThreadPoolExecutor(workers) as pool:
        file.write(_header(len(openers), 3, side))
        with show_progress(f"decoding {what}", len(openers)) as advance:
            for start in range(0, len(openers), GROUP):
                group = openers[start : start + GROUP]
                for pixels, why in pool.map(_attempt, group, repeat(side)):
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
    *,
    key: str,
    what: str,
    resolution: int | None,
    max_unreadable: float,
) -> Pictures:
    """The pictures of those files, decoded now or at an earlier call.

    `key` stands for the state of all the files; `names` are for the report of unreadable ones.
    Raises UserError where more than the share `max_unreadable` of them cannot be read.
    """
    side = resolution or native_side(openers)
    target = cache_dir() / "pictures" / f"{key}-{side}-v{FORMAT}.npy"
    if not (target.exists() and target.with_suffix(".npz").exists()):
        _require_space(target.parent, len(openers) * 3 * side * side)
        try:
            _decode_all(openers, side, target, what)
        except OSError as error:
            raise UserError(
                f"cannot write the decoded images to {target.parent} ({error.strerror}): "
                "make room, or set NAS_CACHE to a folder on another disk"
            ) from error
    with np.load(target.with_suffix(".npz")) as known:
        digests, failed, reason = known["digests"], int(known["failed"]), str(known["reason"])
    if bad := int((digests == 0).sum()):
        found = f"{bad} of {len(names)} images of {what} cannot be read, the first is "
        found += f"{names[failed]} ({' '.join(reason.split())})"
        if bad > max_unreadable * len(names):
            allowed = f"the share allowed is data.max_unreadable={max_unreadable:g}"
            raise UserError(f"{found}; {allowed}: mend or remove them")
        log.warning("%s; left out", found)
    return Pictures(np.load(target, mmap_mode="c"), digests)


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
    if not target.exists():
        _require_space(target.parent, size)
        _write_rows(target, images, rows, images.shape[1])
    return np.asarray(np.load(target, mmap_mode="c"))
