"""What a kind of file is: how it is written, and how its runtime opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.arch.arch import Arch
from nas.network.activation_ranges import Ranges
from nas.network.modules import Network

Image = NDArray[np.float32]  # (1, C, side, side), normalised as in training
Logits = NDArray[np.float32]  # (classes,)


@dataclass(frozen=True)
class Source:
    """A trained network and what its files say of it.

    facts   texts of the metadata by name: classes, mean, std, range, ... (`nas.network.export`).
    ranges  of activations on training images, for 8 bits.
    images  the training images that they are from, normalised, (N, C, side, side).
    free_batch   whether ONNX models take any number of images in a call, or one.
    preprocess   whether ONNX models take bytes.
    """

    arch: Arch
    net: Network
    facts: Mapping[str, str]
    ranges: Ranges
    images: Image
    free_batch: bool = False
    preprocess: bool = False


@dataclass(frozen=True)
class Opened:
    """A file in its runtime: `run(prepare(image))` are the logits of an image, or what a file for
    boxes or masks answers.

    Only `run` is timed; `prepare` brings an image into the layout and type that the file takes.
    """

    prepare: Callable[[Image], Any]
    run: Callable[[Any], Logits]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    suffixes    of its files, the one that is opened first.
    precision   of weights and activations: float32 or int8.
    package     which must be there, as it is imported; install: what pip installs it by.
    write       the content of each file.
    open        a file in its runtime, with so many threads (0: as many as that likes).
    """

    name: str
    suffixes: tuple[str, ...]
    precision: str
    package: str
    install: str
    write: Callable[[Source], tuple[bytes, ...]]
    open: Callable[[Path, Source, int], Opened]
