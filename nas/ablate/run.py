"""What each idea of a network is worth: it and its variants, trained alike and timed together.

From Python it is what the command line does, in four lines:

    from nas.ablate.run import ablate
    from nas.ablate.settings import AblateSettings

    summary = ablate(AblateSettings.of("arch=mobilenet_v2", "ablations=[no_residual,relu]"))
    print([(row["name"], row["difference"], row["latency_ratio"]) for row in summary["rows"]])
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console

from nas.ablate.ablations import Variant
from nas.ablate.report import TABLE_WIDTH, describe_verdict, print_rows, write_results
from nas.ablate.settings import AblateSettings
from nas.ablate.setup import AblateRun, open_run
from nas.accuracy.paired import right_answers, train_all
from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.progress import ProgressBar, open_console
from nas.latency.together import measure_together
from nas.stats.paired import paired_interval

Row = dict[str, Any]


def ablate(settings: AblateSettings) -> dict[str, Any]:
    """Compare the network with its variants; returns what summary.json holds.

    What an earlier call trained, even one that was stopped, is not trained again.
    """
    console = open_console(TABLE_WIDTH)
    try:
        return _ablate(settings, console, began=time.perf_counter())
    except KeyboardInterrupt:
        console.print("stopped   what was trained is kept; the same command goes on")
        raise


def _ablate(settings: AblateSettings, console: Console, began: float) -> dict[str, Any]:
    with open_run(settings, console) as run:
        rows = cost_rows(run.variants)
        if settings.measure:
            _add_latencies(run, rows)
        _add_accuracies(run, rows)
        data, arch = run.data, run.variants[0].arch
        summary = {
            "network": arch.name,
            "resolution": arch.resolution,
            "unchanged": run.unchanged,
            "data": settings.data.name,
            "images": {part: len(getattr(data, part)) for part in ("train", "val", "test")},
            "budget": settings.budget.name,
            "epochs": run.budget.epochs,
            "seeds": [settings.seed + i for i in range(settings.seeds)],
            "latency": run.timer.name if settings.measure else None,
            "seconds": time.perf_counter() - began,
            "rows": rows,
        }
        write_results(run, summary)
        print_rows(console, rows)
        for label, text in describe_verdict(rows):
            run.say(label, text)
        run.say("wrote", f"{run.folder}/: ablation.html ablation.csv summary.json ...")
    return summary


def cost_rows(variants: Sequence[Variant]) -> list[Row]:
    """One row a variant: what it costs by arithmetic, and in the network's own, the first's."""
    base = cost(variants[0].arch)
    rows = []
    for variant in variants:
        costs = cost(variant.arch)
        rows.append({
            "name": variant.name,
            "words": variant.words,
            "id": network_id(variant.arch),
            "arch": arch_string(variant.arch),
            **asdict(costs),
            "macs_ratio": costs.macs / base.macs,
            "params_ratio": costs.params / base.params,
            "latency_ms": None,
            "latency_ratio": None,
        })  # fmt: skip
    return rows


def _add_latencies(run: AblateRun, rows: Sequence[Row]) -> None:
    """Time all variants in the same rounds; none where the device or table cannot tell one."""
    try:
        timings = measure_together(run.timer, [v.arch for v in run.variants], run.console)
    except UserError as error:
        run.say("latency", f"none: {error}")
        return
    for row, timing in zip(rows, timings, strict=True):
        row["latency_ms"], row["noisy"] = timing.median_ms, timing.noisy
        row["latency_ratio"] = timing.median_ms / timings[0].median_ms


def _add_accuracies(run: AblateRun, rows: Sequence[Row]) -> None:
    """Train every variant from every seed; its row learns how it compares with the network."""
    settings, seeds = run.settings, range(run.settings.seeds)
    jobs = [(v.arch, settings.seed + i) for v in run.variants for i in seeds]
    salt = f"{run.data.fingerprint} {len(run.data.train)} {run.data.flip} {run.budget!r}"
    with run.open_pool() as pool, ProgressBar(run.console, "train") as bar:
        found = list(train_all(pool, jobs, run.folder / "trainings.jsonl", salt, bar))
    by_variant = [found[i : i + len(seeds)] for i in range(0, len(found), len(seeds))]
    reasons = [next((t["reason"] for t in of if "reason" in t), None) for of in by_variant]
    if reasons[0]:
        raise UserError(f"{run.variants[0].arch.name} cannot be trained like this: {reasons[0]}")
    for row, trainings, reason in zip(rows, by_variant, reasons, strict=True):
        row |= {"reason": reason} if reason else compared(trainings, by_variant[0])
        if reason:
            run.say("failed", f"{row['words']}: {reason}")


def compared(trainings: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> Row:
    """Mean scores of a variant, and the difference of its accuracy from that of the network.

    Both are trained from the same seeds, and answer the same test images.
    """
    mine, theirs = (np.stack([right_answers(t) for t in of]) for of in (trainings, base))
    found = paired_interval(mine - theirs)  # (seeds, images)
    return {
        "accuracy": float(mine.mean()),
        "accuracies": mine.mean(axis=1).tolist(),
        "cross_entropy": float(np.mean([t["cross_entropy"] for t in trainings])),
        "difference": found.value,
        "difference_low": found.low,
        "difference_high": found.high,
        "seconds": float(np.mean([t["seconds"] for t in trainings])),
    }
