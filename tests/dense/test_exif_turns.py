"""Which pictures are turned as their EXIF says: by what their annotation was drawn on."""

from __future__ import annotations

import pytest
from annotated_files import SIZE, WRITERS
from PIL import Image

from nas.data.dense import load_dense

# how a picture is stored that its EXIF turns back: a quarter, a half, mirrored
STORED = {
    6: Image.Transpose.ROTATE_90,
    3: Image.Transpose.ROTATE_180,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
}
FILES = {"coco": "images/2.png", "yolo": "images/train/2.png", "masks": "train/images/2.png"}


def loaded(name, top):
    return load_dense(name, root=str(top), resolution=32)


def store_turned(file, orientation, stored=True):
    """Let EXIF turn a picture; `stored`: so that it is then the one that it was."""
    image = Image.open(file)
    exif = image.getexif()
    exif[274] = orientation
    (image.transpose(STORED[orientation]) if stored else image).save(file, exif=exif)


@pytest.mark.parametrize("orientation", STORED)
def test_yolo_is_of_the_upright_picture(orientation, tmp_path):
    before = loaded("yolo", WRITERS["yolo"](tmp_path))
    store_turned(tmp_path / FILES["yolo"], orientation)
    data = loaded("yolo", tmp_path)
    assert data.fingerprint == before.fingerprint
    assert (data.train.sizes == SIZE).all()
    assert data.faults == ""


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_a_picture_is_turned_where_only_that_fits(name, tmp_path):
    before = loaded(name, WRITERS[name](tmp_path))
    store_turned(tmp_path / FILES[name], 6)
    data = loaded(name, tmp_path)
    assert data.fingerprint == before.fingerprint
    assert data.faults == ""


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_a_picture_is_kept_where_only_that_fits(name, tmp_path):
    before = loaded(name, WRITERS[name](tmp_path))
    store_turned(tmp_path / FILES[name], 6, stored=False)
    data = loaded(name, tmp_path)
    assert data.fingerprint == before.fingerprint
    assert data.faults == ""


@pytest.mark.parametrize("orientation", [3, 2])
@pytest.mark.parametrize("name", ["coco", "masks"])
def test_a_turn_that_keeps_the_size_cannot_be_told_and_is_counted(name, orientation, tmp_path):
    before = loaded(name, WRITERS[name](tmp_path))
    store_turned(tmp_path / FILES[name], orientation, stored=False)
    data = loaded(name, tmp_path)
    assert data.fingerprint == before.fingerprint
    assert data.faults == f"1 pictures kept as stored, though EXIF turns them ({FILES[name]})"
