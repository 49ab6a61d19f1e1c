"""The pictures of a folder: unreadable ones, copies, the cache and memory."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import check_apart, contents, noise, refused, write_folder
from PIL import Image

from nas.core.download import cache_dir
from nas.data import pictures
from nas.data.dataset import load_data
from nas.data.pictures import _kept, decode

pytestmark = pytest.mark.usefixtures("own_cache")


def test_folder_counts_a_broken_link_as_unreadable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "data", {"cat": 30, "dog": 30})
    link = tmp_path / "data" / "cat" / "link.png"
    link.symlink_to(tmp_path / "later.png")
    assert load_data("folder", root=str(tmp_path / "data")).skipped == 1
    assert "cat/link.png" in caplog.text
    Image.fromarray(noise(700)).save(tmp_path / "later.png")
    assert load_data("folder", root=str(tmp_path / "data")).skipped == 0


def test_folder_decodes_where_no_affinity_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS has none
    data = load_data("folder", root=str(write_folder(tmp_path, {"cat": 5, "dog": 5})))
    assert sum(map(len, (data.train, data.val, data.test))) == 10


def test_folder_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    refused("data.root is missing", name="folder")
    refused("does not exist", name="folder", root=str(tmp_path / "no"))
    refused("holds no pictures", name="folder", root=str(tmp_path))
    Image.fromarray(noise(0)).save(tmp_path / "loose.png")
    refused("holds 1 pictures but no class folders", name="folder", root=str(tmp_path))
    write_folder(tmp_path / "pets", {"cat": 5, "dog": 2})
    message = refused("one class folder only, 'pets'", name="folder", root=str(tmp_path))
    assert f"data.root={tmp_path / 'pets'}" in message
    refused("class 'dog' has 2 images, too few", name="folder", root=str(tmp_path / "pets"))


def test_folder_counts_unreadable_pictures_up_to_a_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path, {"cat": 30, "dog": 30})
    whole = (tmp_path / "dog" / "59.png").read_bytes()
    (tmp_path / "cat" / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cat" / "empty.jpg").touch()
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        data = load_data("folder", root=str(tmp_path))
        assert data.skipped == 2
        assert "2 of 62 images" in caplog.text
        assert "cat/broken.png" in caplog.text
    assert len(data.train) + len(data.val) + len(data.test) == 60
    message = refused("2 of 62", name="folder", root=str(tmp_path), max_unreadable=0.03)
    assert "cat/broken.png" in message
    assert "data.max_unreadable=0.03" in message


@pytest.mark.parametrize("error", [RuntimeError, TypeError, MemoryError, KeyError, AssertionError])
def test_whatever_a_decoder_raises_belongs_to_its_picture(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"cat": 20, "dog": 20})

    def failing(file: Path, *more: Any) -> np.ndarray:
        if file.name == "7.png":
            raise error("no memory for it\nor worse")
        return decode(file, *more)

    monkeypatch.setattr(pictures, "decode", failing)
    assert load_data("folder", root=str(tmp_path)).skipped == 1
    message = refused("1 of 40", name="folder", root=str(tmp_path), max_unreadable=0.0)
    assert f"cat/7.png ({error.__name__}: " in message


def test_folder_leaves_copies_out_of_the_earlier_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "train", {"cat": 9, "dog": 9})
    write_folder(tmp_path / "val", {"cat": 3, "dog": 3}, start=7)  # 7, 8, 9 are in train too
    write_folder(tmp_path / "test", {"cat": 3, "dog": 3}, start=100)
    data = load_data("folder", root=str(tmp_path))
    check_apart(data)
    assert [len(s) for s in (data.train, data.val, data.test)] == [12, 6, 6]
    assert "6 images of train are in val and test too" in caplog.text


def test_folder_refuses_a_class_that_is_all_copies(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 3, "dog": 9})
    write_folder(tmp_path / "val", {"cat": 3, "dog": 3}, start=50)
    write_folder(tmp_path / "test", {"cat": 3, "dog": 3}, start=0)
    message = refused("class 'cat' is left in train", name="folder", root=str(tmp_path))
    assert "9 of its images can be read, 6 of them differ" in message


def test_a_picture_in_two_classes_is_told(tmp_path: Path, caplog) -> None:
    write_folder(tmp_path, {"cat": 20, "dog": 20, "eel": 5})
    for index in range(4):
        os.link(tmp_path / "cat" / f"{index}.png", tmp_path / "dog" / f"cat{index}.png")
    load_data("folder", root=str(tmp_path))
    assert "8 images are in several classes too, as in 'cat' and 'dog'" in caplog.text


def test_classes_of_the_same_pictures_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 9, "dog": 9})
    (tmp_path / "eel").symlink_to(tmp_path / "cat")
    refused("'cat' and 'eel' hold the same images once decoded", name="folder", root=str(tmp_path))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_split_that_lacks_a_class_is_refused(tmp_path: Path, part: str) -> None:
    write_folder(tmp_path, {"train/cat": 9, "train/dog": 9, f"{part}/cat": 4})
    message = refused("class 'dog' has images in train", name="folder", root=str(tmp_path))
    assert f"none in {part} (1 classes are so)" in message


def test_folder_decodes_once_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"cat": 10, "dog": 10})
    first = load_data("folder", root=str(tmp_path))
    calls = []
    monkeypatch.setattr(pictures, "decode", lambda *a: calls.append(a) or decode(*a))
    assert load_data("folder", root=str(tmp_path)).fingerprint == first.fingerprint
    assert load_data("folder", root=str(tmp_path), seed=3).fingerprint != first.fingerprint
    assert not calls
    Image.fromarray(noise(500)).save(tmp_path / "cat" / "0.png")
    assert load_data("folder", root=str(tmp_path)).fingerprint != first.fingerprint
    assert len(calls) == 20
    load_data("folder", root=str(tmp_path), resolution=6)
    assert len(calls) == 40


def test_folder_decodes_again_what_was_written_anew_at_the_same_time(tmp_path: Path) -> None:
    """Pictures without compression, unpacked with the times of an archive."""
    fingerprints = set()
    for start in (0, 100):
        for index in range(20):
            path = tmp_path / ("cat" if index % 2 else "dog") / f"{index}.bmp"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(noise(start + index)).save(path)
            os.utime(path, (0, 0))
        fingerprints.add(load_data("folder", root=str(tmp_path)).fingerprint)
    assert len(fingerprints) == 2


@pytest.mark.parametrize("which", ["*-looks-*.npy", "*[0-9]-v*.npy", "*.npz"])
@pytest.mark.parametrize("memory", [pictures.MAX_IN_MEMORY_BYTES, 0])
def test_folder_decodes_again_what_is_damaged_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, memory: int
) -> None:
    monkeypatch.setattr(pictures, "MAX_IN_MEMORY_BYTES", memory)
    write_folder(tmp_path, {"cat": 10, "dog": 10})
    first = load_data("folder", root=str(tmp_path))
    for kept in (cache_dir() / "pictures").glob(which):
        whole = kept.read_bytes()
        headless = [b"x" * 16 + whole[16:], whole[:8] + b"\xff" * 30 + whole[38:]]
        for damaged in (b"", whole[:90], whole[: len(whole) // 2], whole[:-1], *headless, None):
            kept.unlink()
            kept.mkdir() if damaged is None else kept.write_bytes(damaged)
            assert load_data("folder", root=str(tmp_path)).fingerprint == first.fingerprint
            assert kept.read_bytes() == whole or kept.suffix == ".npz"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_in_a_file_of_the_cache(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes flipped or lost: an array of that shape, or None, and never an exception."""
    file = tmp_path / data.draw(st.sampled_from(["kept.npy", "kept.npz"]))
    array = np.zeros((5, 3, 4, 4), np.uint8)
    np.savez(file, array=array) if file.suffix == ".npz" else np.save(file, array)
    content = bytearray(file.read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(len(content), 300) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, 2 * len(content)))])
    found = _kept(file, array.shape)
    assert found is None or isinstance(found, dict) or found.shape == array.shape


