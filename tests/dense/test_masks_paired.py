"""Which files are masks, and which mask is a picture's: by whole words of folders' names."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from annotated_files import SIZE, all_pictures, save, write_masks

from nas.core.errors import UserError
from nas.data.dense import load_dense


def loaded(top, **more):
    return load_dense("masks", root=str(top), resolution=32, **more)


def moved(top, pictures, masks):
    """The files of `write_masks` in other folders, whose names may say the {split}."""
    write_masks(top / "before")
    for file in sorted((top / "before").glob("*/*/*.png")):
        split, kind = file.parts[-3:-1]
        folder = (pictures if kind == "images" else masks).format(split=split)
        (top / folder).mkdir(parents=True, exist_ok=True)
        shutil.move(file, top / folder / file.name)
    shutil.move(top / "before" / "classes.txt", top)
    shutil.rmtree(top / "before")
    return top


def write_films(top, frames="JPEGImages/480p", masks="Annotations/480p"):
    """As DAVIS: films whose pictures have the same names; a film's masks are of one class alone."""
    rng = np.random.default_rng(0)
    for label, film in enumerate(("bear", "bus", "bike")):
        for i in range(8):
            pixels = rng.integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8)
            save(pixels, top / frames / film / f"{i:05}.jpg")
            save(np.full(SIZE[::-1], label, np.uint8), top / masks / film / f"{i:05}.png")
    (top / "classes.txt").write_text("bear\nbus\nbike\n")
    return top


def test_pictures_of_one_name_get_the_mask_of_their_own_folder(tmp_path):
    data = loaded(write_films(tmp_path))
    assert len(data.train) + len(data.val) + len(data.test) == 24
    for split in (data.train, data.val, data.test):
        for name, mask in zip(split.names, split.labels, strict=True):
            assert data.classes[int(mask[0, 0])] == name.split("/")[2]


def test_a_picture_of_a_film_gets_no_other_films_mask(tmp_path):
    write_films(tmp_path)
    (tmp_path / "Annotations" / "480p" / "bus" / "00003.png").unlink()
    data = loaded(tmp_path)
    assert "1 pictures without a mask (JPEGImages/480p/bus/00003.jpg)" in data.faults


def test_masks_beside_those_that_others_drew_are_the_pictures_own(tmp_path):
    write_films(tmp_path)
    before = loaded(tmp_path).fingerprint
    shutil.copytree(tmp_path / "Annotations", tmp_path / "Annotations_unsupervised")
    assert loaded(tmp_path).fingerprint == before


@pytest.mark.parametrize("more", ["GT", "masks/again"])
def test_several_masks_of_a_picture_are_an_error_and_never_the_first(more, tmp_path):
    moved(tmp_path, "{split}/photo_files", "{split}/masks")
    (tmp_path / "train" / more).mkdir(parents=True)
    shutil.copy(tmp_path / "train" / "masks" / "0.png", tmp_path / "train" / more / "0.png")
    with pytest.raises(UserError, match=r"0.png has 2 masks.*which of train/.*0.png, train/"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [
        ("{split}", "{split}annot"),
        ("{split}/images", "{split}/gtFine"),
        ("JPEGImages/{split}", "SegmentationClass/{split}"),
        ("images_{split}", "labels_{split}"),
        ("washington/{split}/images", "washington/{split}/Masks"),
        ("gta5_lengths/{split}/imgs", "gta5_lengths/{split}/gt"),
    ],
)
def test_folders_are_those_of_masks_by_whole_words(pictures, masks, tmp_path):
    usual = loaded(write_masks(tmp_path / "usual"))
    data = loaded(moved(tmp_path / "moved", pictures, masks))
    assert data.faults == ""
    assert data.fingerprint == usual.fingerprint


def test_pictures_without_labels_are_counted_and_not_lost(tmp_path):
    write_masks(tmp_path)
    save(np.zeros((9, 9, 3), np.uint8), tmp_path / "train" / "unlabelled" / "more.png")
    assert "1 pictures without a mask (train/unlabelled/more.png)" in loaded(tmp_path).faults


def test_masks_without_a_picture_are_counted(tmp_path):
    (write_masks(tmp_path) / "train" / "images" / "0.png").unlink()
    said = "1 pictures that are missing (that of train/masks/0.png)"
    assert said in loaded(tmp_path).faults
    with pytest.raises(UserError, match=r"over data.max_unreadable=0.01"):
        loaded(tmp_path, max_unreadable=0.01)


def test_pictures_among_the_masks_are_counted(tmp_path):
    write_masks(tmp_path)
    save(np.zeros((9, 9, 3), np.uint8), tmp_path / "train" / "masks" / "shown.jpg")
    data = loaded(tmp_path)
    assert "1 pictures in folders of masks (train/masks/shown.jpg)" in data.faults


@pytest.mark.parametrize("folder", ["SegmentationObject", "instances", "instance_maps"])
def test_instance_maps_are_passed_over_and_counted(folder, tmp_path):
    before = loaded(write_masks(tmp_path)).fingerprint
    for split, number in all_pictures():
        (tmp_path / split / folder).mkdir(exist_ok=True)
        shutil.copy(tmp_path / split / "masks" / f"{number}.png", tmp_path / split / folder)
    data = loaded(tmp_path)
    assert data.fingerprint == before
    assert data.faults.startswith(f"20 instance maps, which are not read (test/{folder}/16.png)")


def test_a_folder_of_instance_maps_alone_says_so(tmp_path):
    moved(tmp_path, "images/{split}", "instances/{split}")
    with pytest.raises(UserError, match=r"holds no picture with .* 20 instance maps"):
        loaded(tmp_path)
