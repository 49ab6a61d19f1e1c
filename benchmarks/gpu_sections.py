"""The sections of `benchmarks.gpu`: each tries one path of a GPU, and stands alone."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, distributed, nn

from benchmarks.gpu_bench import Bench
from nas.accuracy.estimate import Failure
from nas.accuracy.scratch import Scratch
from nas.accuracy.worker_pool import WorkerPool
from nas.accuracy.zero_cost import PROXIES, ZeroCost, ZeroCostSettings
from nas.arch.arch import Arch
from nas.arch.operators import operators
from nas.data.batches import batches_for
from nas.data.dataset import ImageData
from nas.latency.backends import torch_eager
from nas.latency.backends.torch_eager import TorchEager
from nas.latency.timing import Repeated
from nas.network import device
from nas.network.device import isolated_rng
from nas.network.modules import build
from nas.supernet.scoring import subnet_losses
from nas.supernet.supernet import Supernet, extract, recalibrate
from nas.supernet.training import TRAINING, SupernetBudget, train_supernet
from nas.training import captured, loop
from nas.training.evaluation import TrainingFailed, evaluate
from nas.training.loop import Budget, History, train

NEVER = 10**9  # steps from which a training is captured


def _weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().float().cpu().flatten() for p in net.parameters()])


def generators(bench: Bench) -> None:
    """Torch's own generators are put back."""
    states = [torch.get_rng_state] + ([torch.cuda.get_rng_state] if bench.cuda else [])
    before, draws = [state() for state in states], []
    for _ in range(2):
        with isolated_rng(3, bench.device):
            draws.append(torch.rand(4, device=bench.device))
    build(bench.networks(1)[0], seed=7)
    same = all(map(torch.equal, before, (state() for state in states)))
    bench.check("generators", torch.equal(*draws) and same)


def captured_from(steps: int) -> Any:
    """Within, trainings of so many steps are captured."""
    return patch.object(captured, "MIN_STEPS", steps)


def training(bench: Bench) -> None:
    """It learns, eagerly and captured; equals the CPU; goes on; survives want of memory."""
    data, arch = bench.data(4000), bench.networks(1, seed=3)[0]

    def trained(budget: Budget, **more: Any) -> tuple[nn.Module, History]:
        net = build(arch, seed=0)
        device = more.pop("device", bench.device)
        batches = batches_for(data, "train", 28, device=device, batch_size=budget.batch_size)
        return net, train(net, batches, budget, device=device, **more)

    epochs = 2 if bench.quick else 4
    for optimizer, lr in (("sgd", 0.05), ("adamw", 2e-3)):
        for precision in ("fp32", "bf16"):
            budget = Budget(epochs, 32, optimizer, lr, precision=precision)
            losses = []
            for steps in (0, NEVER):
                with captured_from(steps):
                    net, history = trained(budget)
                losses.append(history.epochs[-1].loss)
            equal = abs(losses[0] - losses[1]) < 0.1 * losses[1]
            fell = bench.quick or history.epochs[-1].loss < history.epochs[0].loss
            val = evaluate(net, bench.batches(data, "val"), device=bench.device)
            note = f"captured {losses[0]:.3f}, eager {losses[1]:.3f}, accuracy {val.accuracy:.2f}"
            bench.check(f"training {optimizer} {precision}", equal and fell, note)
    one = Budget(1, 100, lr=0.01, precision="fp32", augment=False)
    near_far = [
        trained(one, device=torch.device(d))[1].epochs[0].loss for d in ("cpu", bench.device)
    ]
    bench.check("loss as on a CPU", abs(near_far[0] - near_far[1]) < 0.02, near_far)
    _goes_on(bench, trained)
    if bench.cuda:
        _short_of_memory(bench, data)


def _goes_on(bench: Bench, trained: Callable[..., tuple[nn.Module, History]]) -> None:
    budget, path = Budget(3, 32, lr=0.05), bench.folder / "training.pt"

    def stop(done: int) -> bool:
        return done == 2

    whole, _ = trained(budget)
    trained(budget, checkpoint=path, stop=stop)
    again, history = trained(budget, checkpoint=path)
    off = (_weights(whole) - _weights(again)).abs().max().item()
    bench.check("a stopped training goes on", len(history.epochs) == 3, f"off by {off:.2g}")


