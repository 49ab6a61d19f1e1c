"""What a folder of classes may hold: any suffix and name, splits, and what has no pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import check_apart, noise, refused, write_folder
from PIL import Image

from nas.data.dataset import load_data

pytestmark = pytest.mark.usefixtures("own_cache")


def rename_all(top: Path, suffix: str) -> None:
    for path in list(top.iterdir()):
        path.rename(path.with_suffix(suffix))


def test_pictures_of_any_suffix_or_none_are_read(tmp_path: Path) -> None:
    classes = {".jfif": "JPEG", ".jpe": "JPEG", "": "PNG", ".TGA": "TGA", ".001": "TIFF"}
    for place, (suffix, kind) in enumerate(classes.items()):
        folder = tmp_path / f"class{suffix}"
        folder.mkdir()
        for index in range(8):
            Image.fromarray(noise(100 * place + index)).save(folder / f"{index}{suffix}", kind)
    write_folder(tmp_path, {"class": 4}, start=700)  # beside those without suffix
    data = load_data("folder", root=str(tmp_path))
    assert data.num_classes == 5
    assert sum(map(len, (data.train, data.val, data.test))) == 44
    assert (data.skipped, data.passed_over) == (0, 0)
    assert "5 classes (class, class.001, class.TGA, ...)" in data.described()


def test_what_is_passed_over_is_counted_and_said(tmp_path: Path, caplog) -> None:
    write_folder(tmp_path, {"cat": 9, "dog/inner": 9, "__out": 3, "dog/.thumbs": 2})
    write_folder(tmp_path, {".": 2}, start=99)
    for path in ("dog/notes.txt", "cat/boxes.XML", "cat/list", "cat/._0.png", "dog/inner/a.txt"):
        (tmp_path / path).write_text("no picture")
    Image.fromarray(noise(98)).save(tmp_path / "cat" / "__98.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")  # to open it would be to wait for ever
    data = load_data("folder", root=str(tmp_path))
    assert sum(map(len, (data.train, data.val, data.test))) == 18
    assert data.described().endswith("2 classes (cat, dog) · 11 passed over")
    assert "as no pictures of a class: 3 .png, 2 hidden, 2 .txt" in caplog.text
    held = {"train/cat": 9, "train/dog": 9, "test/cat": 3, "test/dog": 3, "annotations": 1}
    write_folder(tmp_path / "split", held)
    caplog.clear()
    load_data("folder", root=str(tmp_path / "split"))
    assert "1 folder annotations" in caplog.text


def test_class_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 9, "dog": 9})
    (tmp_path / "eel" / "inner").mkdir(parents=True)
    (tmp_path / "eel" / "notes.txt").touch()
    message = refused("class folder .*eel holds no pictures", name="folder", root=str(tmp_path))
    assert "begin with __" in message
    (tmp_path / "eel").rename(tmp_path / "__eel")
    assert load_data("folder", root=str(tmp_path)).classes == ("cat", "dog")
    (tmp_path / "fox").symlink_to(tmp_path / "nowhere")
    refused("fox cannot be read .No such file", name="folder", root=str(tmp_path))


@pytest.mark.parametrize("closed", ["", "eel", "eel/inner", "cat"])
def test_folders_without_permission_are_refused(tmp_path: Path, closed: str, monkeypatch) -> None:
    write_folder(tmp_path, {"cat": 9, "dog": 9, "eel/inner": 5, "eel": 5})
    scandir = os.scandir

    def guarded(path: str):
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # root, as whom tests may run, may read all
    message = refused("cannot be read", name="folder", root=str(tmp_path))
    assert f"{tmp_path / closed} cannot be read (Permission denied)" in message


def test_a_root_without_permission_is_refused(tmp_path: Path, monkeypatch) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", closed)
    refused("data.root=.* cannot be read .Permission denied", name="folder", root=str(tmp_path))


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("train", "eval"),
        ("train_images", "val_images"),
        ("Training", "Validation", "Testing"),
        ("TrainSet", "holdout"),
        ("images_train", "hold-out-data"),
        ("data.train", "dev"),
        ("TRAIN DATA SET", "valid set"),
        ("seg_train", "seg_test"),
        ("train2017", "val2017"),
        ("train_cropped", "test_cropped"),
        ("training", "validating"),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_usual_names_of_splits(tmp_path: Path, names: tuple[str, ...], together: bool) -> None:
    inner = [f"{name}{i}" for name in ("cat/a", "cat/b", "cat/c", "dog/d", "dog/e", "dog/f")
             for i in range(3)]  # fmt: skip
    for place, name in enumerate(names):
        write_folder(tmp_path / name, dict.fromkeys(inner, 2), start=100 * place)
    data = load_data("folder", root=str(tmp_path), together=together)
    assert data.classes == ("cat", "dog")
    held = data.test if re.search("test|hold", names[-1].lower()) else data.val
    assert len(held) == 36
    check_apart(data)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("learned", "probe", "query"), "'learned' and 'probe' both hold cat, dog"),
        (("part1", "part2"), "both hold cat, dog, as splits do"),
        (("val", "test"), "test, val and no train folder"),
        (("train", "dev", "val"), "dev and val are both names of one split"),
        (("Train", "train"), "Train and train are both names of one split"),
    ],
)
def test_what_looks_like_splits_is_never_a_class(tmp_path: Path, names, match: str) -> None:
    for place, name in enumerate(names):
        write_folder(tmp_path / name, {"cat": 9, "dog": 9}, start=100 * place)
    refused(match, name="folder", root=str(tmp_path))


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        ("lset/images/a lset/images/b", "pset/images/a pset/images/b", "'lset' and 'pset'"),
        ("aset/aset/in/a aset/aset/in/b", "bset/a bset/b", "'aset' and 'bset' both hold a, b"),
        ("part1/a part1/b", "part2/b part2/c", "both hold b, as splits do"),
        ("set_one/Cat set_one/Dog", "set_two/cat set_two/dog", "both hold Cat, Dog"),
        ("x/caf\u00e9 x/dog", "y/cafe\u0301 y/dog", "'x' and 'y' both hold"),
        ("train_2019/a", "held_2020/a", "'held_2020' and 'train_2019' both hold a"),
        ("seg_train/seg_train/a seg_train/seg_train/b", "seg_test/seg_test/a", "give data.root="),
    ],
)
def test_splits_in_lone_folders_or_of_few_common_names_are_refused(
    tmp_path: Path, one: str, other: str, match: str
) -> None:
    write_folder(tmp_path, dict.fromkeys(one.split(), 6))
    write_folder(tmp_path, dict.fromkeys(other.split(), 6), start=100)
    refused(match, name="folder", root=str(tmp_path))


def test_classes_may_hold_one_folder_of_the_same_name(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/images": 6, "dog/images": 6, "partridge/images": 6})
    (tmp_path / "cat" / "images" / "ring").symlink_to(tmp_path / "cat")
    assert load_data("folder", root=str(tmp_path)).classes == ("cat", "dog", "partridge")


@pytest.mark.parametrize("names", [("Cat", "cat"), ("cat", "cat "), ("caf\u00e9", "cafe\u0301")])
def test_classes_of_almost_one_name_are_told(tmp_path: Path, caplog, names) -> None:
    write_folder(tmp_path, dict.fromkeys(("dog", *names), 6))
    assert load_data("folder", root=str(tmp_path)).num_classes == 3
    assert "are read as two classes" in caplog.text
    assert all(ascii(name) in caplog.text for name in names)


def test_previews_of_a_network_drive_are_passed_over(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 6, "dog": 6, "dog/@eaDir/1.png": 2, "@eaDir/x": 2})
    data = load_data("folder", root=str(tmp_path))
    assert (data.classes, data.passed_over) == (("cat", "dog"), 2)


def test_a_train_folder_of_classes_beside_one_without_is_never_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/cat": 9, "train/dog": 9, "test1": 9})
    for together in (False, True):
        message = refused("'test1' does not", name="folder", root=str(tmp_path), together=together)
        assert "'train' holds folders, as a split does" in message


@pytest.mark.parametrize("name", ["trained", "tester", "protest", "valley", "device", "dataset"])
def test_classes_whose_names_only_begin_as_splits_do(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path, {name: 9, "train": 9, "bus": 9})
    assert set(load_data("folder", root=str(tmp_path)).classes) == {name, "train", "bus"}


NAMES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.text("aé😀\n\r\t '\"=,{}[]%\\\u2028\u200d<&", min_size=1, max_size=6).map(str.encode),
).filter(lambda name: not {0, 47} & set(name) and not name.startswith((b".", b"__")))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=3, max_size=3, unique=True))
def test_files_and_folders_of_any_name(tmp_path_factory, names: list[bytes]) -> None:
    """Bytes that are no UTF-8, line ends, quotes, ...: all pictures are there, all labels show."""
    top = tmp_path_factory.mktemp("any")
    for place, name in enumerate(names[:2]):
        folder = top / os.fsdecode(name)
        folder.mkdir()
        for index in range(4):
            file = folder / os.fsdecode(b"%d" % index + names[2])
            Image.fromarray(noise(10 * place + index)).save(file, "PNG")
    data = load_data("folder", root=str(top))
    assert sum(map(len, (data.train, data.val, data.test))) == 8
    assert data.num_classes == 2
    assert len(data.described().splitlines()) == 1
    data.described().encode()
    assert load_data("folder", root=str(top)).fingerprint == data.fingerprint
    (top / os.fsdecode(names[0]) / "damaged.png").touch()
    refused("1 of 9 images of .* cannot be read", name="folder", root=str(top))


def test_a_root_of_any_name(tmp_path: Path) -> None:
    top = tmp_path / os.fsdecode(b"caf\xe9\n")
    write_folder(top, {"cat": 5, "dog": 5})
    assert load_data("folder", root=str(top)).num_classes == 2
    (top / "eel").mkdir()
    assert r"caf\udce9\n" in refused("eel holds no pictures", name="folder", root=str(top))
