"""Fashion-MNIST and CIFAR-10: every form of their files, downloads, and what is damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import (
    check_apart,
    contents,
    refused,
    write_cifar,
    write_fashion,
    write_idx,
    write_jpegs,
)

from nas.core.download import download
from nas.core.errors import UserError
from nas.data import arrays
from nas.data.dataset import load_data

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.usefixtures("own_cache")


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
