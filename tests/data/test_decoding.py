"""Decoding one picture of any kind, and what is damaged."""

from __future__ import annotations

import io
import math
import random
import struct
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.data.decoding import EIGHT_BITS, decode, is_picture, look
from nas.data.pictures import _look, decode_cached

pytestmark = pytest.mark.usefixtures("own_cache")


Image.init()
FORMATS = sorted((Image.SAVE.keys() & Image.OPEN.keys()) - {"BUFR", "EPS", "GRIB", "HDF5", "WMF"})
SLOPE = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 4  # 0 to 248


def decoded(image: Image.Image, side: int, kind: str = "PNG", **more: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return decode(io.BytesIO(buffer.getvalue()), side)


def test_decode_takes_the_centre_square() -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    assert (decoded(Image.fromarray(wide), 40) == 200).all()
    assert (decoded(Image.fromarray(wide.transpose(1, 0, 2)), 40) == 200).all()
    assert decoded(Image.fromarray(wide), 20)[:, 3:-3, 3:-3].min() == 200


def test_decode_antialiases() -> None:
    chess = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = decoded(Image.fromarray(chess), 16)
    assert abs(small.astype(int) - 127).max() < 20


def test_decode_turns_pictures_upright() -> None:
    image = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    turned = decoded(image, 16, exif=exif)
    assert (np.diff(turned[0, :, 0].astype(int)) > 0).all()
    assert (np.diff(turned[0, 0].astype(int)) == 0).all()


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("L", (9, 9), 70), "PNG", (70, 70, 70)),
        (Image.new("1", (9, 9), 1), "PNG", (255, 255, 255)),
        (Image.new("P", (9, 9), 0), "GIF", (0, 0, 0)),
        (Image.new("LA", (9, 9), (10, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 255)), "PNG", (10, 20, 30)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_decode_makes_rgb_of_every_kind(
    image: Image.Image, kind: str, expected: tuple[int, ...]
) -> None:
    assert decoded(image, 9, kind)[:, 4, 4].tolist() == list(expected)


def test_decode_of_palette_with_transparency() -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    seen = decoded(image, 9, transparency=b"\x00\xff")
    assert seen[:, 0, 0].tolist() == [9, 8, 7]
    assert decoded(image, 9, transparency=1)[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.filterwarnings("ignore:IM image format")
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_in_every_mode_it_can_be_written_in(kind, tmp_path) -> None:
    """By its content, whatever its name; of over 8 bits from the lowest value to the highest."""
    grey, file, read = Image.fromarray(SLOPE), tmp_path / "picture", 0
    deep = [SLOPE.astype(np.uint16) * 16, SLOPE.astype(np.int32) * 99, SLOPE / np.float32(7)]
    images = [grey.convert(mode) for mode in ("1", "L", "LA", "P", "RGB")]
    images += [grey.convert("RGB").convert(mode) for mode in ("RGBA", "CMYK", "YCbCr")]
    for image in [*images, *map(Image.fromarray, deep)]:
        try:
            image.save(file, kind)
        except (OSError, ValueError):
            continue  # the format has no such mode
        with Image.open(file) as again:
            if again.size != image.size or (again.mode[0] not in "IF" and image.mode[0] in "IF"):
                continue  # enlarged or clipped when it was written
        known = look(file)
        has_range = not math.isnan(known.low)
        seen = decode(file, 32, (known.low, known.high) if has_range else EIGHT_BITS)
        exact = np.asarray(image.convert("L") if image.mode[0] not in "IF" else grey, float)
        exact = exact * 255 / exact.max() if has_range else exact
        assert is_picture(file)
        assert not known.cut
        assert abs(seen - exact).mean() < 5, image.mode
        read += 1
    assert read or kind == "ICNS"


@pytest.mark.parametrize(
    ("array", "value_range", "expected"),
    [
        (np.array([[0, 2048, 4095]] * 3, np.uint16), (0, 4095), (0, 128, 255)),
        (np.array([[0, 90, 255]] * 3, np.int32), (0, 255), (0, 90, 255)),
        (np.array([[-1000, 500, 2000]] * 3, np.int32), (-1000, 2000), (0, 128, 255)),
        (np.array([[290, 300, 310]] * 3, np.float32), (290, 310), (0, 128, 255)),
        (np.array([[np.nan, np.inf, -np.inf]] * 3, np.float32), (-1, 1), (0, 255, 0)),
        (np.array([[-5, 0.5, 5]] * 3, np.float32), (0, 1), (0, 128, 255)),
        (np.array([[7, 7, 7]] * 3, np.float32), (7, 7), (255, 255, 255)),
    ],
)
def test_values_of_many_bits_are_scaled_by_the_range(array, value_range, expected) -> None:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    assert decode(buffer, 3, value_range)[1, 1].tolist() == list(expected)


def exif(orientation: bytes) -> bytes:
    """EXIF with that entry, and a resolution that is a text where a fraction belongs."""
    entries = orientation + struct.pack(">HHI4s", 0x011A, 2, 4, b"abc")
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + bytes(4)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0), True),
        (struct.pack(">HHI4s", 0x0112, 2, 2, b"6"), False),
        (struct.pack(">HHII", 0x0112, 3, 99, 0xFFFF), False),
        (struct.pack(">HHII", 0x0112, 99, 1, 6), False),
        (struct.pack(">HHI4s", 0x0112, 7, 4, b"abcd"), False),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_sound_picture_with_odd_exif_is_read(orientation: bytes, turned: bool) -> None:
    image = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1)))
    seen = decoded(image, 16, "JPEG", exif=exif(orientation))[0].astype(int)
    along = 0 if turned else 1
    assert (np.diff(seen.mean(1 - along)) > 8).all()


@pytest.mark.filterwarnings("ignore:IM image format")
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_read_or_counted(own_cache, seed: int) -> None:
    """Files of every format, cut and with bytes flipped: never an exception."""
    draws, files = random.Random(seed), []
    for kind in FORMATS:
        for image in (Image.fromarray(SLOPE), Image.fromarray(SLOPE).convert("1")):
            try:
                image.save(buffer := io.BytesIO(), kind)
            except (OSError, ValueError):
                continue
            for _ in range(1 if kind == "ICNS" else 6):
                data = bytearray(buffer.getvalue())
                for _ in range(draws.randrange(4)):
                    data[draws.randrange(min(len(data), 400))] = draws.randrange(256)
                files.append(bytes(data[: draws.choice((None, draws.randrange(len(data))))]))
    openers = [partial(io.BytesIO, data) for data in files]
    facts = {"what": "damaged", "resolution": 8, "max_unreadable": 1.0}
    damaged = 0
    deep = [not math.isnan(_look(opener).low) for opener in openers]
    for kind in (True, False):  # kept apart: a mixture is refused
        mine = [opener for opener, is_deep in zip(openers, deep, strict=True) if is_deep == kind]
        names, training = [str(i) for i in range(len(mine))], np.ones(len(mine), bool)
        found = decode_cached(mine, names, training, key=f"fuzz{seed}{kind}", **facts)
        assert found.images.shape[0] == len(mine)
        assert found.digests is not None
        damaged += (found.digests == 0).sum()
    assert 0 < damaged < len(files)
