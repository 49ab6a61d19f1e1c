"""Trainings of several networks, all alike, kept so that none is made twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.accuracy.estimate import Failure
from nas.accuracy.pool import Pool, part_done
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.config import Component
from nas.core.journal import KeyedJournal
from nas.core.progress import ProgressBar
from nas.data.batches import batches_for
from nas.data.dataset import ImageData
from nas.data.splits import Split, stratified_choice
from nas.network.device import resolve_device
from nas.network.modules import build
from nas.training.evaluation import evaluate, image_losses, scored
from nas.training.loop import Budget, train

Job = tuple[Arch, int]  # network and seed
Row = dict[str, Any]


def with_fewer_images(data: ImageData, number: int | None) -> ImageData:
    """`data` with at most `number` training images, as even over the classes as they allow."""
    labels = data.train.labels.numpy()
    if number is None or number >= len(labels):
        return data
    order = np.random.default_rng(0).random(len(labels))
    kept = stratified_choice(labels, number, order)
    return replace(data, train=Split(data.train.images[kept], data.train.labels[kept]))


def load_fewer(data: Component, number: int | None) -> ImageData:
    """The data that a component makes, with at most `number` training images."""
    return with_fewer_images(data.make(), number)


@dataclass(frozen=True)
class PairedTraining:
    """Train a network from a seed, and tell of each test image whether the answer is right.

    With `val` the row has `val_accuracy` too, by which one may choose.
    """

    data: ImageData
    budget: Budget
    device: str
    val: bool = False

    @classmethod
    def open(cls, load: Any, budget: Budget, device: str, val: bool = False) -> PairedTraining:
        """For processes that load their own data."""
        return cls(load(), budget, device, val)

    def __call__(self, arch: Arch, seed: int) -> Row:
        """The row of one training: scores, and `right` as packed bits in hexadecimal digits."""
        device, budget = resolve_device(self.device), self.budget
        batches = partial(batches_for, self.data, side=arch.resolution, device=device, seed=seed)
        loader = batches("train", batch_size=budget.batch_size, augment=budget.augment)
        net = build(arch, seed=seed)
        history = train(net, loader, budget, device=device, seed=seed, progress=part_done)
        losses, correct = image_losses(net, batches("test"), device=device)
        score = scored(losses, correct)
        right = np.packbits(correct.numpy()).tobytes().hex()
        row = {**asdict(score), "seconds": history.seconds, "right": right}
        if self.val:
            row["val_accuracy"] = evaluate(net, batches("val"), device=device).accuracy
        return row


def right_answers(row: Mapping[str, Any]) -> NDArray[np.float64]:
    """1 for each test image (N,) that the training of `row` came to answer rightly, else 0."""
    bits = np.frombuffer(bytes.fromhex(row["right"]), np.uint8)
    return np.unpackbits(bits, count=row["num_images"]).astype(float)


def _key_of(entry: Mapping[str, Any]) -> str:
    right_answers(entry)  # raises where the entry is damaged
    return str(entry["key"])


def train_all(
    pool: Pool, jobs: Sequence[Job], path: Path, salt: str, bar: ProgressBar
) -> Iterator[Row]:
    """The row of each job, in order; those that the file at `path` knows are not trained again.

    `salt` stands for the data and how networks are trained; `bar` counts trainings.  The row of a
    training that failed holds the `reason` alone, and the next call tries it again.
    """
    journal, failed = KeyedJournal(path, _key_of), dict[str, Row]()
    keys = [f"{network_id(arch)} {seed} {salt}" for arch, seed in jobs]
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in journal}
    done = len(set(keys)) - len(missing)
    bar.start(len(set(keys)), done)
    with pool.watched(lambda parts: bar.set_partial(sum(parts.values()))):
        for i, answer in pool.run(list(missing.values())):
            key = list(missing)[i]
            if isinstance(answer, Failure):
                failed[key] = asdict(answer)
            else:
                journal.add({"key": key, **answer})
            done += 1
            bar(done, "trainings")
    return (failed.get(key) or journal[key] for key in keys)
