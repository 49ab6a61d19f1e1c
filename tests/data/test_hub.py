"""Data sets in the hub's format."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import check_apart, contents, noise, refused, write_hub
from PIL import Image

from nas.data.dataset import load_data

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_hub(tmp_path, monkeypatch)


def test_hub_reads_what_was_saved(saved: Path) -> None:
    data = load_data("hub", path=str(saved))
    assert data.classes == ("cat", "dog")
    assert data.resolution == 8
    assert len(data.val) == 10
    assert len(data.train) + len(data.test) == 30
    check_apart(data)
    place = {noise(i).transpose(2, 0, 1).tobytes(): i for i in range(40)}
    for split in (data.train, data.val, data.test):
        assert [place[c] % 2 for c in contents(split)] == split.labels.tolist()
    assert load_data("hub", path=str(saved)).fingerprint == data.fingerprint
    colours = load_data("hub", path=str(saved), label_column="colour", train=6, resolution=16)
    assert colours.classes == ("blue", "green", "red")
    assert colours.train.images.shape == (6, 3, 16, 16)


def test_hub_reads_many_bits_and_counts_damaged_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    deep = [noise(i, channels=1)[..., 0].astype(np.uint16) * 16 for i in range(40)]
    files = []
    for array in deep:
        Image.fromarray(array).save(file := io.BytesIO(), "PNG")
        files.append(file.getvalue())
    Image.fromarray(noise(99)).save(file := io.BytesIO(), "AVIF")
    files[7] = file.getvalue()[:-40]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a\nb", "c"])}
    rows = {"image": [{"bytes": file, "path": None} for file in files], "label": [0, 1] * 20}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    table.save_to_disk(tmp_path / "deep")
    data = load_data("hub", path=str(tmp_path / "deep"))
    assert (data.skipped, data.value_range, data.channels) == (1, (0, 4080), 1)
    assert data.classes == (r"a\nb", "c")
    assert len(data.train.images.unique()) > 200


def save(top: Path, **splits: tuple[object, list[object]]) -> str:
    """A folder of splits of 24 pictures, whose labels are of a feature, and these in turn."""
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    tables = {}
    for split, (feature, labels) in splits.items():
        start = 100 * len(tables)
        rows = {
            "image": [Image.fromarray(noise(start + i)) for i in range(24)],
            "label": [labels[i % len(labels)] for i in range(24)],
        }
        table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
        features = datasets.Features({"image": datasets.Image(), "label": feature})
        info = datasets.DatasetInfo(features=features)  # no number of a label is checked here
        tables[split] = datasets.Dataset(table.data, info=info)
    datasets.DatasetDict(tables).save_to_disk(top / "saved")
    return str(top / "saved")


def test_hub_knows_classes_of_other_splits_by_their_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    train = (datasets.ClassLabel(names=["a", "b"]), [0, 1])
    tests = [
        (datasets.ClassLabel(names=["b", "a"]), [0, 1]),
        (datasets.Value("string"), ["b", "a"]),
    ]
    for place, test in enumerate(tests):
        data = load_data("hub", path=save(tmp_path / str(place), train=train, test=test))
        assert data.classes == ("a", "b")
        assert data.test.labels.tolist() == [1, 0] * 12


def test_hub_refuses_classes_that_training_lacks(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    few, more = (datasets.ClassLabel(names=["a", "b", "eel"][:number]) for number in (2, 3))
    text = datasets.Value("string")
    lacks = "a class that training lacks .it has a, b"
    for place, (train, test, match) in enumerate(
        [
            ((few, [0, 1]), (more, [0, 2]), f"test split has rows of 'eel', {lacks}"),
            ((text, ["a", "b"]), (text, ["c", "a"]), f"test split has rows of 'c', {lacks}"),
            ((few, [0, 1]), (few, [0, 2]), "holds the number 2, and has 2 names"),
        ]
    ):
        path = save(tmp_path / str(place), train=train, test=test)
        refused(match, name="hub", path=path)
    path = save(tmp_path / "unused", train=(few, [0, 1]), test=(more, [0, 1]))
    assert load_data("hub", path=path).classes == ("a", "b")


def test_hub_refuses_in_one_line(saved: Path, tmp_path: Path) -> None:
    refused("data.path is missing", name="hub", path=None)
    refused("did you mean kind", name="hub", path=str(saved), label_column="kinds")
    refused("cannot load the data set", name="hub", path=str(tmp_path / "none"))
    refused("cannot load the data set", name="hub", path="nobody/nothing")
    refused("data.config=one chooses nothing in", name="hub", path=str(saved), config="one")
    pictures = {"name": "hub", "path": str(saved), "label_column": "picture"}
    refused("column 'picture' of the train split is Image.*labels must be single", **pictures)
    numbers = {"name": "hub", "path": str(saved), "image_column": "kind"}
    refused("column 'kind' is ClassLabel.*no kind of pictures", **numbers)


def test_hub_refuses_labels_that_are_none(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    text, many = datasets.Value("string"), datasets.List(datasets.Value("int64"))
    for place, (feature, labels, match) in enumerate(
        [
            (text, ["a", "b", None], "some rows have no label"),
            (many, [[1], [2, 3]], r"column 'label' of the train split is List\(.*must be single"),
        ]
    ):
        refused(match, name="hub", path=save(tmp_path / str(place), train=(feature, labels)))


def test_hub_refuses_a_split_without_a_column(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    both = datasets.load_from_disk(
        save(tmp_path, **dict.fromkeys(("train", "test"), (datasets.Value("string"), ["a", "b"])))
    )
    whole = both["test"]
    for column in ("image", "label"):
        both["test"] = whole.remove_columns(column)
        both.save_to_disk(tmp_path / column)
        words = f"the test split has no column '{column}'"
        refused(words, name="hub", path=str(tmp_path / column))


def test_hub_without_a_home_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    cache = Path("~nobody-at-all/datasets")  # as ~ stays where no home is known
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.chdir(tmp_path)
    assert "set HF_HOME to a folder that can" in refused("no home", name="hub", path="a/b")
    assert not list(tmp_path.iterdir())


def test_hub_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refused("needs the package datasets", name="hub", path="a/b")
    assert message.endswith("pip install -e '.[hub]'")
    assert "pip install -e '.[hub]'" in (ROOT / "conf" / "data" / "hub.yaml").read_text()


def test_hub_with_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'hub'")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.csv").write_text('a,b\n1,2\n"unclosed,3\n4,5,6,7\n')
    error = refused("cannot load the data set", name="hub", path=str(tmp_path / "own"))
    assert "while generating" not in error
