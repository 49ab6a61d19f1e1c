"""YOLO's lines of boxes and of polygons, and where the names of its classes are found."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from annotated_files import CLASSES, SIZE, all_pictures, picture, write_yolo

from nas.core.errors import UserError
from nas.data.dense import load_dense


def loaded(top, **more):
    return load_dense("yolo", root=str(top), resolution=32, **more)


def assert_same_boxes(data, other):
    for ours, theirs in zip(
        (data.train, data.val, data.test), (other.train, other.val, other.test), strict=True
    ):
        assert np.allclose(ours.labels, theirs.labels, atol=1e-6)


def rewritten(top, line):
    """The folder of `write_yolo`, each box as `line` says it of class, left, top, right, bottom."""
    for split, number in all_pictures():
        _, shapes = picture(number)
        scale = np.array(SIZE * 2)
        lines = [line(label, *(np.array(box) / scale)) for label, box in shapes]
        (top / "labels" / split / f"{number}.txt").write_text("\n".join(lines))


def as_triangle(label, left, top, right, bottom):
    return f"{label} {left} {bottom} {(left + right) / 2} {top} {right} {bottom}"


def as_turned_box(label, left, top, right, bottom):
    x, y = (left + right) / 2, (top + bottom) / 2
    return f"{label} {x} {top} {right} {y} {x} {bottom} {left} {y}"


def with_more(words):
    def line(label, left, top, right, bottom):
        x, y = (left + right) / 2, (top + bottom) / 2
        return f"{label} {x} {y} {right - left} {bottom - top} {words}"

    return line


@pytest.mark.parametrize("line", [as_triangle, as_turned_box, with_more(""), with_more("0.9")])
def test_the_box_of_a_polygon_is_its_lowest_and_highest(line, tmp_path):
    before = loaded(write_yolo(tmp_path))
    rewritten(tmp_path, line)
    data = loaded(tmp_path)
    assert_same_boxes(data, before)
    assert data.faults == ""


@pytest.mark.parametrize("words", ["0.5 0.5 2", "0.5 0.5 2 0.6 0.6 2", "0.5 0.5 0.6 0.6"])
def test_key_points_after_the_box_are_passed_over(words, tmp_path):
    before = loaded(write_yolo(tmp_path))
    rewritten(tmp_path, with_more(words))
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 2]\n")
    assert_same_boxes(loaded(tmp_path), before)


@pytest.mark.parametrize(
    "line", ["0", "0 .5 .5 .1", "0 .1 .1 .2 .2 .3 .3 .4", "0 .1 .1 .2 .2 .3 x"]
)
def test_a_line_of_another_length_is_an_error(line, tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "0.txt").write_text(f"0 .5 .5 .1 .1\n{line}")
    with pytest.raises(UserError, match="line 2 is no class number and four parts") as caught:
        loaded(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_with_numbers_of_text_are_in_the_order_of_the_numbers(tmp_path):
    write_yolo(tmp_path)
    names = [*CLASSES, *(f"more{i}" for i in range(9))]
    told = {"names": {str(number): name for number, name in enumerate(names)}}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(told))
    assert list(loaded(tmp_path).classes) == names


@pytest.mark.parametrize("names", [{1: "disc", 2: "bar"}, {"0": "disc", "2": "bar"}])
def test_names_with_a_hole_are_an_error(names, tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    with pytest.raises(UserError, match=r"names are numbered .* must be 0 to .* without a hole"):
        loaded(tmp_path)


def test_other_peoples_yaml_files_are_passed_over(tmp_path):
    before = loaded(write_yolo(tmp_path))
    (tmp_path / "argo.yaml").write_text("names: {first: a}\n")
    (tmp_path / "broken.yaml").write_text("made: 2024-13-45\n")
    (tmp_path / "deep.yaml").write_text("[" * 20_000)
    (tmp_path / "other.yaml").write_bytes(b"caf\xe9: 1\n")
    assert_same_boxes(loaded(tmp_path), before)


def flat(top):
    """As LabelImg writes: images/ and labels/ without splits, classes.txt among the labels."""
    write_yolo(top)
    for file in sorted(top.glob("*/*/*.*")):
        shutil.move(file, file.parents[1] / file.name)
    (top / "data.yaml").unlink()
    (top / "labels" / "classes.txt").write_text("\n".join(CLASSES))
    return top


def test_classes_beside_the_labels_are_found_and_are_no_label_file(tmp_path):
    data = loaded(flat(tmp_path))
    assert list(data.classes) == CLASSES
    assert data.faults == ""


def test_labels_without_a_picture_are_counted_below_folders_of_splits_too(tmp_path):
    (write_yolo(tmp_path) / "images" / "train" / "0.png").unlink()
    assert loaded(tmp_path).faults == "1 pictures that are missing (that of labels/train/0.txt)"


def test_a_picture_called_classes_has_no_boxes(tmp_path):
    flat(tmp_path)
    shutil.move(tmp_path / "images" / "0.png", tmp_path / "images" / "classes.png")
    (tmp_path / "labels" / "0.txt").unlink()
    data = loaded(tmp_path)
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 20
    assert data.faults == ""


def test_classes_that_differ_are_an_error(tmp_path):
    flat(tmp_path)
    (tmp_path / "images" / "classes.txt").write_text("bar\ndisc\n")
    with pytest.raises(UserError, match=r"different names in .*classes.txt and .*classes.txt"):
        loaded(tmp_path)
    assert list(loaded(tmp_path, classes="disc,bar").classes) == CLASSES


def test_names_nowhere_are_an_error(tmp_path):
    (write_yolo(tmp_path) / "data.yaml").unlink()
    with pytest.raises(UserError, match=r"no data.yaml with names and no classes.txt: give data"):
        loaded(tmp_path)


def renamed(top, sheet):
    """The folders of `write_yolo` with names that say no split, and a data.yaml that does."""
    write_yolo(top)
    for kind in ("images", "labels"):
        for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
            (top / kind / split).rename(top / kind / name)
    (top / "data.yaml").write_text(yaml.safe_dump({"names": CLASSES, **sheet}))
    return top


@pytest.mark.parametrize(
    "sheet",
    [
        {"train": "images/a", "val": "images/b", "test": "images/c"},
        {"train": "../images/a", "val": "../images/b", "test": "../images/c"},
        {"path": "images", "train": ["a"], "val": "b", "test": "c"},
        {"path": "../gone", "train": "images/a", "val": "images/b", "test": "test.txt"},
    ],
)
def test_splits_are_those_that_data_yaml_names(sheet, tmp_path):
    top = renamed(tmp_path, sheet)
    files = sorted((top / "images" / "c").iterdir())
    (top / "test.txt").write_text("".join(f"./images/c/{file.name}\n" for file in files))
    data = loaded(top)
    for split, folder in ((data.train, "a"), (data.val, "b"), (data.test, "c")):
        assert {name.split("/")[1] for name in split.names} == {folder}
    assert len(data.test) == 4
    assert data.faults == ""


def test_pictures_that_data_yaml_does_not_list_are_counted_out(tmp_path):
    data = loaded(renamed(tmp_path, {"train": "images/a", "val": "images/b"}))
    assert len(data.train) + len(data.val) + len(data.test) == 16
    assert data.faults.startswith("4 pictures that the YAML does not list (images/c/")


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ({"test": "images/gone"}, "test names images/gone, and no picture below .* is there"),
        ({"test": "test.txt"}, "test names test.txt, and no picture below .* is there"),
        ({"train": "images/a", "val": "images"}, "val names .*, which is of another split"),
        ({"train": {"first": "images/a"}}, "train must be a folder, a .txt of files, or a list"),
    ],
)
def test_splits_that_data_yaml_names_wrong_are_one_line(sheet, words, tmp_path):
    with pytest.raises(UserError, match=words) as caught:
        loaded(renamed(tmp_path, sheet))
    assert "\n" not in str(caught.value)


def test_the_data_yaml_of_the_folder_is_asked_before_others(tmp_path):
    before = loaded(write_yolo(tmp_path))
    (tmp_path / "a.yaml").write_text("names: [bar, disc]\n")
    assert loaded(tmp_path).fingerprint == before.fingerprint
    (tmp_path / "data.yaml").rename(tmp_path / "b.yaml")
    with pytest.raises(UserError, match=r"different names in .*a.yaml and .*b.yaml: give data"):
        loaded(tmp_path)


def test_a_name_that_is_there_twice_is_an_error(tmp_path):
    (write_yolo(tmp_path) / "data.yaml").write_text("names: [disc, disc]\n")
    with pytest.raises(UserError, match="classes must be different names, not 'disc, disc'"):
        loaded(tmp_path)
