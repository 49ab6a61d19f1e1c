"""How many images a second training takes, setting by setting.

    python benchmarks/training_speed.py        writes results/benchmarks/training_speed.json

Every setting runs in processes of its own, the settings take turns, and the table shows medians
over the rounds; "vs plain" is the median over networks and rounds of the ratio within a round.
Two processes are the sum of both, run side by side with one thread each.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.scaling import for_resolution
from nas.core.files import write_text
from nas.core.run_folder import environment
from nas.network.device import autocast, tune_malloc
from nas.network.modules import build
from nas.network.quick import quick_gradients
from nas.space.choices import fill, random_picks
from nas.training.loop import Budget, train
from search_spaces.mbconv import mbconv

SECONDS = 2.0  # of measuring per network, setting and round
WARM_UP = 8  # steps: memory is fresh and oneDNN builds its kernels
RESULT = Path(__file__).parents[1] / "results" / "benchmarks" / "training_speed.json"


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    precision: torch.dtype = torch.float32
    channels_last: bool = True
    keep: bool = True  # freed memory
    quick: bool = True  # gradients of depthwise layers and poolings
    fused: bool = False  # optimizer
    flush: bool = False  # denormal numbers
    batch: int = 64
    threads: int = 1
    processes: int = 1
    ours: bool = False  # nas.training.loop.train as it is


BF16 = Setting(torch.bfloat16)
OURS = Setting(ours=True)
SETTINGS = {
    "plain": Setting(channels_last=False, keep=False, quick=False),
    "channels last": Setting(keep=False, quick=False),
    "+ freed memory kept": Setting(quick=False),
    "+ quick gradients": Setting(),
    "bf16, torch's gradients": replace(BF16, quick=False),
    "bf16 + quick gradients": BF16,
    "bf16 + fused SGD": replace(BF16, fused=True),
    "bf16 + flush denormals": replace(BF16, flush=True),
    "bf16, batch 128": replace(BF16, batch=128),
    "bf16, batch 256": replace(BF16, batch=256),
    "nas.training.loop": OURS,
    "nas.training.loop, 2 threads": replace(OURS, threads=2),
    "nas.training.loop, 2 processes": replace(OURS, processes=2),
}


def networks() -> dict[str, Arch]:
    """Five networks of the default space for 28x28 grey images, from small to large, and one k3."""
    wide = {"width": 0.35, "channels": 1, "classes": 10}
    space = for_resolution(mbconv(**wide), 28)  # type: ignore[arg-type]
    rng = random.Random(0)
    drawn = sorted((fill(space, random_picks(space, rng)) for _ in range(100)), key=macs)
    archs = [drawn[i] for i in (0, 25, 50, 75, 99)]
    small = for_resolution(mbconv(kernels=[3], se=[0], acts=["relu"], **wide), 28)  # type: ignore[arg-type]
    archs.append(fill(small, random_picks(small, rng)))
    names = ["smallest", "quarter", "median", "three quarters", "largest", "3x3, no SE"]
    return dict(zip(names, archs, strict=True))


def macs(arch: Arch) -> int:
    """Multiply-accumulates of one image."""
    return cost(arch).macs


def images_per_second(arch: Arch, setting: Setting) -> float:
    """Training speed of `arch`, once warm."""
    net = build(arch, seed=0)
    order = torch.channels_last if setting.channels_last else torch.contiguous_format
    images = torch.randn(setting.batch, 1, 28, 28).contiguous(memory_format=order)
    labels = torch.randint(0, 10, (setting.batch,))
    if setting.ours:
        return _by_train(net, images, labels)
    net.to(memory_format=order)  # type: ignore[call-overload]
    sgd = torch.optim.SGD(
        net.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=setting.fused
    )
    with quick_gradients(net) if setting.quick else nullcontext():
        steps, start = -WARM_UP, 0.0
        while steps < 1 or time.perf_counter() - start < SECONDS:
            if steps == 0:
                start = time.perf_counter()
            with autocast(torch.device("cpu"), setting.precision):
                loss = F.cross_entropy(net(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            sgd.step()
            sgd.zero_grad()
            steps += 1
    return steps * setting.batch / (time.perf_counter() - start)


class _Same:
    """The same batch for as long as the time lasts; the first epoch warms up."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels, self.steps, self.seconds = images, labels, 0, 0.0

    def __len__(self) -> int:
        return 1000  # the learning rate's schedule asks

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """WARM_UP batches, then as many as the time allows."""
        if number == 0:
            yield from [(self.images, self.labels)] * WARM_UP
            return
        start = time.perf_counter()
        while self.seconds < SECONDS:
            yield self.images, self.labels
            self.steps, self.seconds = self.steps + 1, time.perf_counter() - start


def _by_train(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    batches = _Same(images, labels)
    train(net, batches, Budget(epochs=2, lr=0.01), device=torch.device("cpu"))
    return batches.steps * len(labels) / batches.seconds


def work(name: str) -> None:
    """In a process of its own: print the speed of every network as JSON."""
    setting = SETTINGS[name]
    torch.set_num_threads(setting.threads)
    torch.set_flush_denormal(setting.flush)
    if setting.keep:
        tune_malloc()
    print(json.dumps({n: images_per_second(a, setting) for n, a in networks().items()}))


def measure(name: str) -> dict[str, float]:
    """Images a second of each network, summed over the setting's processes."""
    command = [sys.executable, __file__, "--work", name]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(SETTINGS[name].processes)
    ]
    speeds = [json.loads(process.communicate()[0]) for process in started]
    return {network: sum(speed[network] for speed in speeds) for network in speeds[0]}


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    rounds = [{name: measure(name) for name in SETTINGS} for _ in range(options.rounds)]
    archs = networks()
    head = "".join(f"{name:>15}" for name in archs)
    print(f"{'images/s':26}{head}{'vs plain':>10}")
    print(f"{'million MACs':26}" + "".join(f"{macs(a) / 1e6:15.2f}" for a in archs.values()))
    rows = {}
    for name in SETTINGS:
        speeds = {n: statistics.median(r[name][n] for r in rounds) for n in archs}
        ratio = statistics.median(r[name][n] / r["plain"][n] for r in rounds for n in archs)
        rows[name] = {"images_per_second": speeds, "vs_plain": ratio}
        print(f"{name:26}" + "".join(f"{v:15.0f}" for v in speeds.values()) + f"{ratio:10.2f}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    result = {"macs": {n: macs(a) for n, a in archs.items()}, "settings": rows}
    result |= {"rounds": options.rounds, "environment": environment(seed=0)}
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
