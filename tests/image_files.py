"""Data sets written to files, and what is asked of every one that is read."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.core.errors import UserError
from nas.data import arrays
from nas.data.dataset import ImageData, Split, load_data


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


def noise(index: int, side: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (side, side, channels), dtype=np.uint8)


def write_folder(top: Path, numbers: dict[str, int], start: int = 0) -> Path:
    for name, number in numbers.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        for _ in range(number):
            Image.fromarray(noise(start)).save(top / name / f"{start}.png")
            start += 1
    return top


def squares(number: int, side: int, channels: int = 3) -> Split:
    images = torch.randint(0, 256, (number, channels, side, side), dtype=torch.uint8)
    return Split(images, torch.arange(number))


def write_hub(top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
    datasets.DatasetDict(halves).save_to_disk(top / "saved")
    return top / "saved"
