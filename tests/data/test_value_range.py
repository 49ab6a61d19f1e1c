"""Pictures of more than eight bits: one scale for a data set, said and kept."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import noise, refused, write_folder
from PIL import Image

from nas.data.dataset import load_data
from nas.data.decoding import _limits, _numbers

pytestmark = pytest.mark.usefixtures("own_cache")


def write_deep(top: Path, kind: str, values: Callable[[Any], Any], number: int = 10) -> None:
    """Two classes of noise: `values` of bytes of random pictures."""
    for index in range(2 * number):
        path = top / ("cat" if index % 2 else "dog") / f"{index}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values(noise(index, channels=1)[..., 0])).save(path)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("png", lambda x: x.astype(np.uint16) * 16, "0 to 4080"),  # 12 bits in 16
        ("tif", lambda x: x.astype(np.int32), ""),  # 8 bits in 32
        ("tif", lambda x: x.astype(np.int32) * 10 - 1024, "-1024 to 1526"),  # as of a scanner
        ("tif", lambda x: x.astype(np.float32) / 255, "0 to 1"),
        ("tif", lambda x: x.astype(np.float32) / 51 - 2, "-2 to 3"),
    ],
)
def test_the_range_in_use_becomes_all_grey_levels(tmp_path, kind, values, said) -> None:
    write_deep(tmp_path, kind, values)
    data = load_data("folder", root=str(tmp_path))
    assert (data.channels, data.skipped) == (1, 0)
    levels = data.train.images.flatten().tolist()
    assert (min(levels), max(levels)) == (0, 255)
    assert len(set(levels)) > 200
    assert data.described().endswith(f" · values {said}" if said else "(cat, dog)")
    again = load_data("folder", root=str(tmp_path))
    assert (again.fingerprint, again.value_range) == (data.fingerprint, data.value_range)


def test_training_pictures_alone_set_the_range(tmp_path) -> None:
    write_deep(tmp_path / "train", "tif", lambda x: x.astype(np.int32) * 2)
    write_deep(tmp_path / "val", "tif", lambda x: x.astype(np.int32) * 4 + 1)
    write_deep(tmp_path / "test", "tif", lambda x: np.where(x < 9, np.nan, x).astype(np.float32))
    data = load_data("folder", root=str(tmp_path))
    assert data.value_range == (0, 510)
    assert (data.val.images == 255).float().mean() > 0.4  # clipped
    assert data.test.images.max() == 128  # half of the range, on the same scale
    assert data.test.images.min() == 0  # NaN


@pytest.mark.parametrize("part", ["train/cat", "test/cat"])
def test_pictures_of_eight_bits_beside_deeper_ones_are_refused(tmp_path, part: str) -> None:
    write_folder(tmp_path, {"train/cat": 9, "train/dog": 9, "test/cat": 4, "test/dog": 4})
    assert load_data("folder", root=str(tmp_path)).value_range == (0, 255)
    deep = Image.fromarray(noise(99, channels=1)[..., 0].astype(np.uint16) * 99)
    deep.save(tmp_path / part / "deep.png")
    message = refused("26 images of .* have 8 bits", name="folder", root=str(tmp_path))
    assert f"1 have more ({part}/deep.png)" in message


def test_pictures_without_a_number_cannot_be_read(tmp_path) -> None:
    write_deep(tmp_path, "tif", lambda x: np.full_like(x, np.nan, np.float32))
    refused("20 of 20 .* none of its values is a number", name="folder", root=str(tmp_path))


FAR_VALUES = [("png", np.uint16, 65535), ("tif", np.int32, -9999), ("tif", np.float32, 1e30),
              ("tif", np.float32, -3.4e38)]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype", "far"), FAR_VALUES)
@pytest.mark.parametrize("number", [1, 20])
def test_a_far_value_does_not_set_the_scale(tmp_path, caplog, kind, dtype, far, number) -> None:
    """In one picture or in all, at one place or at several: dead pixels, no data, damage."""
    write_deep(tmp_path, kind, lambda x: x.astype(dtype) * 4)
    usual = load_data("folder", root=str(tmp_path)).value_range
    assert not caplog.text
    for path in sorted(tmp_path.glob("*/*"))[:number]:
        values = np.array(Image.open(path))
        values[0, : 1 + number // 5] = far
        Image.fromarray(values.astype(dtype)).save(path)
    data = load_data("folder", root=str(tmp_path))
    assert data.value_range == pytest.approx(usual, abs=20)
    assert len(data.train.images.unique()) > 200
    assert f"{number} images of" in caplog.text
    assert "what lies outside is clipped" in caplog.text


def test_a_far_picture_does_not_set_the_scale(tmp_path, caplog) -> None:
    write_deep(tmp_path, "tif", lambda x: x.astype(np.int32), number=20)
    damaged = tmp_path / "cat" / "9.tif"
    Image.fromarray(noise(9, channels=1)[..., 0].astype(np.int32) * 10**6).save(damaged)
    assert load_data("folder", root=str(tmp_path)).value_range == (0, 255)
    assert "1 images of" in caplog.text
    assert "the first is cat/9.tif" in caplog.text


@settings(max_examples=30)
@given(st.lists(st.integers(0, 1000), min_size=3, max_size=40), st.integers(-9999, 65535))
def test_limits_hold_all_values_but_one_that_is_far(values: list[int], more: int) -> None:
    array = np.array([*values, more])
    low, high = _limits(array.astype(np.float64))
    outside = set(array[(array < low) | (array > high)].tolist())
    assert len(outside) <= 2
    inner = array[(array > array.min()) & (array < array.max())]
    for value in outside:
        assert np.abs(value - inner).min() > 3 * np.ptp(inner) > 0


def test_colours_of_sixteen_bits_are_said_to_be_cut(tmp_path, caplog) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    write_folder(tmp_path, {"cat": 9, "dog": 9})
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in noise(7).astype(int) * 257)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "cat" / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        load_data("folder", root=str(tmp_path))
        assert "1 images of" in caplog.text
        assert "16 bits a colour; the upper 8" in caplog.text


def test_values_of_thirty_two_bits_without_a_sign(tmp_path) -> None:
    pixels = np.array([[1, 2**31 + 5], [3, 2**32 - 1]], np.uint32)
    image = Image.fromarray(pixels.view(np.int32))
    image.save(tmp_path / "signed.tif")
    signed, unsigned = (b"\x53\x01\x03\x00\x01\x00\x00\x00" + kind for kind in (b"\x02", b"\x01"))
    stored = (tmp_path / "signed.tif").read_bytes()  # SampleFormat, which Pillow always writes as 2
    assert stored.count(signed) == 1
    (tmp_path / "unsigned.tif").write_bytes(stored.replace(signed, unsigned))
    for name, kind in (("signed", np.int32), ("unsigned", np.uint32)):
        with Image.open(tmp_path / f"{name}.tif") as opened:
            assert _numbers(opened).tolist() == pixels.view(kind).tolist()