def _short_of_memory(bench: Bench, data: ImageData) -> None:
    wide = nn.Sequential(nn.Conv2d(1, 2**19, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batches, budget = bench.batches(data, "train", 1000), Budget(1, 1000, precision="fp32")
    try:
        train(wide, batches, budget, device=bench.device)
    except TrainingFailed as error:
        bench.check("want of memory is named", error.reason == "out_of_memory", error)
    else:
        bench.check("want of memory is named", False, "nothing was raised")
    small = build(bench.networks(1)[0], seed=0)
    train(small, bench.batches(data, "train", 64), Budget(1), device=bench.device)
    bench.check("the next training works", True)


def speed(bench: Bench) -> None:
    """Steps a second by width, batch, number format and layout, captured and eagerly."""
    sizes = [(0.25, 32)] if bench.quick else [(0.25, 64), (0.25, 512), (1.0, 64)]
    data = bench.data(4096)
    for width, batch in sizes:
        arch = bench.networks(1, width, seed=5)[0]
        for precision in ("fp32", "bf16"):
            budget = Budget(1 if bench.quick else 4, batch, lr=0.01, precision=precision)
            for order in (torch.channels_last, torch.contiguous_format):
                notes = []
                for steps in (0, NEVER):
                    with captured_from(steps), in_layout(order):
                        notes.append(_pace(bench, arch, data, budget))
                name = f"width {width} batch {batch} {precision} {str(order)[6:]}"
                bench.say(name, f"captured {notes[0]}, eager {notes[1]}")


@contextlib.contextmanager
def in_layout(order: torch.memory_format) -> Iterator[None]:
    """Within, trainings have their images and weights in that layout."""
    given = partial(lambda order, device: order, order)
    with patch.object(device, "layout", given), patch.object(loop, "layout", given):
        yield


def _pace(bench: Bench, arch: Arch, data: ImageData, budget: Budget) -> str:
    batches = bench.batches(data, "train", budget.batch_size)
    history = train(build(arch, seed=0), batches, budget, device=bench.device)
    fastest = min(epoch.seconds for epoch in history.epochs)
    first = history.epochs[0].seconds - fastest
    return f"{len(batches) / fastest:.0f} steps/s (first +{first:.1f} s)"


def latency(bench: Bench) -> None:
    """Parts of a network timed in each way; captured, against many launches between two events."""
    rows = operators(bench.networks(1, 1.0, 5)[0])
    parts = [rows[:1], rows[1:2], rows[-1:], rows]
    knobs: dict[str, Any] = {
        "device": bench.device.type,
        "min_rounds": 6,
        "max_rounds": 8,
        "max_seconds": 0.1,
    }
    ways: list[dict[str, Any]] = [{}, {"graph": False}]
    if bench.cuda:
        ways += [{"precision": "bfloat16", "channels_last": True}, {"precision": "float16"}]
    for way in ways:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what cannot be captured warns
            times = [t.median_ms for t in TorchEager(**knobs, **way).measure_rows(parts)]
        name = f"latency {way or ''}"
        bench.check(name, min(times) > 0, [f"{ms * 1e3:.1f} us" for ms in times])
        if not way:
            usual = times
    if bench.cuda:
        with torch.inference_mode():
            true = [_true_ms(TorchEager(**knobs).prepare(part, "symmetric")) for part in parts]
        off = [ms / real - 1 for ms, real in zip(usual, true, strict=True)]
        bench.check("latency is unbiased", max(map(abs, off)) < 0.03, [f"{x:+.1%}" for x in off])


def _true_ms(call: Callable[[], object], launches: int = 400) -> float:
    clock = torch_eager.event_clock()
    for _ in range(50):
        call()
    start = clock()
    for _ in range(launches):
        call()
    times = call.times if isinstance(call, Repeated) else 1
    return (clock() - start) / launches / times / 1e6


def supernet(bench: Bench) -> None:
    """Its speed at the start, when cuDNN plans, and later; scoring; a network taken out."""
    data, ticks, size = bench.data(4000), [time.perf_counter()], 16 if bench.quick else 64
    budget = SupernetBudget(replace(TRAINING, epochs=1, batch_size=size), checks=1, num_probes=2)
    net, val = Supernet(bench.space(), 0), bench.batches(data, "val", 100)
    batches = bench.batches(data, "train", size)
    train_supernet(
        net, batches, budget, device=bench.device,
        progress=lambda *_: ticks.append(time.perf_counter()),
    )  # fmt: skip
    part = max(1, (len(ticks) - 1) // 4)
    first, last = ((ticks[i + part] - ticks[i]) / part * 1e3 for i in (0, len(ticks) - 1 - part))
    bench.say("ms a step", f"{first:.0f} in the first quarter, {last:.0f} in the last")
    some = bench.networks(2 if bench.quick else 16)
    score = partial(subnet_losses, net, some, val, device=bench.device, threads=2)
    losses, _ = score()
    bench.check("scores", bool(losses.isfinite().all()), f"{bench.seconds(score):.2f} s again")
    alone = extract(net, some[0])
    recalibrate(alone, [next(batches.epoch(0))])
    there = evaluate(alone, val, device=bench.device)
    bench.check("a network taken out", math.isfinite(there.cross_entropy), there.accuracy)


def processes(bench: Bench) -> None:
    """A supernet trained by one process through torch.distributed, and without."""
    data, found = bench.data(320), []
    training = replace(TRAINING, epochs=1, batch_size=64, precision="fp32")
    budget = SupernetBudget(training, num_random=1, checks=1, num_probes=2)
    for backend in (None, "nccl" if bench.cuda else "gloo"):
        if backend:
            store = f"file://{bench.folder / 'store'}"
            distributed.init_process_group(backend, init_method=store, rank=0, world_size=1)
        try:
            net = Supernet(bench.space(), 0)
            train_supernet(net, bench.batches(data, "train", 64), budget, device=bench.device)
        finally:
            if backend:
                distributed.destroy_process_group()
        found.append(_weights(net))
    off = (found[0] - found[1]).abs().max().item()
    bench.check("one process of torch.distributed", off < 0.02, f"off by {off:.2g}")


def proxies(bench: Bench) -> None:
    """Each proxy as on a CPU."""
    data, arch = bench.data(1000), bench.networks(1)[0]
    for name in PROXIES:
        settings = ZeroCostSettings(name, 16, 1)
        far, near = (ZeroCost(data, settings, d)(arch) for d in (bench.device.type, "cpu"))
        close = abs(far.value - near.value) <= 0.03 * max(1, abs(near.value))
        bench.check(f"proxy {name}", close, f"{far.value:.4f}, on a CPU {near.value:.4f}")


def pool(bench: Bench) -> None:
    """Trainings side by side on one device."""
    load = partial(bench.data, 2000)
    make = partial(Scratch.open, load, Budget(1 if bench.quick else 3), bench.device.type)
    for workers in (2,) if bench.quick else (1, 2, 4):
        with WorkerPool(make, workers) as four:
            list(four.estimate(bench.networks(workers)))  # starts them
            start = time.perf_counter()
            told = four.estimate(bench.networks(2 if bench.quick else 8, seed=9))
            answers = [answer for _, answer in told]
        bad = [answer.reason for answer in answers if isinstance(answer, Failure)]
        each = (time.perf_counter() - start) / len(answers)
        bench.check(f"{workers} workers", not bad, bad[:1] or f"{each:.2f} s a training")


def commands(bench: Bench) -> None:
    """The commands, small."""
    kind = bench.device.type
    both = f"device={kind} results={bench.folder} latency=torch latency.device={kind}"
    size = "data.train=160 data.val=64 data.test=32"
    few = "table=short references=[] random=0 finalists=1 spread=1 workers=2"
    lines = [
        f"train {both} {size} arch=mobilenet_v3_small_0.35 budget=quick budget.epochs=1 run=a",
        f"search {both} {size} {few} accuracy.num_labels=4 trials=12 budget.epochs=1 run=b",
        f"search {both} {size} {few} accuracy=oneshot trials=8 budget.epochs=1 run=c"
        " accuracy.budget.training.epochs=1",
    ]
    for line in lines[:1] if bench.quick else lines:
        bench.command(f"nas.{line.split()[0]}", ["-m", f"nas.{line.split()[0]}", *line.split()[1:]])


def tests(bench: Bench) -> None:
    """The tests that ask for a GPU."""
    bench.command("tests", ["-m", "pytest", "-q", "-m", "gpu", "tests/data", "tests/latency",
                         "tests/training"])  # fmt: skip


SECTIONS = {
    section.__name__: section
    for section in (
        *(generators, training, processes, latency, supernet, speed, pool, proxies),
        *(tests, commands),
    )
}
