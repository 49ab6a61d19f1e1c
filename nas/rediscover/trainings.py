"""The networks that are trained: controls to test the judges by, winners beside their rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from nas.accuracy.executor import Executor
from nas.accuracy.paired import PairedTraining, load_fewer, right_answers, train_all
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.journal import KeyedJournal
from nas.core.progress import ProgressBar
from nas.data.dataset import ImageData
from nas.latency.timing import Backend
from nas.latency.together import in_same_rounds, measure_together
from nas.rediscover.searching import Search
from nas.rediscover.settings import RediscoverSettings
from nas.stats.correlation import RESAMPLES, Interval, kendall
from nas.stats.paired import paired_interval
from nas.training.loop import Budget, fit_batch
from search_spaces.lookup import adapted, at_width

WIDTHS = tuple(round(0.05 * 1.03**i, 4) for i in range(150))  # that a rival is tried at
NEW_SEEDS = 1000  # from here on: of trainings that no choice was made by
Row = dict[str, Any]


@dataclass(frozen=True)
class Trainer:
    """Trains networks alike and keeps what was trained in `trainings.jsonl`."""

    settings: RediscoverSettings
    data: ImageData
    path: Path
    console: Console

    def train(self, label: str, jobs: Sequence[tuple[Arch, int]]) -> list[Row]:
        """The row of each (network, seed); UserError where one cannot be trained."""
        settings = self.settings
        budget: Budget = fit_batch(settings.budget.make(), len(self.data.train))
        executor: Executor = settings.executor.make()
        salt = f"{self.data.fingerprint} {len(self.data.train)} {self.data.flip} {budget!r}"
        with (
            executor.open(
                lambda load: partial(PairedTraining.open, load, budget, settings.device, True),
                partial(load_fewer, settings.data, settings.size.images),
                settings.workers,
            ) as pool,
            ProgressBar(self.console, label) as bar,
        ):
            rows = list(train_all(pool, jobs, self.path, salt, bar))
        if reason := next((row["reason"] for row in rows if "reason" in row), None):
            raise UserError(f"a network cannot be trained like this: {reason}")
        return rows


def train_ranked(trainer: Trainer, ranked: Sequence[Arch]) -> list[list[Row]]:
    """The rows of each of these controls, seed by seed."""
    seeds = [trainer.settings.seed + i for i in range(trainer.settings.seeds)]
    rows = trainer.train("controls", [(arch, seed) for arch in ranked for seed in seeds])
    return [rows[i : i + len(seeds)] for i in range(0, len(rows), len(seeds))]


def judge_taus(
    searches: Sequence[Search], trained: Sequence[Sequence[Mapping[str, Any]]], seed: int
) -> dict[str, Any]:
    """Kendall's tau of each judge's scores with how the controls are trained alone.

    The truth is minus the cross-entropy on the test images, in the mean over seeds.  `mean` is over
    the judges, and its 95 % interval is for other networks, not for other judges: by resampling the
    networks, the same ones for all.  `seeds` is how far two rounds of trainings agree.
    """
    losses = np.array([[row["cross_entropy"] for row in rows] for rows in trained])  # (n, seeds)
    truth, scores = -losses.mean(1), np.array([search.scores for search in searches])
    draws = np.random.default_rng(seed).integers(len(truth), size=(RESAMPLES, len(truth)))
    taus = [kendall(judge, truth) for judge in scores]
    means = [np.mean([kendall(judge[i], truth[i]) for judge in scores]) for i in draws]
    low, high = np.nanquantile(means, [0.025, 0.975])
    return {
        "networks": len(truth),
        "judges": taus,
        "mean": float(np.mean(taus)),
        "low": float(low),
        "high": float(high),
        "seeds": kendall(-losses[:, 0], -losses[:, 1]),
    }


def trained_alone(
    searches: Sequence[Search], ranked: Sequence[Arch], trained: Sequence[Sequence[Row]]
) -> list[tuple[Arch, float]]:
    """Random networks as fast as each other, each once, with the accuracy that trainings gave them.

    Those that the judges learnt from, or the controls where judges are supernets.
    """
    found = {network_id(arch): (arch, value) for s in searches for arch, value in s.labels}
    if found:
        return list(found.values())
    means = [float(np.mean([row["val_accuracy"] for row in rows])) for rows in trained]
    return list(zip(ranked, means, strict=True))


def fit_rivals(
    names: Sequence[str], winners: Sequence[Arch], timer: Backend, path: Path, console: Console
) -> dict[str, Arch]:
    """Each published network at the width at which it is as fast as the winners, measured now.

    What was chosen is kept at `path`, since another measuring would choose a little otherwise.
    """
    journal, found = KeyedJournal(path), dict[str, Arch]()
    missing = [name for name in names if name not in journal]
    if missing:
        timings = measure_together(in_same_rounds(timer, len(winners)), winners, console)
        most = float(np.mean([timing.median_ms for timing in timings]))
    with ProgressBar(console, "rivals", len(missing)) as bar:
        for done, name in enumerate(missing, 1):
            journal.add({"key": name, **fit_width(name, winners[0], most, timer)})
            bar(done, name)
    for name in names:
        if (width := journal[name]["width"]) is None:
            console.print(f"left out  {name}: {journal[name]['reason']}")
        else:
            found[name] = at(name, width, winners[0])
    return found


def at(name: str, width: float, like: Arch) -> Arch:
    """A published network at that width, for the images of `like`."""
    return replace(adapted(at_width(name, width), like), name=at_width(name, width))


def fit_width(name: str, like: Arch, most_ms: float, timer: Backend) -> dict[str, Any]:
    """The largest `width` of WIDTHS at which it takes at most `most_ms`; None and the `reason`.

    Latency is taken to grow with the width.
    """
    low, high = -1, len(WIDTHS)  # the largest known to be fast enough, the least known not to be
    while high - low > 1:
        middle = (low + high) // 2
        try:
            [timing] = timer.measure_many([at(name, WIDTHS[middle], like)])
        except UserError as error:
            return {"width": None, "reason": str(error)}
        low, high = (middle, high) if timing.median_ms <= most_ms else (low, middle)
    if low < 0:
        return {"width": None, "reason": f"no width of it is within {most_ms:.3g} ms"}
    return {"width": WIDTHS[low]}


def best_of(rows: Sequence[Sequence[Mapping[str, Any]]], number: int) -> int:
    """Which of the first `number` controls one would choose by its first training."""
    return int(np.argmax([of[0]["val_accuracy"] for of in rows[:number]]))


def compare(
    trainer: Trainer, winners: Sequence[Arch], rivals: Mapping[str, Arch], timer: Backend
) -> list[Row]:
    """One row a rival: what the winners gain over it on the test images, and how fast both are.

    Each winner and each rival is trained anew.  The training of winner i is paired with the i-th
    of the rival, so the interval is for other searches, other trainings and other images alike.
    """
    seeds = [trainer.settings.seed + NEW_SEEDS + i for i in range(len(winners))]
    jobs = list(zip(winners, seeds, strict=True))
    jobs += [(rival, seed) for rival in rivals.values() for seed in seeds]
    rows = trainer.train("quality", jobs)
    right = np.stack([right_answers(row) for row in rows]).reshape(-1, len(seeds), _images(rows))
    archs = [*winners, *rivals.values()]
    together = in_same_rounds(timer, len(archs))
    timings = [t.median_ms for t in measure_together(together, archs, trainer.console)]
    ours, ms = right[0], float(np.mean(timings[: len(winners)]))
    return [
        {
            "name": name,
            "network": rival.name or network_id(rival),
            "accuracy": float(theirs.mean()),
            "winners": float(ours.mean()),
            **_gain(paired_interval(ours - theirs)),
            "latency_ratio": their_ms / ms,
        }
        for (name, rival), theirs, their_ms in zip(
            rivals.items(), right[1:], timings[len(winners) :], strict=True
        )
    ]


def _images(rows: Sequence[Mapping[str, Any]]) -> int:
    return int(rows[0]["num_images"])


def _gain(found: Interval) -> dict[str, float]:
    return {"gain": found.value, "gain_low": found.low, "gain_high": found.high}
