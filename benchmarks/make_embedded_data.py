"""Make nas/data/embedded/fashion_mnist_subset.npz from the official files of Fashion-MNIST.

    python benchmarks/make_embedded_data.py [FOLDER of the four IDX files] [--out FILE]

1,200 images a class of the official training part and 500 a class of the official test part, in
shuffled order, chosen with SEED.  The same files give the same bytes (with the same zlib; the
arrays are the same with any).
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from nas.core.download import atomic_file
from nas.data.arrays import DEBIAN, EMBEDDED, FASHION_SHA256, read_idx
from nas.data.decoding import Bytes

SEED = 0
PER_CLASS = {"train": 1_200, "test": 500}


def subset(folder: Path) -> dict[str, Bytes]:
    """Images (N, 28, 28) and labels (N,) of both halves, as many of each class, shuffled."""
    train, train_labels, test, test_labels = (read_idx(folder / name) for name in FASHION_SHA256)
    halves = {"train": (train, train_labels), "test": (test, test_labels)}
    arrays = {}
    draws = np.random.default_rng(SEED)
    for half, (images, labels) in halves.items():
        of_class = [np.flatnonzero(labels == label) for label in range(10)]
        chosen = [draws.permutation(which)[: PER_CLASS[half]] for which in of_class]
        order = draws.permutation(np.concatenate(chosen))
        arrays[f"{half}_images"], arrays[f"{half}_labels"] = images[order], labels[order]
    return arrays


def main() -> None:
    """Write the file, and say what it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DEBIAN)
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    given = parser.parse_args()
    arrays = subset(given.folder)
    with atomic_file(given.out) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    content = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    print(f"{given.out}  {given.out.stat().st_size:,} bytes")
    print(f"file     sha256 {hashlib.sha256(given.out.read_bytes()).hexdigest()}")
    print(f"content  sha256 {content}")


if __name__ == "__main__":
    main()
