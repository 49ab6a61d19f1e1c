"""YOLO's lines of boxes and of polygons."""

from __future__ import annotations

import numpy as np
import pytest
from annotated_files import SIZE, all_pictures, picture, write_yolo

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
