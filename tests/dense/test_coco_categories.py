"""Categories of COCO's files: what they may be called and numbered."""

from __future__ import annotations

import json

import pytest
from annotated_files import write_coco

from nas.core.errors import UserError
from nas.data.dense import load_dense


def loaded(top, **more):
    return load_dense("coco", root=str(top), resolution=32, **more)


def edited(top, change):
    """The folder of `write_coco` with a change to each category, and to what is of it."""
    write_coco(top)
    for file in (top / "annotations").iterdir():
        told = json.loads(file.read_text())
        for kind in told["categories"]:
            number = kind["id"]
            change(kind)
            for note in told["annotations"]:
                if note["category_id"] == number:
                    note["category_id"] = kind["id"]
        file.write_text(json.dumps(told))
    return top


def test_two_categories_of_one_name_are_one_class(tmp_path):
    data = loaded(edited(tmp_path, lambda kind: kind.update(name="thing")))
    assert data.classes == ("thing",)
    assert set(data.train.labels[..., 4].unique().tolist()) == {0, 1}


def test_a_name_that_is_a_number_is_its_text(tmp_path):
    data = loaded(edited(tmp_path, lambda kind: kind.update(name=10 * kind["id"])))
    assert data.classes == ("10", "20")
    assert loaded(tmp_path, classes="20,10").classes == ("20", "10")


def text_and_number(kind):
    kind["id"] = "one" if kind["id"] == 1 else 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda kind: kind.pop("name"),
            "category 1 has boxes, and its name must be text, not None",
        ),
        (lambda kind: kind.update(name=""), "its name must be text, not ''"),
        (lambda kind: kind.update(name=["x"]), r"its name must be text, not \['x'\]"),
        (text_and_number, "ids that are all numbers or all text, not 'one', 2"),
    ],
)
def test_categories_that_cannot_be_told_apart_are_one_line(change, words, tmp_path):
    edited(tmp_path, change)
    with pytest.raises(UserError, match=words) as caught:
        loaded(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_category_without_boxes_needs_no_name(tmp_path):
    write_coco(tmp_path)
    for file in (tmp_path / "annotations").iterdir():
        told = json.loads(file.read_text())
        told["categories"].append({"id": "none"})
        file.write_text(json.dumps(told))
    assert loaded(tmp_path).classes == ("disc", "bar")
