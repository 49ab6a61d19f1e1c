"""Data sets: what is read, what is refused, that splits never overlap, and what batches hold."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import runpy
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from nas.core.download import cache_dir, download
from nas.core.errors import UserError
from nas.data import arrays, augment, pictures
from nas.data.dataset import Batches, ImageData, Split, load_data
from nas.data.pictures import decode
from nas.data.splits import (
    TEST,
    TRAIN,
    UNSPLIT,
    VAL,
    by_hash,
    regroup,
    stratified_choice,
    unit_hash,
)

ROOT = Path(__file__).parents[2]
SHARED = Path(__file__).parents[3] / "shared" / "data"
# of the arrays in the embedded file; benchmarks/make_embedded_data.py prints it
CONTENT = "577617fc31508e1fc6e59963ef8891f321162dd564dd6c3480c4a27d82e261a5"
PLACES = (VAL, TEST, TRAIN)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NAS_CACHE", str(cache))
    return cache


@pytest.fixture(scope="module")
def clothes() -> ImageData:
    return load_data("embedded")


def contents(split: Split) -> list[bytes]:
    return [image.numpy().tobytes() for image in split.images]


def check_apart(data: ImageData) -> None:
    train, val, test = (set(contents(s)) for s in (data.train, data.val, data.test))
    assert train
    assert val
    assert test
    assert not train & val
    assert not train & test
    assert not val & test


def refused(match: str, **knobs: object) -> str:
    with pytest.raises(UserError, match=match) as caught:
        load_data(**knobs)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- the embedded data ---------------------------------------------------------------------------


def test_embedded_is_balanced_apart_and_whole(clothes: ImageData) -> None:
    for split, number in ((clothes.train, 10_000), (clothes.val, 2_000), (clothes.test, 5_000)):
        assert split.images.shape == (number, 1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels).tolist() == [number // 10] * 10
    check_apart(clothes)
    assert (clothes.num_classes, clothes.channels, clothes.resolution) == (10, 1, 28)
    assert clothes.classes[-1] == "Ankle boot"
    assert clothes.flip


def test_embedded_statistics_are_those_of_training_images(clothes: ImageData) -> None:
    scaled = clothes.train.images.double() / 255
    assert clothes.mean == pytest.approx([scaled.mean().item()], abs=1e-6)
    assert clothes.std == pytest.approx([scaled.std(correction=0).item()], abs=1e-6)


def test_embedded_file_is_small_and_has_its_licence() -> None:
    assert arrays.EMBEDDED.stat().st_size < 8_000_000
    licence = (arrays.EMBEDDED.parent / "LICENSE-fashion-mnist.txt").read_text()
    assert "Copyright (c) 2017 Zalando SE" in licence
    with np.load(arrays.EMBEDDED) as file:
        content = b"".join(file[name].tobytes() for name in file.files)
    assert hashlib.sha256(content).hexdigest() == CONTENT


@pytest.mark.skipif(not arrays.DEBIAN.exists(), reason="needs Debian's dataset-fashion-mnist")
def test_the_script_makes_the_embedded_data_again() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "make_embedded_data.py"))
    made = script["subset"](arrays.DEBIAN)
    assert hashlib.sha256(b"".join(a.tobytes() for a in made.values())).hexdigest() == CONTENT


def test_the_seed_decides_the_splits_and_fewer_are_part_of_more(clothes: ImageData) -> None:
    again, other = load_data("embedded"), load_data("embedded", seed=1)
    assert again.fingerprint == clothes.fingerprint != other.fingerprint
    assert contents(again.val) == contents(clothes.val) != contents(other.val)
    few = load_data("embedded", train=500, val=100, test=200)
    assert torch.bincount(few.train.labels).tolist() == [50] * 10
    assert torch.bincount(few.test.labels).tolist() == [20] * 10
    assert set(contents(few.train)) < set(contents(load_data("embedded", train=900, val=100).train))
    check_apart(few)
    assert set(contents(few.val)) < set(contents(clothes.val))


def test_another_process_gives_the_same_fingerprint(clothes: ImageData) -> None:
    code = "from nas.data.dataset import load_data; print(load_data('embedded').fingerprint)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == clothes.fingerprint


def test_resolution_resizes_with_antialias() -> None:
    sizes = {"train": 20, "val": 10, "test": 10}
    own, small = load_data("embedded", **sizes), load_data("embedded", resolution=14, **sizes)
    assert small.train.images.shape == (20, 1, 14, 14)
    assert small.train.images.dtype == torch.uint8
    blocks = own.train.images.float().unflatten(2, (14, 2)).unflatten(4, (14, 2)).mean((3, 5))
    difference = (small.train.images.float() - blocks).abs().mean()
    assert difference < 6  # a sample of one pixel in four would differ by over 10
    assert (own.train.images[..., ::2, ::2].float() - blocks).abs().mean() > 10
    assert load_data("embedded", resolution=28, **sizes).fingerprint == own.fingerprint


@pytest.mark.parametrize("value", [0, -3, 2.5, "32", True])
def test_resolution_must_be_a_positive_int(value: object) -> None:
    refused("data.resolution must be a whole number", name="embedded", resolution=value)


def test_a_resolution_too_large_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused(
        r"data.resolution must be .* from 1 to 8192, not 20000", name="embedded", resolution=20_000
    )
    sizes = {"train": 20, "val": 10, "test": 10, "resolution": 100}  # 400 kB
    monkeypatch.setattr(pictures, "free_memory", lambda: 700_000)
    message = refused("40 images of 100x100 pixels need 0.0004 GB", name="embedded", **sizes)
    assert "lower data.resolution, or data.train" in message
    monkeypatch.setattr(pictures, "free_memory", lambda: 900_000)
    assert load_data("embedded", **sizes).resolution == 100


def test_free_memory_is_part_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    there = pictures.free_memory()
    assert there > 0
    monkeypatch.setattr(Path, "exists", lambda self: False)  # as on macOS
    assert there <= pictures.free_memory() < 2**60


@pytest.mark.parametrize("value", [-1, 1.0, "0", None, True])
def test_the_seed_must_be_a_whole_number_from_0(value: object) -> None:
    refused("data.seed must be a whole number from 0, not ", name="embedded", seed=value)


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", True])
@pytest.mark.parametrize("knob", ["train", "val", "test"])
def test_numbers_of_images_must_be_positive_ints(knob: str, value: object) -> None:
    refused(f"data.{knob} must be a whole number from 1, not ", name="embedded", **{knob: value})


@pytest.mark.parametrize(
    ("knob", "available"), [("train", 10_000), ("val", 11_999), ("test", 5_000)]
)
def test_more_images_than_there_are(knob: str, available: int) -> None:
    refused(f"at most {available}", name="embedded", **{knob: 12_000})


def test_unknown_names_and_knobs() -> None:
    refused("did you mean embedded", name="embeded")
    refused("did you mean val_share", name="folder", root=".", vall_share=0.1)
    refused("has no data.root", name="embedded", root=".")


# -- choosing ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_spread_is_as_even_as_can_be(labels: list[int], data: st.DataObject) -> None:
    numbers = np.array(labels)
    wanted = data.draw(st.integers(1, len(labels)))
    order = np.random.default_rng(0).random(len(labels))
    chosen = stratified_choice(numbers, wanted, order)
    assert len(set(chosen.tolist())) == wanted
    got = np.bincount(numbers[chosen], minlength=5)
    there = np.bincount(numbers, minlength=5)
    for label in range(5):  # a class with fewer than another one has none left
        assert got[label] >= got.max() - 1 or got[label] == there[label]
    more = stratified_choice(numbers, min(wanted + 1, len(labels)), order)
    assert set(chosen.tolist()) <= set(more.tolist())


@settings(max_examples=30)
@given(st.integers(40, 120), st.integers(0, 5), st.text(min_size=1, max_size=8))
def test_a_new_image_moves_no_other(number: int, seed: int, new: str) -> None:
    names = [f"a/{i}.png" for i in range(number)]

    def dealt(names: list[str]) -> np.ndarray:
        part = np.full(len(names), UNSPLIT)
        place = unit_hash(names, f"split {seed}")
        return by_hash(part, np.zeros_like(part), ["a"], place, {TEST: 0.2, VAL: 0.2})

    before = dealt(names)
    assert set(before) == set(PLACES)
    assert dealt([*names, f"a/new{new}.png"])[:-1].tolist() == before.tolist()


@given(st.integers(3, 12), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_a_small_class_is_in_every_split(number: int, val: float, test: float) -> None:
    names = [str(i) for i in range(number)]
    part = np.full(number, UNSPLIT)
    labels = np.zeros_like(part)
    found = by_hash(part, labels, ["a"], unit_hash(names, ""), {TEST: test, VAL: val})
    assert set(found.tolist()) == set(PLACES)


# -- files of arrays -----------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def write_fashion(folder: Path, train: int = 60, test: int = 30) -> Path:
    draws = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    names = iter(arrays.FASHION_SHA256)
    for number in (train, test):
        write_idx(folder / next(names), draws.integers(0, 256, (number, 28, 28)))
        write_idx(folder / next(names), np.arange(number) % 10)
    return folder


def test_fashion_mnist_from_a_folder(tmp_path: Path) -> None:
    data = load_data("fashion_mnist", root=str(write_fashion(tmp_path)), val=20)
    assert [len(s) for s in (data.train, data.val, data.test)] == [40, 20, 30]
    assert torch.bincount(data.val.labels).tolist() == [2] * 10
    check_apart(data)


def test_fashion_mnist_files_missing_damaged_or_unequal(tmp_path: Path) -> None:
    refused("does not exist", name="fashion_mnist", root=str(tmp_path / "no"))
    images, labels, test_images, _ = (tmp_path / n for n in arrays.FASHION_SHA256)
    write_fashion(tmp_path)
    refused("is a file", name="fashion_mnist", root=str(images))
    whole = labels.read_bytes()
    write_idx(labels, np.zeros(59))
    refused("other numbers", name="fashion_mnist", root=str(tmp_path), val=20)
    labels.write_bytes(whole[:-20])
    refused("train-labels.*damaged", name="fashion_mnist", root=str(tmp_path), val=20)
    labels.write_bytes(gzip.compress(b"not an IDX file"))
    refused("train-labels.*damaged", name="fashion_mnist", root=str(tmp_path), val=20)
    labels.write_bytes(whole)
    test_images.unlink()
    refused("t10k-images.* is not in", name="fashion_mnist", root=str(tmp_path), val=20)


def test_fashion_mnist_is_downloaded_checked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    source = write_fashion(tmp_path / "server")
    monkeypatch.setattr(arrays, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(arrays, "FASHION_URL", source.as_uri() + "/")
    refused("sent a file with sha256", name="fashion_mnist", val=20)
    assert not [p for p in own_cache.rglob("*") if p.is_file()]  # nothing half done stays
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in source.iterdir()}
    right = {name: sums[name] for name in arrays.FASHION_SHA256}
    monkeypatch.setattr(arrays, "FASHION_SHA256", right)
    first = load_data("fashion_mnist", val=20)
    monkeypatch.setattr(arrays, "FASHION_URL", "http://127.0.0.1:9/")
    assert load_data("fashion_mnist", val=20).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("name", "file"),
    [("fashion_mnist", "train-images-idx3-ubyte.gz"), ("cifar10", "cifar-10-python.tar.gz")],
)
def test_offline_says_what_to_bring(name: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "DEBIAN", Path("/nonexistent"))
    monkeypatch.setattr(arrays, "FASHION_URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(arrays, "CIFAR_URL", "http://127.0.0.1:9/" + file)
    message = refused("cannot download", name=name)
    assert f"bring {file} yourself and set data.root" in message


def test_a_download_that_breaks_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(io.BytesIO):
        headers = {"Content-Length": "100"}  # noqa: RUF012

        def read(self, size: int | None = -1) -> bytes:
            if not (block := super().read(10)):
                raise ConnectionResetError("gone")
            return block

    monkeypatch.setattr("nas.core.download.urlopen", lambda url, timeout: Breaking(b"x" * 50))
    with pytest.raises(UserError, match="gone"):
        download("http://example.org/f.gz", tmp_path / "f.gz", "0")
    assert list(tmp_path.iterdir()) == []


def py2_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """A pickle as Python 2 wrote CIFAR-10's: {"data": uint8 (n, 3072), "labels": [...]}."""

    def word(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    raw = images.tobytes()
    dtype = b"cnumpy\ndtype\n" + word(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + word(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + word(b"b")
    array += b"\x87R(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return b"\x80\x02}(" + word(b"data") + array + word(b"labels") + numbers + b"u."


def write_cifar(folder: Path) -> Path:
    inner = folder / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name in arrays.CIFAR_BATCHES:
        pixels = draws.integers(0, 256, (20, 3072), dtype=np.uint8)
        (inner / name).write_bytes(py2_batch(pixels, list(range(10)) * 2))
    return inner


def test_cifar10_batches_and_archive_are_the_same(tmp_path: Path) -> None:
    inner = write_cifar(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(inner, inner.name)
    roots = [tmp_path / "a", inner, tmp_path / "b"]
    loaded = [load_data("cifar10", root=str(root), val=30) for root in roots]
    assert len({data.fingerprint for data in loaded}) == 1
    data = loaded[0]
    assert [len(s) for s in (data.train, data.val, data.test)] == [70, 30, 20]
    assert data.test.images.shape == (20, 3, 32, 32)
    first = np.random.default_rng(0).integers(0, 256, (120, 3072), dtype=np.uint8)[100]
    assert contents(data.test)[0] == first.tobytes()
    check_apart(data)


def test_cifar10_missing_damaged_or_malicious(tmp_path: Path) -> None:
    refused("holds neither cifar-10-python.tar.gz", name="cifar10", root=str(tmp_path))
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"no archive")
    refused("cifar-10-python.tar.gz is damaged", name="cifar10", root=str(tmp_path))
    with tarfile.open(archive, "w:gz"):
        pass
    refused("cifar-10-python.tar.gz is damaged", name="cifar10", root=str(tmp_path))
    inner = write_cifar(tmp_path)
    (inner / "data_batch_2").write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    message = refused("data_batch_2 is damaged", name="cifar10", root=str(tmp_path))
    assert "os.system" in message
    (inner / "data_batch_2").unlink()
    refused("data_batch_2 is not in", name="cifar10", root=str(tmp_path))


def write_jpegs(path: Path, number: int) -> None:
    files = []
    for index in range(number):
        buffer = io.BytesIO()
        colour = (index % 10 * 25, index // 10 * 8, 99)
        Image.new("RGB", (32, 32), colour).save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, files)])
    labels = (np.arange(number) % 10).astype(np.uint8)
    np.savez(path, blob=np.frombuffer(b"".join(files), np.uint8), offsets=offsets, labels=labels)


def test_cifar10_jpegs(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "cifar10_train_jpeg.npz", 100)
    write_jpegs(tmp_path / "cifar10_test_jpeg.npz", 20)
    data = load_data("cifar10", root=str(tmp_path), val=20, test=10)
    assert [len(s) for s in (data.train, data.val, data.test)] == [80, 20, 10]
    red = data.train.images[:, 0].float().mean((1, 2))
    assert (red - data.train.labels * 25).abs().max() < 4
    path = tmp_path / "cifar10_test_jpeg.npz"
    path.write_bytes(path.read_bytes()[:500])
    refused("cifar10_test_jpeg.npz is damaged", name="cifar10", root=str(tmp_path))


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared, which is not here")
def test_cifar10_real_images_are_balanced_and_in_colour() -> None:
    data = load_data("cifar10", root=str(SHARED), train=200, val=100, test=100, resolution=64)
    assert data.train.images.shape == (200, 3, 64, 64)
    assert torch.bincount(data.train.labels).tolist() == [20] * 10
    assert data.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.03)  # CIFAR-10's known means
    check_apart(data)


