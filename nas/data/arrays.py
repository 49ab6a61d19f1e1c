"""Data sets that come as files of arrays: the embedded one, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import gzip
import lzma
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch.nn.functional import interpolate

from nas.core.download import cache_dir, download, existing_folder
from nas.core.errors import UserError
from nas.data.decoding import Bytes, decode
from nas.data.pictures import Pictures, require_memory
from nas.data.splits import TEST, TRAIN, VAL, Ints, Source, check_count, stratified_choice

EMBEDDED = Path(__file__).parent / "embedded" / "fashion_mnist_subset.npz"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)  # in the order of github.com/zalandoresearch/fashion-mnist, README
FASHION_SHA256 = {  # of the official files, whose md5 sums that README gives
    f"{name}-ubyte.gz": sha256
    for name, sha256 in (
        ("train-images-idx3", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )
}
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)  # in the order of its batches.meta
CIFAR_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ARCHIVE_ERRORS = (zlib.error, lzma.LZMAError, BadZipFile, tarfile.TarError, pickle.UnpicklingError)
GROUP = 1000  # images resized at a time
Read = Callable[[Ints], Bytes]  # indices -> uint8 (n, C, H, W)


def embedded(val: int | None, seed: int) -> Source:
    """10,000 training, 2,000 search and 5,000 test images of Fashion-MNIST, from the package."""
    with _reading(EMBEDDED), EMBEDDED.open("rb") as opened, np.load(opened) as file:
        arrays = {name: file[name] for name in file.files}
        images = np.concatenate([arrays["train_images"], arrays["test_images"]])[:, None]
        halves = (arrays["train_labels"], arrays["test_labels"])
    return _source(FASHION_CLASSES, images.__getitem__, halves, val, seed, default_val=2_000)


def fashion_mnist(root: str | Path | None, val: int | None, seed: int) -> Source:
    """Fashion-MNIST, 60,000 + 10,000 grey images 28x28, from its four IDX files in `root`.

    Where that is None they are in Debian's folder, or downloaded to the cache.
    """
    if root is not None or all((DEBIAN / name).exists() for name in FASHION_SHA256):
        folder = existing_folder(root or DEBIAN)
    else:
        folder = cache_dir() / "fashion_mnist"
        for name, sha256 in FASHION_SHA256.items():
            download(FASHION_URL + name, folder / name, sha256)
    train, train_labels, test, test_labels = (read_idx(folder / name) for name in FASHION_SHA256)
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise UserError(f"{folder} holds other numbers of images than of labels: bring it again")
    images = np.concatenate([train, test])[:, None]
    halves = (train_labels, test_labels)
    return _source(FASHION_CLASSES, images.__getitem__, halves, val, seed)


def cifar10(root: str | Path | None, val: int | None, seed: int) -> Source:
    """CIFAR-10, 50,000 + 10,000 colour images 32x32.

    `root` holds cifar-10-python.tar.gz, or its unpacked batches, or cifar10_train_jpeg.npz and
    cifar10_test_jpeg.npz (`blob` of JPEG bytes, `offsets` (n + 1,), `labels` (n,)); where it is
    None the archive is downloaded.
    """
    archive = "cifar-10-python.tar.gz"
    if root is None:
        folder = download(CIFAR_URL, cache_dir() / "cifar10" / archive, CIFAR_SHA256).parent
    else:
        folder = existing_folder(root)
    jpegs = [folder / f"cifar10_{half}_jpeg.npz" for half in ("train", "test")]
    if all(path.exists() for path in jpegs):
        read, halves = _jpegs(jpegs)
    else:
        read, halves = _read_batches(folder, folder / archive)
    return _source(CIFAR_CLASSES, read, halves, val, seed)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which file is missing or damaged, in one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path.name} is not in {path.parent}: bring it there") from error
    except (OSError, EOFError, KeyError, ValueError, *ARCHIVE_ERRORS) as error:
        reason = " ".join(str(error).split())  # one line
        raise UserError(f"{path} is damaged ({reason}): remove it, then bring it again") from error


def _source(
    classes: tuple[str, ...],
    read: Read,
    halves: tuple[Any, Any],
    val: int | None,
    seed: int,
    default_val: int = 5_000,
) -> Source:
    """A source of the images that `read` gives for indices into training + test half.

    `val` search images, by default `default_val`, leave training.
    """
    train, test = (half.astype(np.int64) for half in halves)
    part = np.repeat([TRAIN, TEST], [len(train), len(test)])
    order = np.random.default_rng(seed).random(len(part))
    number = check_count("val", default_val if val is None else val, len(train) - 1)
    part[stratified_choice(train, number, order[: len(train)])] = VAL
    return Source(classes, np.concatenate([train, test]), part, order, partial(_pixels, read))


def _pixels(read: Read, indices: Ints, resolution: int | None) -> Pictures:
    """Those images, resized (bicubic, antialiased) where their side is another."""
    images = read(indices)
    if resolution is None or images.shape[2:] == (resolution, resolution):
        return Pictures(images)
    shape = (*images.shape[:2], resolution, resolution)
    require_memory(shape)
    resized = np.empty(shape, np.uint8)
    for start in range(0, len(images), GROUP):
        group = torch.from_numpy(images[start : start + GROUP])
        group = interpolate(group, size=shape[2:], mode="bicubic", antialias=True)
        resized[start : start + GROUP] = group.numpy()
    return Pictures(resized)


def read_idx(path: Path) -> Bytes:
    """An IDX file of bytes, gzipped: magic 0x08 and rank, each size as >i4, then the values."""
    with _reading(path):
        raw = gzip.decompress(path.read_bytes())
        if len(raw) < 4 or raw[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of bytes")
        shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def _jpegs(paths: list[Path]) -> tuple[Read, tuple[Any, Any]]:
    """What reads JPEG images from two .npz files, in threads, and their labels."""
    files: list[bytes] = []
    labels = []
    for path in paths:
        with _reading(path), path.open("rb") as opened, np.load(opened) as file:
            blob, offsets = file["blob"].tobytes(), file["offsets"].tolist()
            files += [blob[a:b] for a, b in pairwise(offsets)]
            labels.append(file["labels"])
            if len(offsets) != len(labels[-1]) + 1:
                raise ValueError("other numbers of images than of labels")

    def read(indices: Ints) -> Bytes:
        with _reading(paths[0]), ThreadPoolExecutor() as pool:
            return np.stack(list(pool.map(lambda i: decode(BytesIO(files[i]), 32), indices)))

    return read, (labels[0], labels[1])


class _PlainArrays(pickle.Unpickler):
    """Reads pickled arrays and refuses everything else that a pickle could run."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case ("numpy", "ndarray"):
                return np.ndarray
            case ("numpy", "dtype"):
                return np.dtype
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return np.ndarray.__reduce__(np.empty(0))[0]
            case ("_codecs", "encode"):
                return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")


