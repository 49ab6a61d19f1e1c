"""Which picture an annotation is of, and of which split: by the names of files and folders."""

from __future__ import annotations

import json
import shutil

import pytest
from annotated_files import CLASSES, SPLITS, WRITERS, all_pictures, write_coco, write_voc

from nas.core.errors import UserError
from nas.data.annotated.annotation import Faults
from nas.data.annotated.voc import voc
from nas.data.dense import load_dense


def loaded(name, top, **more):
    return load_dense(name, root=str(top), resolution=32, **more)


def into_folders_of_splits(top, pictures):
    for split, number in all_pictures():
        (top / split).mkdir(exist_ok=True)
        shutil.move(top / pictures / f"{number}.png", top / split / f"{number}.png")


def assert_split_by_folders(data):
    for split, number in SPLITS.items():
        names = getattr(data, split).names
        assert len(names) == number
        assert all(name.startswith(f"{split}/") for name in names)


def one_json(top):
    """The three files of `write_coco` as one whose name says no split."""
    files = sorted((top / "annotations").iterdir())
    told = [json.loads(file.read_text()) for file in files]
    shutil.rmtree(top / "annotations")
    whole = {key: [one for part in told for one in part[key]] for key in ("images", "annotations")}
    whole["categories"] = told[0]["categories"]
    (top / "all.json").write_text(json.dumps(whole))


def test_coco_asks_the_folders_of_pictures_where_the_file_says_no_split(tmp_path):
    write_coco(tmp_path)
    one_json(tmp_path)
    into_folders_of_splits(tmp_path, "images")
    assert_split_by_folders(loaded("coco", tmp_path))


def test_a_json_of_another_name_than_cocos_is_read_beside_them(tmp_path):
    before = loaded("coco", write_coco(tmp_path))
    notes = tmp_path / "annotations"
    (notes / "instances_test2017.json").rename(notes / "test.json")
    shutil.copy(notes / "instances_val2017.json", notes / "person_keypoints_val2017.json")
    data = loaded("coco", tmp_path)
    assert data.fingerprint == before.fingerprint
    said = "1 JSON files of the same pictures, which are not read"
    assert data.faults == f"{said} (annotations/person_keypoints_val2017.json)"


def test_voc_asks_the_folders_of_pictures_where_that_of_the_xml_says_no_split(tmp_path):
    write_voc(tmp_path)
    shutil.rmtree(tmp_path / "ImageSets")
    into_folders_of_splits(tmp_path, "JPEGImages")
    assert_split_by_folders(loaded("voc", tmp_path))


def test_lists_of_voc_are_asked_before_folders(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "test").mkdir()
    shutil.move(tmp_path / "JPEGImages" / "0.png", tmp_path / "test" / "0.png")
    assert "test/0.png" in loaded("voc", tmp_path).train.names


def test_pictures_that_the_lists_of_voc_lack_are_counted_out(tmp_path):
    write_voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    test = (lists / "test.txt").read_text().split()
    (lists / "test.txt").write_text("\n".join(test[1:]))
    data = loaded("voc", tmp_path)
    assert [len(getattr(data, split)) for split in SPLITS] == [12, 4, 3]
    assert data.faults == f"1 pictures that ImageSets/Main does not list ({test[0]}.xml)"
    (lists / "test.txt").unlink()
    data = loaded("voc", tmp_path, test_share=0.3)
    held = [name for split in SPLITS for name in getattr(data, split).names]
    assert len(held) == 16
    assert not {f"JPEGImages/{name}.png" for name in test} & set(held)


def test_lists_of_other_names_than_the_xmls_are_an_error(tmp_path):
    lists = write_voc(tmp_path) / "ImageSets" / "Main"
    for file in lists.iterdir():
        file.write_text("".join(f"{name}.png\n" for name in file.read_text().split()))
    with pytest.raises(UserError, match=r"lists '\d+.png' and so on, but none of the XMLs, as '0'"):
        loaded("voc", tmp_path)


