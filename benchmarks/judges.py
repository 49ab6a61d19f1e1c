"""How well the judges rank random networks of the default space, trained as a search trains them.

    python benchmarks/judges.py              writes results/benchmarks/judges.json

Networks are trained with the default budget on the embedded data, with two seeds, whose mean is
the truth; how far two single trainings agree is told beside.  `blend` learns from labels of other
networks, trained with a third seed.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.oneshot import OneShot
from nas.accuracy.predictor import Blend
from nas.accuracy.scratch import Scratch
from nas.accuracy.worker_pool import Failure, WorkerPool
from nas.accuracy.zero_cost import ZeroCost
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.config import compose_config, make, plain
from nas.core.run_folder import environment, write_json
from nas.space.choices import fill, random_picks
from nas.space.configured import space_for
from nas.stats.correlation import interval, kendall

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "judges.json"
LABELS = 20  # as many as the default search trains
PROXIES = ("naswot", "grad_norm")


def drawn(space: Arch, number: int, seed: int) -> list[Arch]:
    """Distinct random networks, evenly over the logarithm of multiply-adds, in random order."""
    rng = random.Random(seed)
    many = {network_id(a): a for a in (fill(space, random_picks(space, rng)) for _ in range(4000))}
    logs = np.log([cost(arch).macs for arch in many.values()])
    wanted = np.linspace(logs.min(), logs.max(), number)
    left = dict(enumerate(many.values()))
    chosen = []
    for value in wanted:
        nearest = min(left, key=lambda i: abs(logs[i] - value))
        chosen.append(left.pop(nearest))
    rng.shuffle(chosen)
    return chosen


def trained(settings: dict[str, Any], archs: list[Arch], seed: int) -> list[Any]:
    """A Judgement of each, by the default budget."""
    load, budget = partial(make, settings["data"]), make(settings["budget"])
    with WorkerPool(partial(Scratch.open, load, budget, "cpu", seed), settings["workers"]) as pool:
        found = {}
        for i, answer in pool(archs):
            if isinstance(answer, Failure):
                raise SystemExit(answer.reason)
            found[i] = answer
            print(f"\r  seed {seed}: {len(found)}/{len(archs)} trained ", end="", flush=True)
    return [found[i] for i in range(len(archs))]


def scored(
    settings: dict[str, Any], space: Arch, judged: list[Arch], labelled: list[tuple[Arch, Any]],
    seed: int,
) -> dict[str, Callable[[], list[float]]]:  # fmt: skip
    """By judge, what gives its values of `judged`."""
    load = partial(make, settings["data"])

    def proxy(name: str) -> list[float]:
        judge = ZeroCost.open(load, proxy=name, device="cpu", seed=seed)
        return [judge(arch).value for arch in judged]

    def oneshot() -> list[float]:
        opened = make(plain(compose_config("search", ["accuracy=oneshot"]))["accuracy"])
        judge: OneShot = opened(load=load, space=space, device="cpu", seed=seed)
        return [answer.value for _, answer in judge.many(judged)]

    def blend() -> list[float]:
        archs, answers = zip(*labelled, strict=True)
        prior = ZeroCost.open(load, proxy="log_macs", device="cpu", seed=seed)
        judge = Blend.open(
            space,
            lambda some: ((i, prior(arch)) for i, arch in enumerate(some)),
            lambda some: iter(enumerate(answers)),
            num_labels=len(archs),
            draw=lambda number: archs if number == len(archs) else drawn(space, number, seed + 1),
        )
        return [answer.value for _, answer in sorted(judge.many(judged))]

    proxies = {name: partial(proxy, name) for name in ("log_macs", *PROXIES)}
    return {**proxies, "oneshot": oneshot, f"blend_{LABELS}_labels": blend}


def main() -> None:
    """Train, score, compare, print, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=24, help="that are judged")
    parser.add_argument("--seed", type=int, default=0)
    args, words = parser.parse_known_args()
    settings = plain(compose_config("search", words))
    space = space_for(settings, make, make(settings["data"]).spec)
    archs = drawn(space, args.networks + LABELS, args.seed)
    judged, others = archs[: args.networks], archs[args.networks :]
    runs = [trained(settings, judged, args.seed + i) for i in (0, 1)]
    values = np.array([[answer.value for answer in run] for run in runs])
    correct = np.array([[answer.val.accuracy for answer in run] for run in runs])
    truth = values.mean(0)
    labelled = list(zip(others, trained(settings, others, args.seed + 2), strict=True))
    between = {"cross_entropy": kendall(*values), "accuracy": kendall(*correct)}
    found: dict[str, Any] = {}
    for name, score in scored(settings, space, judged, labelled, args.seed).items():
        start = time.process_time()
        scores = score()
        seconds = time.process_time() - start  # without the labels of `blend`
        tau = interval(kendall, scores, truth)
        found[name] = {**asdict(tau), "cpu_seconds": seconds}
        print(f"\r{name:16} tau {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})", flush=True)
    print("two seeds agree at", {k: round(v, 2) for k, v in between.items()})
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    told = {"networks": args.networks, "labels": LABELS, "seeds_agree": between, "judges": found}
    noise = float((values[0] - values[1]).std() / 2**0.5)
    spread = {"between_networks": float(truth.std()), "between_seeds": noise}
    write_json(RESULT, {**told, "nats": spread, "environment": environment(seed=args.seed)})


if __name__ == "__main__":
    main()