# -- a folder of pictures ------------------------------------------------------------------------


def noise(index: int, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (side, side, channels), dtype=np.uint8)


def write_folder(top: Path, numbers: dict[str, int], start: int = 0) -> Path:
    for name, number in numbers.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        for _ in range(number):
            Image.fromarray(noise(start)).save(top / name / f"{start}.png")
            start += 1
    return top


def test_folder_splits_each_class_and_keeps_small_squares(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 40, "dog": 20, "eel": 3})
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / "._7.png").write_text("macOS leaves these")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "empty").mkdir()
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
    for share in (0.0, -0.1, 0.9):
        refused("shares lie between", name="folder", root=str(tmp_path), val_share=share)


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


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=30), st.integers(0, 99))
def test_groups_are_whole_or_refused(images: list[tuple[int, int]], seed: int) -> None:
    labels, groups = np.array(images).T
    part, classes = np.full(len(labels), UNSPLIT), ["a", "b", "c"]
    place = unit_hash([str(g) for g in groups], str(seed))
    try:
        dealt = by_hash(part, labels, classes, place, {TEST: 0.15, VAL: 0.15})
        found = regroup(dealt, part, labels, classes, place)
    except UserError:
        return  # too few groups
    assert all(len(set(found[groups == g])) == 1 for g in groups)
    for label in set(labels):
        assert set(found[labels == label]) == set(PLACES)


