"""Decoding one picture of any kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nas.data.pictures import decode

pytestmark = pytest.mark.usefixtures("own_cache")


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
        (Image.fromarray(np.full((9, 9), 0x8034, np.uint16)), "PNG", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 0x8034, np.int32)), "TIFF", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 90, np.float32)), "TIFF", (90, 90, 90)),
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