@pytest.mark.parametrize("suffix", [".heic", ".HEIF"])
def test_pictures_of_phones_that_cannot_be_read_are_counted(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path, {"cat": 30, "dog": 30})
    (tmp_path / "cat" / f"0{suffix}").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert load_data("folder", root=str(tmp_path)).skipped == 1
    message = refused("1 of 61", name="folder", root=str(tmp_path), max_unreadable=0.0)
    assert "pillow-heif" in message


def test_folder_larger_than_memory_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, {"cat": 10, "dog": 10})
    usual = load_data("folder", root=str(tmp_path))
    monkeypatch.setattr(pictures, "MAX_IN_MEMORY_BYTES", 0)
    for _ in range(2):
        mapped = load_data("folder", root=str(tmp_path))
        assert mapped.fingerprint == usual.fingerprint
        assert contents(mapped.train) == contents(usual.train)
    files = [p for p in (cache_dir() / "pictures").iterdir() if p.suffix == ".npy"]
    assert len([path for path in files if "-looks-" not in path.name]) > 1


def test_folder_says_so_when_the_cache_cannot_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "data", {"cat": 4, "dog": 4})
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file" / "cache"))
    refused("set NAS_CACHE", name="folder", root=str(tmp_path / "data"))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**30))
        refused("GB are free", name="folder", root=str(tmp_path / "data"), resolution=8192)

    def full(head: object, header: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    refused("No space left on device", name="folder", root=str(tmp_path / "data"))
    kept = [path.name for path in (tmp_path / "cache" / "pictures").iterdir()]
    assert all("-looks-" in name for name in kept)


def test_folder_of_grey_pictures_has_one_channel(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(5):
            grey = noise(index + 9 * (name == "dog"), channels=1)
            kind = "L" if index else "RGB"  # grey pictures saved in colour too
            Image.fromarray(grey[..., 0]).convert(kind).save(tmp_path / name / f"{index}.png")
    data = load_data("folder", root=str(tmp_path))
    assert data.channels == 1
    assert set(contents(data.train)) <= {noise(i, channels=1).tobytes() for i in range(20)}
    Image.fromarray(noise(77)).save(tmp_path / "cat" / "colour.png")
    assert load_data("folder", root=str(tmp_path)).channels == 3


def test_folder_follows_links_but_not_in_a_ring(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", {"cat/a/b": 5})
    write_folder(tmp_path / "elsewhere", {"dog": 5}, start=50)
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (tmp_path / "data" / "cat" / "a" / "ring").symlink_to(tmp_path / "data" / "cat")
    data = load_data("folder", root=str(tmp_path / "data"))
    assert len(data.train) + len(data.val) + len(data.test) == 10


def test_folder_pictures_of_many_sizes_become_224(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index, size in enumerate([(300, 200), (50, 80), (224, 224), (9, 400)]):
            red = 20 * index + 100 * (name == "dog")
            Image.new("RGB", size, (red, 5, 9)).save(tmp_path / name / f"{index}.JPG")
    data = load_data("folder", root=str(tmp_path))
    assert data.resolution == 224
    assert load_data("folder", root=str(tmp_path), resolution=32).resolution == 32