def test_groups_that_rob_a_class_of_a_split_are_refused() -> None:
    labels, place = np.array([0, 0, 0, 1, 1, 1]), np.array([0.4, 0.6, 0.8, 0.8, 0.85, 0.9])
    part = np.full(6, UNSPLIT)  # in class b the group at 0.8 is the first, in class a the last
    dealt = by_hash(part, labels, ["a", "b"], place, {TEST: 0.15, VAL: 0.15})
    with pytest.raises(UserError, match="class 'a' has no group of images left for train"):
        regroup(dealt, part, labels, ["a", "b"], place)


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
    refused("no image of class 'cat' is left in train", name="folder", root=str(tmp_path))


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
    assert len(files) > 1


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
    assert not list((tmp_path / "cache" / "pictures").iterdir())


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


# -- one picture ---------------------------------------------------------------------------------


def decoded(image: Image.Image, side: int, kind: str = "PNG", **more: object) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return decode(io.BytesIO(buffer.getvalue()), side)


def test_decode_takes_the_centre_square() -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200
    assert (decoded(Image.fromarray(wide), 40) == 200).all()
    assert (decoded(Image.fromarray(wide.transpose(1, 0, 2)), 40) == 200).all()
    assert decoded(Image.fromarray(wide), 20)[:, 3:-3, 3:-3].min() == 200