@pytest.mark.parametrize(
    "filename",
    ["<filename>{}</filename>", "<filename>{}.jpg</filename>", "<filename></filename>", ""],
)
def test_voc_finds_the_picture_by_the_name_of_the_xml(filename, tmp_path):
    before = loaded("voc", write_voc(tmp_path)).fingerprint
    for file in (tmp_path / "Annotations").iterdir():
        said = f"<filename>{file.stem}.png</filename>"
        file.write_text(file.read_text().replace(said, filename.format(file.stem)))
    data = loaded("voc", tmp_path)
    assert data.fingerprint == before
    assert data.faults == ""


def test_a_mask_is_never_taken_for_the_picture_of_an_xml(tmp_path):
    write_voc(tmp_path)
    for folder in ("SegmentationClass", "SegmentationObject"):
        (tmp_path / folder).mkdir()
        shutil.copy(tmp_path / "JPEGImages" / "3.png", tmp_path / folder / "3.png")
    (tmp_path / "JPEGImages" / "3.png").rename(tmp_path / "JPEGImages" / "other.png")
    file = tmp_path / "Annotations" / "3.xml"
    file.write_text(file.read_text().replace("3.png", "3.jpg"))
    data = loaded("voc", tmp_path, max_unreadable=0.1)
    assert "1 pictures that are missing (3.jpg of 3.xml)" in data.faults


@pytest.mark.parametrize("filename", ["{}.png", "{}", ""])
def test_pictures_of_one_name_are_told_apart_by_their_folders(filename, tmp_path):
    """Annotations/bear/0.xml is of JPEGImages/bear/0.png, not of the first 0.png there is."""
    for film in ("ape", "bear"):
        once = write_voc(tmp_path / film)
        for part in ("JPEGImages", "Annotations"):
            (tmp_path / "all" / part).mkdir(parents=True, exist_ok=True)
            shutil.move(once / part, tmp_path / "all" / part / film)
        for file in (tmp_path / "all" / "Annotations" / film).iterdir():
            said = filename.format(file.stem)
            file.write_text(file.read_text().replace(f">{file.stem}.png<", f">{said}<"))
    names, found = voc(tmp_path / "all", None, Faults())
    assert names == sorted(CLASSES)
    assert len(found) == 2 * sum(SPLITS.values())
    assert len({one.file for one in found}) == len(found)


def test_a_picture_that_may_be_one_of_several_is_an_error(tmp_path):
    write_coco(tmp_path)
    for copy in ("a", "b"):
        shutil.copytree(tmp_path / "images", tmp_path / copy)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(UserError, match=r"a picture \d+.png, and there are 2: which of a/"):
        loaded("coco", tmp_path)


def test_a_picture_without_an_ending_that_may_be_one_of_several_is_an_error(tmp_path):
    write_voc(tmp_path)
    shutil.copy(tmp_path / "JPEGImages" / "1.png", tmp_path / "JPEGImages" / "0.bmp")
    file = tmp_path / "Annotations" / "0.xml"
    file.write_text(file.read_text().replace("0.png", "0"))
    with pytest.raises(UserError, match=r"a picture 0, and there are 2: which of JPEGImages/0.bmp"):
        loaded("voc", tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_linked_folders_are_read_but_not_in_a_ring(name, tmp_path):
    before = loaded(name, WRITERS[name](tmp_path / "data"))
    (tmp_path / "elsewhere").mkdir()
    for folder in [path for path in (tmp_path / "data").iterdir() if path.is_dir()]:
        folder.rename(tmp_path / "elsewhere" / folder.name)
        folder.symlink_to(tmp_path / "elsewhere" / folder.name)
        (folder / "ring").symlink_to(tmp_path / "data")
    data = loaded(name, tmp_path / "data")
    assert data.fingerprint == before.fingerprint
    assert data.faults == ""


def test_a_link_to_a_folder_beside_it_leaves_its_name(tmp_path):
    before = loaded("yolo", WRITERS["yolo"](tmp_path))
    (tmp_path / "a").symlink_to(tmp_path / "images")
    data = loaded("yolo", tmp_path)
    assert data.fingerprint == before.fingerprint
    assert data.train.names == before.train.names
