"""One picture of any kind: whether a file is one, what it holds, and its upright centre square."""

from __future__ import annotations

import logging
import math
import re
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
ValueRange = tuple[float, float]

BITS, SAMPLE_FORMAT = 258, 339  # tags of TIFF; a format of 1 is without a sign
EIGHT_BITS: ValueRange = (0.0, 255.0)
SUFFIXES = (  # of files that are pictures, damaged ones too; others are opened to find out
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
FAR = 3.0  # times the spread of the other values: one so far from them is no measurement
NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")  # known to Pillow, read by others only
UPRIGHT: dict[Any, Image.Transpose] = {  # by the orientation of EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Look(NamedTuple):
    """Size in pixels; lowest and highest value where those have over 8 bits; NaN: not known.

    `cut` says that it is a colour picture of 16 bits, of which Pillow reads the upper 8; `lone`
    that its very lowest or highest value is far from the others, and not counted.
    """

    width: float = math.nan
    height: float = math.nan
    low: float = math.nan
    high: float = math.nan
    cut: bool = False
    lone: bool = False


def is_picture(file: Path) -> bool:
    """Whether the file is to be read as a picture: by its suffix, else where Pillow knows it.

    What cannot be opened at all counts as one, so that it is found unreadable and not lost.
    """
    if file.name.startswith("."):
        return False
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # to open a pipe would be to wait
            return False
        if file.suffix.lower() in SUFFIXES:
            return True
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            return image.format not in NOT_DECODED
    except UnidentifiedImageError:
        return False
    except Exception as error:  # what decoders raise is of any kind
        log.debug("%s cannot be opened: %s", file, error)
        return True


def look(file: Path | BinaryIO) -> Look:
    """What is to be known of all pictures before the first is decoded.

    Raises whatever Pillow does where it cannot be read, and ValueError where it holds no number.
    """
    with Image.open(file) as image:
        width, height = image.size
        if not _is_deep(image):
            return Look(width, height, cut=bool(re.search(r";16[BLN]", str(image.tile))))
        values = _numbers(image)
    values = values[np.isfinite(values)]
    if not values.size:
        return Look()
    low, high = _limits(values)
    return Look(width, height, low, high, lone=bool(values.min() < low or values.max() > high))


def _numbers(image: Image.Image) -> npt.NDArray[np.float64]:
    values = np.asarray(image, np.float64)
    tags = getattr(image, "tag_v2", {})
    if tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,):  # Pillow reads a sign
        values = values % 2**32
    if np.isnan(values).all():
        raise ValueError("none of its values is a number")
    return values


def _limits(values: npt.NDArray[np.float64]) -> ValueRange:
    """The lowest and the highest value, without one that is far from all others.

    Such a value stands for no data (-9999), or is of a dead pixel or of damage.
    """
    low, high = values.min(), values.max()
    others = values[(values > low) & (values < high)]
    if others.size:
        next_low, next_high = others.min(), others.max()
        far = FAR * (next_high - next_low)
        low = next_low if 0 < far < next_low - low else low
        high = next_high if 0 < far < high - next_high else high
    return float(low), float(high)


def _is_deep(image: Image.Image) -> bool:
    """Whether its values are integers of over 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def _rgb(image: Image.Image, value_range: ValueRange) -> Image.Image:
    """Any picture as 8-bit RGB; transparency turns white."""
    if _is_deep(image):
        values = np.nan_to_num(_numbers(image), nan=value_range[0])
        scaled = np.interp(values, value_range, EIGHT_BITS)
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; as it is where that cannot be read."""
    image.load()  # before: a TIFF is turned by this
    try:
        method = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception as error:  # damaged entries, of which none matters to the pixels
        log.debug("EXIF cannot be read: %s", error)
        method = None
    return image if method is None else image.transpose(method)


def decode(file: Path | BinaryIO, side: int, value_range: ValueRange = EIGHT_BITS) -> Bytes:
    """One picture as uint8 (3, side, side): its upright centre square, bicubic, antialiased.

    `value_range` becomes 0 to 255 where values have more than 8 bits; what lies outside is
    clipped, NaN is the lowest.  Raises what `look` does.
    """
    with Image.open(file) as image:
        image.draft(None, (2 * side, 2 * side))  # JPEG: decode no more than is needed
        upright = _rgb(_upright(image), value_range)
        width, height = upright.size
        edge, size, bicubic = min(width, height), (side, side), Image.Resampling.BICUBIC
        left, top = (width - edge) / 2, (height - edge) / 2
        if upright.size != size:
            box = (left, top, left + edge, top + edge)
            upright = upright.resize(size, bicubic, box=box, reducing_gap=3.0)
        return np.ascontiguousarray(np.asarray(upright).transpose(2, 0, 1))


class Whole(NamedTuple):
    """A picture as uint8 (3, side, side), squeezed to a square; its width and height before.

    `untold` says that EXIF turns it, it was kept as stored, and its size is the same either way.
    """

    pixels: Bytes
    size: tuple[int, int]
    untold: bool


def decode_whole(
    file: Path | BinaryIO, side: int, size: tuple[int, int] | None = None, upright: bool = False
) -> Whole:
    """One whole picture, bilinear and antialiased.

    It is as it is stored, or turned as its EXIF says where `upright` is, or where only that has
    the `size` that its annotation is for.  Raises what `look` does.
    """
    with Image.open(file) as stored:
        stored.load()
        if _is_deep(stored):
            raise ValueError("has more than 8 bits, of which nobody tells the range")
        turned: Image.Image = _upright(stored)
        fits = size is None or stored.size == size
        use = turned if upright or (not fits and turned.size == size) else stored
        small = _rgb(use, EIGHT_BITS).resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
        untold = use is not turned and (size is None or turned.size == size)
        return Whole(pixels, use.size, untold)