def test_decode_antialiases() -> None:
    chess = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = decoded(Image.fromarray(chess), 16)
    assert abs(small.astype(int) - 127).max() < 20


def test_decode_turns_pictures_upright() -> None:
    image = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    turned = decoded(image, 16, exif=exif)
    assert (np.diff(turned[0, :, 0].astype(int)) > 0).all()
    assert (np.diff(turned[0, 0].astype(int)) == 0).all()


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("L", (9, 9), 70), "PNG", (70, 70, 70)),
        (Image.new("1", (9, 9), 1), "PNG", (255, 255, 255)),
        (Image.new("P", (9, 9), 0), "GIF", (0, 0, 0)),
        (Image.new("LA", (9, 9), (10, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 255)), "PNG", (10, 20, 30)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (Image.fromarray(np.full((9, 9), 0x8034, np.uint16)), "PNG", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 0x8034, np.int32)), "TIFF", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF", (128, 128, 128)),
        (Image.fromarray(np.full((9, 9), 90, np.float32)), "TIFF", (90, 90, 90)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_decode_makes_rgb_of_every_kind(
    image: Image.Image, kind: str, expected: tuple[int, ...]
) -> None:
    assert decoded(image, 9, kind)[:, 4, 4].tolist() == list(expected)


def test_decode_of_palette_with_transparency() -> None:
    image = Image.new("P", (9, 9), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    seen = decoded(image, 9, transparency=b"\x00\xff")
    assert seen[:, 0, 0].tolist() == [9, 8, 7]
    assert decoded(image, 9, transparency=1)[:, 0, 0].tolist() == [255, 255, 255]


def test_folder_pictures_of_many_sizes_become_224(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index, size in enumerate([(300, 200), (50, 80), (224, 224), (9, 400)]):
            red = 20 * index + 100 * (name == "dog")
            Image.new("RGB", size, (red, 5, 9)).save(tmp_path / name / f"{index}.JPG")
    data = load_data("folder", root=str(tmp_path))
    assert data.resolution == 224
    assert load_data("folder", root=str(tmp_path), resolution=32).resolution == 32


# -- the hub's format ----------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "colour": datasets.Value("string"),
        }
    )
    rows = {
        "picture": [Image.fromarray(noise(i)) for i in range(40)],
        "kind": [0, 1] * 20,
        "colour": ["red", "green", "red", "blue"] * 10,
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    halves = {"train": table.select(range(30)), "validation": table.select(range(30, 40))}
    datasets.DatasetDict(halves).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


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


def test_hub_refuses_in_one_line(saved: Path, tmp_path: Path) -> None:
    refused("data.path is missing", name="hub", path=None)
    refused("did you mean kind", name="hub", path=str(saved), label_column="kinds")
    refused("cannot load the data set", name="hub", path=str(tmp_path / "none"))
    refused("cannot load the data set", name="hub", path="nobody/nothing")


def test_hub_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refused("needs the package datasets", name="hub", path="a/b")
    assert message.endswith("pip install -e '.[hub]'")
    assert "pip install -e '.[hub]'" in (ROOT / "conf" / "data" / "hub.yaml").read_text()


# -- batches -------------------------------------------------------------------------------------


def squares(number: int, side: int, channels: int = 3) -> Split:
    images = torch.randint(0, 256, (number, channels, side, side), dtype=torch.uint8)
    return Split(images, torch.arange(number))


def test_batches_are_normalised_and_in_order(clothes: ImageData) -> None:
    batches = Batches(clothes.val, clothes.mean, clothes.std, batch_size=300)
    got = list(batches.epoch(0))
    assert len(got) == len(batches) == 7
    assert [len(y) for _, y in got] == [300] * 6 + [200]
    x, y = torch.cat([x for x, _ in got]), torch.cat([y for _, y in got])
    assert torch.equal(y, clothes.val.labels)
    expected = (clothes.val.images / 255 - clothes.mean[0]) / clothes.std[0]
    torch.testing.assert_close(x, expected)


@given(st.integers(1, 40), st.integers(1, 50), st.booleans())
def test_batches_leave_out_only_a_partial_shuffled_one(
    number: int, size: int, shuffle: bool
) -> None:
    batches = Batches(squares(number, 2), (0.5,) * 3, (0.2,) * 3, batch_size=size, shuffle=shuffle)
    sizes = [len(y) for _, y in batches.epoch(1)]
    assert len(sizes) == len(batches)
    if shuffle and number >= size:
        assert sizes == [size] * (number // size)
    else:
        assert sum(sizes) == number
    labels = torch.cat([y for _, y in batches.epoch(1)])
    assert len(labels.unique()) == len(labels)


@pytest.mark.parametrize("side", [16, 64])
def test_epochs_depend_on_seed_and_number_only(side: int) -> None:
    split = squares(20, side)

    def epoch(seed: int, number: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 1000)  # the global state has no say
        batches = Batches(
            split, (0.5,) * 3, (0.2,) * 3, batch_size=8, seed=seed, shuffle=True, augment=True
        )
        return torch.cat([x for x, _ in batches.epoch(number)])

    assert torch.equal(epoch(3, 5), epoch(3, 5))
    assert not torch.equal(epoch(3, 5), epoch(3, 6))
    assert not torch.equal(epoch(3, 5), epoch(4, 5))


def test_shifted_images_are_shifts_and_mirrors_of_the_image() -> None:
    images = squares(200, 16).images
    seen = set()
    moved = augment.shift(images, augment.generator(0, 0), flip=True)
    for before, after in zip(images, moved, strict=True):
        options = {}
        for dy in range(5):
            for dx in range(5):
                padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
                crop = padded[:, dy : dy + 16, dx : dx + 16]
                options[crop.numpy().tobytes()] = (dy, dx, 0)
                options[crop.flip(-1).contiguous().numpy().tobytes()] = (dy, dx, 1)
        seen.add(options[after.contiguous().numpy().tobytes()])
    assert len(seen) > 40  # of 50
    straight = augment.shift(images, augment.generator(0, 0), flip=False)
    assert not torch.equal(straight, moved)


def test_enlarged_parts_lie_inside_and_cover_what_they_should() -> None:
    ramp = torch.linspace(-1, 1, 96)
    image = torch.stack([ramp.expand(96, 96), ramp[:, None].expand(96, 96)])  # x and y
    parts = augment.enlarge(image.expand(500, 2, 96, 96), augment.generator(0, 1), flip=True)
    width = (parts[:, 0, 0, -1] - parts[:, 0, 0, 0]) / 2  # signed by the mirror
    height = (parts[:, 1, -1, 0] - parts[:, 1, 0, 0]) / 2
    area = width.abs() * height
    assert (height > 0).all()
    assert 0.33 < area.min() < 0.45 < 0.85 < area.max() <= 1.001
    assert 200 < (width < 0).sum() < 300
    ratio = width.abs() / height
    assert 0.72 < ratio.min() < 0.85 < 1.18 < ratio.max() < 1.37
    straight = augment.enlarge(image.expand(50, 2, 96, 96), augment.generator(0, 1), flip=False)
    assert (straight[:, 0, 0, -1] > straight[:, 0, 0, 0]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_sees_the_same_images(resident: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    split = squares(40, 32)
    knobs = {"batch_size": 16, "augment": True, "shuffle": True}
    near = Batches(split, (0.5,) * 3, (0.2,) * 3, **knobs)  # type: ignore[arg-type]
    monkeypatch.setattr(augment, "fits_on", lambda images, device: resident)
    far = Batches(split, (0.5,) * 3, (0.2,) * 3, device="cuda", **knobs)  # type: ignore[arg-type]
    for (x, y), (far_x, far_y) in zip(near.epoch(0), far.epoch(0), strict=True):
        assert far_x.is_cuda
        torch.testing.assert_close(far_x.cpu(), x)
        assert torch.equal(far_y.cpu(), y)


# -- configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedded", "fashion_mnist", "cifar10", "folder", "hub"])
def test_configs_name_every_knob_and_load(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = ROOT / "conf" / "data" / f"{name}.yaml"
    config = OmegaConf.load(path)
    lines = path.read_text().splitlines()
    assert all("#" in line for line in lines if not re.match(r"_target_|name:", line))
    small = {"train": 20, "val": 10, "test": 10}
    match name:
        case "fashion_mnist":
            more = {"root": str(write_fashion(tmp_path))} | small
        case "cifar10":
            write_cifar(tmp_path)
            more = {"root": str(tmp_path)} | small
        case "folder":
            more = {"root": str(write_folder(tmp_path, {"a": 9, "b": 9}))}
        case "hub":
            more = {"path": str(request.getfixturevalue("saved"))}
        case _:
            more = small
    data = instantiate(OmegaConf.merge(config, more))
    assert data.name == name
    assert data.num_classes > 1
    check_apart(data)
