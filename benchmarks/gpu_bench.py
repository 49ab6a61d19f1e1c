"""What the sections of `benchmarks.gpu` share: results, images, networks."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nas.arch.arch import Arch
from nas.arch.scaling import for_resolution
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ImageData, load_data
from nas.space.choices import fill, random_picks
from search_spaces.mbconv import mbconv

QUICK = 96, 64, 32  # images of a rehearsal: training, validation, test


@dataclass
class Bench:
    """What is tried, where, and what came of it."""

    device: torch.device
    quick: bool
    folder: Path
    found: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        """Whether it is tried on a GPU, and not rehearsed."""
        return self.device.type == "cuda"

    def check(self, name: str, passed: bool, note: object = "") -> None:
        """Note and print one result."""
        self.found.append({"name": name, "passed": bool(passed), "note": str(note)})
        print(f"{'PASS' if passed else 'FAIL'}  {name}  {note}", flush=True)

    def say(self, name: str, note: object) -> None:
        """Note and print a figure that nothing is asked of."""
        self.found.append({"name": name, "note": str(note)})
        print(f"      {name}  {note}", flush=True)

    def data(self, train: int) -> ImageData:
        """Fashion-MNIST's images, which come along."""
        numbers = QUICK if self.quick else (train, 1000, 1000)
        return load_data("embedded", train=numbers[0], val=numbers[1], test=numbers[2])

    def space(self, width: float = 0.25) -> Arch:
        """The default space for grey images of 28 pixels; of a rehearsal narrower."""
        width *= 0.4 if self.quick else 1
        return for_resolution(mbconv(width=width, channels=1, classes=10, dropout=0.0), 28)

    def networks(self, number: int, width: float = 0.25, seed: int = 0) -> list[Arch]:
        """Random ones of that space."""
        rng, space = random.Random(seed), self.space(width)
        return [fill(space, random_picks(space, rng)) for _ in range(number)]

    def batches(self, data: ImageData, split: str, size: int | None = None) -> Resized:
        """Those of a split; of the training images augmented ones."""
        return batches_for(
            data, split, 28, device=self.device, batch_size=size, augment=split == "train"
        )

    def command(self, name: str, words: list[str]) -> None:
        """One of Python's, in a process of its own, which is to end within three minutes."""
        ran = partial(subprocess.run, [sys.executable, *words], capture_output=True, text=True)
        start = time.perf_counter()
        try:
            done = ran(timeout=180)
        except subprocess.TimeoutExpired:
            self.check(name, False, "took more than 180 s")
            return
        last = (done.stdout + done.stderr)[-500:] if done.returncode else ""
        self.check(name, done.returncode == 0, f"{time.perf_counter() - start:.0f} s {last}")

    def seconds(self, work: Callable[[], object]) -> float:
        """How long it takes, to its end on the device."""
        start = time.perf_counter()
        work()
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start
