"""Data sets: numbers, seeds and knobs, what is refused, and the embedded images."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from image_files import (
    check_apart,
    contents,
    refused,
    write_cifar,
    write_fashion,
    write_folder,
    write_hub,
)
from omegaconf import OmegaConf

from nas.data import arrays, pictures
from nas.data.dataset import ImageData, load_data

ROOT = Path(__file__).parents[2]
# of the arrays in the embedded file; benchmarks/make_embedded_data.py prints it
CONTENT = "577617fc31508e1fc6e59963ef8891f321162dd564dd6c3480c4a27d82e261a5"

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def clothes() -> ImageData:
    return load_data("embedded")


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
        r"data.resolution must be .* from 1 to 8192 or null, not 20000",
        name="embedded",
        resolution=20_000,
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


def test_too_few_images_to_judge_by() -> None:
    refused(r"none in val \(9 classes are so\): raise data\.val=, add some", name="embedded", val=1)


def test_unknown_names_and_knobs() -> None:
    refused("did you mean embedded", name="embeded")
    refused("did you mean val_share", name="folder", root=".", vall_share=0.1)
    refused("has no data.root", name="embedded", root=".")


@pytest.mark.parametrize("name", ["embedded", "fashion_mnist", "cifar10", "folder", "hub"])
def test_configs_name_every_knob_and_load(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            more = {"path": str(write_hub(tmp_path, monkeypatch))}
        case _:
            more = small
    data = instantiate(OmegaConf.merge(config, more))
    assert data.name == name
    assert data.num_classes > 1
    check_apart(data)