def _read_batches(folder: Path, archive: Path) -> tuple[Read, tuple[Any, Any]]:
    """CIFAR-10 from its unpacked batches in `folder` (or one below) or from its `archive`."""
    inner = "cifar-10-batches-py"
    unpacked = next((f for f in (folder, folder / inner) if (f / "test_batch").exists()), None)
    if unpacked is not None:
        paths = [unpacked / name for name in CIFAR_BATCHES]
        batches = [_batch(path, partial(path.open, "rb")) for path in paths]
    elif archive.exists():
        with _reading(archive), tarfile.open(archive) as tar:
            names = [f"{inner}/{name}" for name in CIFAR_BATCHES]
            batches = [_batch(archive, partial(tar.extractfile, name)) for name in names]
    else:
        raise UserError(
            f"data.root={folder} holds neither {archive.name} nor its unpacked {inner} nor "
            "cifar10_train_jpeg.npz and cifar10_test_jpeg.npz: bring one of them there"
        )
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images).__getitem__, (np.concatenate(labels[:-1]), labels[-1])


def _batch(path: Path, opened: Callable[[], Any]) -> tuple[Bytes, Any]:
    """One pickled batch: uint8 (n, 3, 32, 32) and labels (n,)."""
    with _reading(path), opened() as file:
        batch = _PlainArrays(file, encoding="bytes").load()
        return batch[b"data"].reshape(-1, 3, 32, 32), np.array(batch[b"labels"])
