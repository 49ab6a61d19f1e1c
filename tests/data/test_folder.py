"""A folder of class folders: splits, groups and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_files import check_apart, contents, noise, refused, write_folder
from PIL import Image

from nas.data.dataset import ImageData, load_data

pytestmark = pytest.mark.usefixtures("own_cache")


def test_folder_splits_each_class_and_keeps_small_squares(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 40, "dog": 20, "eel": 3})
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / "._7.png").write_text("macOS leaves these")
    (tmp_path / "__MACOSX").mkdir()
    data = load_data("folder", root=str(tmp_path))
    assert data.classes == ("cat", "dog", "eel")
    assert (data.resolution, data.channels, data.skipped) == (8, 3, 0)
    assert sum(len(s) for s in (data.train, data.val, data.test)) == 63
    for split in (data.train, data.val, data.test):
        assert split.labels.unique().tolist() == [0, 1, 2]
    check_apart(data)
    written = {noise(i).transpose(2, 0, 1).tobytes() for i in range(63)}
    assert {c for s in (data.train, data.val, data.test) for c in contents(s)} == written


def test_folder_takes_new_files_and_moves_no_other(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 40, "dog": 40})
    before = load_data("folder", root=str(tmp_path))
    write_folder(tmp_path, {"cat": 5}, start=1000)
    after = load_data("folder", root=str(tmp_path))
    assert len(after.train) + len(after.val) + len(after.test) == 85
    for split in ("train", "val", "test"):
        assert set(contents(getattr(before, split))) <= set(contents(getattr(after, split)))
    assert before.fingerprint != after.fingerprint


def test_folder_sizes_shares_and_seed(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 60, "dog": 30})
    few = load_data("folder", root=str(tmp_path), train=20, val=6, test=6)
    assert torch.bincount(few.train.labels).tolist() == [10, 10]
    half = load_data("folder", root=str(tmp_path), val_share=0.4, test_share=0.4)
    assert len(half.train) < 30 < len(half.val) + len(half.test)
    other = load_data("folder", root=str(tmp_path), seed=1)
    assert set(contents(other.test)) != set(contents(load_data("folder", root=str(tmp_path)).test))
    refused("at most", name="folder", root=str(tmp_path), test=80)
    out_of_range = "data.val_share must be a number above 0 to below 1"
    for share, words in ((0.0, out_of_range), (-0.1, out_of_range), (0.9, "their sum below 1")):
        refused(words, name="folder", root=str(tmp_path), val_share=share)


def test_folder_with_splits_of_its_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 20, "dog": 20})
    write_folder(tmp_path / "Validation", {"cat": 4, "dog": 3}, start=100)
    write_folder(tmp_path / "test", {"cat": 5, "dog": 5}, start=200)
    data = load_data("folder", root=str(tmp_path))
    assert [len(s) for s in (data.train, data.val, data.test)] == [40, 7, 10]
    assert contents(data.test)[0] == noise(200).transpose(2, 0, 1).tobytes()
    write_folder(tmp_path / "test", {"eel": 1}, start=300)
    refused("eel is a class that training lacks", name="folder", root=str(tmp_path))


def test_folder_takes_the_splits_that_lack_from_train(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 30, "dog": 30})
    only = load_data("folder", root=str(tmp_path))
    assert sum(len(s) for s in (only.train, only.val, only.test)) == 60
    write_folder(tmp_path / "val", {"cat": 4, "dog": 4}, start=100)
    both = load_data("folder", root=str(tmp_path))
    assert len(both.val) == 8
    assert len(both.train) + len(both.test) == 60
    check_apart(both)
    (tmp_path / "test").mkdir()
    Image.fromarray(noise(1)).save(tmp_path / "test" / "unlabelled.png")
    refused("test holds no pictures in class folders", name="folder", root=str(tmp_path))


def test_folder_of_a_class_named_train_is_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"bus": 10, "car": 10, "train": 10})
    assert load_data("folder", root=str(tmp_path)).classes == ("bus", "car", "train")


def test_folder_keeps_pictures_of_one_subfolder_together(tmp_path: Path) -> None:
    for name in ("ill", "well"):
        for patient in range(12):
            start = patient * 4 + 100 * (name == "ill")
            write_folder(tmp_path / name, {f"scans/patient{patient}": 4}, start)
    data = load_data("folder", root=str(tmp_path), together=True, val_share=0.3, test_share=0.3)
    place = {c: i for i, s in enumerate((data.train, data.val, data.test)) for c in contents(s)}
    found = [
        {
            place[noise(patient * 4 + shift + i).transpose(2, 0, 1).tobytes()]
            for i in range(4)
            for shift in (0, 100)
        }
        for patient in range(12)
    ]
    assert all(len(splits) == 1 for splits in found)
    assert len(set.union(*found)) == 3


def write_patients(top: Path, patients: dict[str, range], each: int = 2) -> dict[bytes, int]:
    """Class folders with a sub-folder of pictures per patient; whose each picture is."""
    whose = {}
    for place, (name, numbers) in enumerate(patients.items()):
        for patient in numbers:
            start = 1000 * place + each * patient
            write_folder(top / name, {f"patient{patient}": each}, start)
            for index in range(start, start + each):
                whose[noise(index).transpose(2, 0, 1).tobytes()] = patient
    return whose


def check_patients(data: ImageData, whose: dict[bytes, int]) -> None:
    """No patient in two splits, and all their pictures there."""
    train, val, test = ({whose[c] for c in contents(s)} for s in (data.train, data.val, data.test))
    assert not train & val
    assert not train & test
    assert not val & test
    assert sum(map(len, (data.train, data.val, data.test))) == len(whose)


@pytest.mark.parametrize("splits", [("train",), ("train", "val"), ()])
def test_folder_keeps_a_patient_of_two_classes_in_one_split(
    splits: tuple[str, ...], tmp_path: Path
) -> None:
    top = tmp_path / "train" if splits else tmp_path
    whose = write_patients(top, {"ill": range(20), "well": range(20)})
    if "val" in splits:
        write_folder(tmp_path / "val", {"ill": 3, "well": 3}, start=5000)  # loose, but not split
        whose |= {noise(i).transpose(2, 0, 1).tobytes(): 99 for i in range(5000, 5006)}
    for seed in range(3):
        data = load_data("folder", root=str(tmp_path), together=True, seed=seed)
        check_patients(data, whose)


@pytest.mark.parametrize("top", ["", "train"])
def test_together_needs_subfolders_in_each_class(top: str, tmp_path: Path) -> None:
    write_folder(tmp_path / top, {"cat/a": 9, "cat/b": 9, "cat/c": 9, "dog": 9})
    message = refused(
        "class 'dog' has no sub-folders", name="folder", root=str(tmp_path), together=True
    )
    assert "data.together=true" in message


@pytest.mark.parametrize("lone", [".", "scans", "2020/scans"])
def test_folders_within_a_patient_are_of_that_patient(lone: str, tmp_path: Path) -> None:
    whose = {}
    for shift, name in ((0, "ill"), (1000, "well")):
        for side in (0, 1):
            sided = {f"{lone}/patient{p}/{('left', 'right')[side]}": 2 for p in range(12)}
            start = shift + 100 * side
            write_folder(tmp_path / name, sided, start)
            whose |= {
                noise(start + i).transpose(2, 0, 1).tobytes(): i // 2 for i in range(2 * len(sided))
            }
    write_folder(tmp_path / "well", {"": 1}, start=5000)  # loose
    whose[noise(5000).transpose(2, 0, 1).tobytes()] = 99
    for seed in range(3):
        data = load_data("folder", root=str(tmp_path), together=True, seed=seed)
        check_patients(data, whose)


@pytest.mark.parametrize("own", [{"scan1": 2}, {"scan1/left": 2, "scan1/right": 2, "scan1/top": 2}])
def test_a_lone_patient_of_one_class_is_not_split(own: dict[str, int], tmp_path: Path) -> None:
    write_folder(tmp_path / "ill", own)
    write_folder(tmp_path / "well", {f"scan{p}/left": 2 for p in range(12)}, start=100)
    refused("class 'ill' has 1 groups of images", name="folder", root=str(tmp_path), together=True)
