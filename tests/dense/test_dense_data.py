"""Every layout gives the same boxes; what is wrong with files is one line or counted out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from annotated_files import SIZE, SPLITS, WRITERS, picture, write_coco, write_masks, write_yolo
from PIL import Image

from nas.core.config import usual
from nas.core.errors import UserError
from nas.data.annotated import reading
from nas.data.annotated.annotation import CROWD
from nas.data.annotated.masks import VOID
from nas.data.dense import load_dense
from nas.export.setup import load_images

BOXES = ["coco", "voc", "yolo"]


def loaded(name, top, **more):
    return load_dense(name, root=str(top), resolution=32, **more)


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path)


def edited(file, change):
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


@pytest.mark.parametrize("name", BOXES)
def test_every_layout_says_the_same_boxes(name, tmp_path):
    data = loaded(name, WRITERS[name](tmp_path))
    names = ["bar", "disc"] if name == "voc" else ["disc", "bar"]  # without a list by the alphabet
    assert list(data.classes) == names
    for split, number in SPLITS.items():
        part = getattr(data, split)
        assert part.images.shape == (number, 3, 32, 32)
        assert (part.sizes == SIZE).all()
        for file, rows in zip(part.names, part.labels, strict=True):
            _, shapes = picture(int(file.rpartition("/")[2].removesuffix(".png")))
            rows = rows[rows[:, 4] > 0]
            pixels = (rows[:, :4] * torch.tensor(SIZE * 2)).round().tolist()
            names_of = [data.classes[int(number) - 1] for number in rows[:, 4]]
            found = {(name, *box) for name, box in zip(names_of, pixels, strict=True)}
            assert found == {(["disc", "bar"][label], *map(float, box)) for label, box in shapes}
    assert data.faults == ""


def test_masks_keep_their_numbers_and_void(tmp_path):
    data = loaded("masks", write_masks(tmp_path))
    assert data.classes == ("nothing", "disc", "bar")
    assert data.train.labels.shape == (12, 32, 32)
    assert (data.train.labels[:, :, 0] == VOID).all()
    assert set(data.train.labels[:, :, 1:].unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_splits_are_dealt_by_name_and_never_overlap(name, tmp_path):
    if name == "coco":
        write_coco(tmp_path)
        told = [json.loads(f.read_text()) for f in sorted((tmp_path / "annotations").iterdir())]
        shutil.rmtree(tmp_path / "annotations")
        images = [image for one in told for image in one["images"]]
        notes = [
            note | {"id": i} for i, note in enumerate(n for one in told for n in one["annotations"])
        ]
        whole = {"images": images, "annotations": notes, "categories": told[0]["categories"]}
        (tmp_path / "all.json").write_text(json.dumps(whole))
    else:
        for file in sorted(write_masks(tmp_path / "x").glob("*/*/*.png")):
            target = tmp_path / file.parent.name / file.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(file, target)
        (tmp_path / "classes.txt").write_text("nothing\ndisc\nbar\n")
        shutil.rmtree(tmp_path / "x")
    data = loaded(name, tmp_path, val_share=0.2, test_share=0.2)
    held = [set(getattr(data, split).names) for split in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held)) == 20
    again = loaded(name, tmp_path, val_share=0.2, test_share=0.2)
    assert again.fingerprint == data.fingerprint
    assert (
        loaded(name, tmp_path, val_share=0.2, test_share=0.2, seed=1).fingerprint
        != data.fingerprint
    )


def test_a_copy_in_another_split_is_left_out_of_training(coco):
    shutil.copy(coco / "images" / "19.png", coco / "images" / "0.png")
    assert len(loaded("coco", coco, max_unreadable=0.2).train) == 11


def test_limits_take_fewer_pictures(coco):
    data = loaded("coco", coco, train=5, val=2, test=3)
    assert [len(getattr(data, split)) for split in SPLITS] == [5, 2, 3]
    with pytest.raises(UserError, match=r"data.train=50"):
        loaded("coco", coco, train=50)


def test_unusable_boxes_are_counted_and_left_out(coco):
    file = coco / "annotations" / "instances_train2017.json"

    def spoil(told):
        boxes = [note["bbox"] for note in told["annotations"]]
        boxes[0][2] = 0
        boxes[1][:2] = [500, 500]
        boxes[2][0], boxes[2][2] = -9, 20

    before = loaded("coco", coco).train.labels[..., 4].gt(0).sum()
    edited(file, spoil)
    data = loaded("coco", coco, max_unreadable=0.2)
    assert data.train.labels[..., 4].gt(0).sum() == before - 2
    for words in ("1 boxes without area", "1 boxes outside their", "1 boxes cut to their"):
        assert words in data.described()
    with pytest.raises(UserError, match=r"boxes .* are over data.max_unreadable=0.01"):
        loaded("coco", coco, max_unreadable=0.01)


def test_an_unreadable_picture_is_counted_or_an_error(coco):
    (coco / "images" / "3.png").write_bytes(b"\x89PNG nothing")
    data = loaded("coco", coco, max_unreadable=0.1)
    assert len(data.train) == 11
    assert "1 unreadable (images/3.png" in data.described()
    with pytest.raises(UserError, match=r"1 unreadable, the first images/3.png .*=0.049 of 20: "):
        loaded("coco", coco, max_unreadable=0.049)


@pytest.mark.parametrize("error", [Image.DecompressionBombError("too large"), RuntimeError("bad")])
def test_whatever_a_decoder_raises_is_an_unreadable_picture(coco, error, monkeypatch):
    read = reading.decode_whole

    def decode(file, *rest, **more):
        if file.name == "3.png":
            raise error
        return read(file, *rest, **more)

    monkeypatch.setattr(reading, "decode_whole", decode)
    data = loaded("coco", coco, max_unreadable=0.1)
    assert f"1 unreadable (images/3.png {error}" in data.described()


def test_a_picture_of_another_size_than_its_annotation_is_left_out(coco):
    Image.open(coco / "images" / "2.png").resize((40, 40)).save(coco / "images" / "2.png")
    data = loaded("coco", coco, max_unreadable=0.1)
    assert "its annotation says (64, 48)" in data.described()


def test_exif_turns_a_picture_where_its_annotation_asks_for_it(coco):
    image = Image.open(coco / "images" / "2.png").transpose(Image.Transpose.ROTATE_90)
    exif = image.getexif()
    exif[274] = 6  # turned by a quarter
    image.save(coco / "images" / "2.png", exif=exif)
    assert loaded("coco", coco).faults == ""


def test_a_name_that_is_in_two_splits_is_that_of_its_own(tmp_path):
    write_coco(tmp_path)
    files = {split: tmp_path / "annotations" / f"instances_{split}2017.json" for split in SPLITS}
    for split, file in files.items():
        told = json.loads(file.read_text())
        (tmp_path / split).mkdir()
        for i, image in enumerate(told["images"]):
            shutil.move(tmp_path / "images" / image["file_name"], tmp_path / split / f"{i}.png")
            image["file_name"] = f"{i}.png"
        file.write_text(json.dumps(told))
        shutil.copy(file, file.with_name(file.name.replace("instances", "person_keypoints")))
    data = loaded("coco", tmp_path)
    for split, number in SPLITS.items():
        assert getattr(data, split).names[0] == f"{split}/0.png"
        assert len(getattr(data, split)) == number


def test_pictures_of_16_bits_are_left_out(coco):
    Image.fromarray(np.full(SIZE[::-1], 40_000, np.uint16)).save(coco / "images" / "1.png")
    assert "more than 8 bits" in loaded("coco", coco, max_unreadable=0.1).described()


def change_category(told):
    told["annotations"][0]["category_id"] = 77


def change_picture(told):
    told["annotations"][0]["image_id"] = 77


def change_box(told):
    told["annotations"][0]["bbox"] = [1, 2, "x"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_category, "category 77 .*no class .disc, bar"),
        (change_picture, "annotation 1 is of no picture: 77"),
        (lambda told: told["images"][1].update(id=0), "0.png and 1.png have one id, 0, "),
        (change_box, "bbox must be four numbers"),
        (
            lambda told: told["annotations"].append(None),
            r"annotations\[\d+\] must be an object .*None",
        ),
        (lambda told: told.update(images=[1, 2]), r"images\[0\] must be an object with id, not 1"),
        (lambda told: told.update(categories=["a"]), r"categories\[0\] must be an object .* 'a'"),
        (lambda told: told["images"][0].update(id={}), r"images\[0\]: id must be a number or text"),
        (
            lambda told: told["annotations"][0].update(image_id=[1]),
            r"annotations\[0\]: image_id must be a number or text, not \[1\]",
        ),
        (
            lambda told: told["annotations"][0].update(category_id=[1]),
            r"annotations\[0\]: category_id must be a number or text, not \[1\]",
        ),
        (lambda told: told["images"][0].update(file_name="gone.png"), "pictures that are missing"),
    ],
)
def test_wrong_annotations_are_one_line(change, words, coco):
    edited(coco / "annotations" / "instances_train2017.json", change)
    with pytest.raises(UserError, match=words) as caught:
        loaded("coco", coco, max_unreadable=0.01)
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_counted_where_few_are(coco):
    edited(
        coco / "annotations" / "instances_train2017.json",
        lambda told: told["images"][0].update(file_name="gone.png"),
    )
    assert "1 pictures that are missing (gone.png of" in loaded("coco", coco).described()


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 200_000, '{"images": [], "annotations": []}'],
    ids=["cut", "list", "deep", "other"],
)  # fmt: skip
def test_json_that_is_none_of_cocos_is_one_line(text, tmp_path):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(UserError, match="JSON"):
        loaded("coco", tmp_path)


def test_wrong_text_of_yolo_is_one_line(tmp_path):
    write_yolo(tmp_path)
    file = tmp_path / "labels" / "train" / "0.txt"
    for text, words in (("7 .5 .5 .1 .1", "line 1 is of class 7"), ("0 .5", "no class number")):
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            loaded("yolo", tmp_path)


def test_wrong_xml_is_one_line(tmp_path):
    WRITERS["voc"](tmp_path)
    file = tmp_path / "Annotations" / "0.xml"
    good = file.read_text()
    for text, words in (
        (good[:-9], "not valid XML"),
        (good.replace("<xmin>", "<xmin>x"), "no four numbers"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            loaded("voc", tmp_path)
    file.write_text(good)
    with pytest.raises(UserError, match="unknown class"):
        loaded("voc", tmp_path, classes="bar")


def test_xml_may_have_spaces_another_encoding_and_no_size(tmp_path):
    before = loaded("voc", WRITERS["voc"](tmp_path)).fingerprint
    file = tmp_path / "Annotations" / "0.xml"
    good = file.read_text().replace("<name>disc<", "<name> disc\n<").replace("64<", "6\u00b2<")
    good = '<?xml version="1.0" encoding="ISO-8859-1"?>' + good
    file.write_text(good, encoding="latin-1")
    data = loaded("voc", tmp_path)
    assert data.fingerprint == before
    assert data.classes == ("bar", "disc")


def test_difficult_objects_are_ignored(tmp_path):
    WRITERS["voc"](tmp_path)
    file = tmp_path / "Annotations" / "0.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    assert loaded("voc", tmp_path).train.labels[..., 5].sum() == 1
    for name in (tmp_path / "ImageSets" / "Main" / "test.txt").read_text().split():
        file = tmp_path / "Annotations" / f"{name}.xml"
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    with pytest.raises(UserError, match="no picture of test has a box that counts"):
        loaded("voc", tmp_path)


def test_crowds_are_told_from_difficult_objects(coco):
    edited(
        coco / "annotations" / "instances_train2017.json",
        lambda told: told["annotations"][0].update(iscrowd=1),
    )
    assert loaded("coco", coco).train.labels[..., 5].sum() == CROWD


def save_mask(file, values):
    Image.fromarray(values).save(file)


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [
        ((20, 20), 0, "mask of another size"),
        ((48, 64, 3), 0, "mask with colours"),
        ((48, 64), 9, "holds the class 9, and there are 3"),
    ],
)
def test_wrong_masks_are_one_line(shape, value, words, tmp_path):
    write_masks(tmp_path)
    save_mask(tmp_path / "train" / "masks" / "1.png", np.full(shape, value, np.uint8))
    with pytest.raises(UserError, match=words) as caught:
        loaded("masks", tmp_path, max_unreadable=0.01)
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_counted_out_where_few_are(tmp_path):
    write_masks(tmp_path)
    save_mask(tmp_path / "train" / "masks" / "1.png", np.zeros((20, 20), np.uint8))
    data = loaded("masks", tmp_path, max_unreadable=0.1)
    assert len(data.train) == 11
    assert "mask of another size" in data.described()


def test_void_is_the_number_that_is_given(tmp_path):
    write_masks(tmp_path)
    for file in tmp_path.glob("*/masks/*.png"):
        values = np.asarray(Image.open(file)).copy()
        values[values == 255] = 3
        save_mask(file, values)
    with pytest.raises(UserError, match=r"data.void=NUMBER"):
        loaded("masks", tmp_path)
    assert (loaded("masks", tmp_path, void=3).train.labels[:, :, 0] == VOID).all()


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_folder_is_one_line(name, tmp_path):
    with pytest.raises(UserError) as caught:
        loaded(name, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"data.root is missing"):
        load_dense(name)


def test_a_network_of_a_searchs_smaller_side_was_trained_on_the_same_pictures(coco):
    whole = usual("data", "coco").updated(root=str(coco), resolution=32, max_unreadable=0.1)
    asked = SimpleNamespace(root=None)
    small = load_images(asked, {"data": whole.node}, Path("config.yaml"), 16)
    assert small.resolution == 16
    assert small.fingerprint == whole.make().fingerprint
    assert small.fingerprint != whole.updated(resolution=16).make().fingerprint
