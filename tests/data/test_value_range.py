"""Pictures of more than eight bits: one scale for a data set, said and kept."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, refused, write_folder
from PIL import Image

from nas.data.dataset import load_data

pytestmark = pytest.mark.usefixtures("own_cache")


def write_deep(top: Path, kind: str, values: object, number: int = 10) -> None:
    """Two classes of noise: `values` of bytes of random pictures."""
    for index in range(2 * number):
        path = top / ("cat" if index % 2 else "dog") / f"{index}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values(noise(index, channels=1)[..., 0])).save(path)  # type: ignore[operator]


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


def test_pictures_of_eight_bits_are_as_they_were(tmp_path) -> None:
    write_folder(tmp_path, {"cat": 9, "dog": 9})
    before = load_data("folder", root=str(tmp_path))
    assert before.value_range == (0, 255)
    deep = Image.fromarray(noise(99, channels=1)[..., 0].astype(np.uint16) * 99)
    deep.save(tmp_path / "cat" / "deep.png")
    after = load_data("folder", root=str(tmp_path))
    old, new = (
        {image.numpy().tobytes() for s in (d.train, d.val, d.test) for image in s.images}
        for d in (before, after)
    )
    assert old < new
    assert len(new - old) == 1


def test_pictures_without_a_number_are_dark(tmp_path) -> None:
    write_deep(tmp_path, "tif", lambda x: np.full_like(x, np.nan, np.float32))
    refused("no image of class", name="folder", root=str(tmp_path))  # all are copies


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
