"""What is measured of a family's members, kept in files so that nothing is measured twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.accuracy.elastic import elastic
from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import Estimates, Judge, JudgeContext
from nas.accuracy.pool import Pool
from nas.arch.arch import Arch
from nas.arch.operators import network_id, operators
from nas.core.journal import KeyedJournal
from nas.core.progress import ProgressBar
from nas.latency.lookup import Lookup
from nas.latency.timing_journal import TimingJournal
from nas.scale.digests import digest_of
from nas.scale.fit.journal import Elastic, Job

Milliseconds = Callable[..., list[float]]  # of networks; quiet: without a bar of its own


def cached_latency(timer: Any, folder: Path, padding: str, console: Console) -> Milliseconds:
    """Latency in ms of whole networks by `timer`, each measured once in the life of `folder`."""
    if isinstance(timer, Lookup):
        return lambda archs, quiet=False: [t.median_ms for t in timer.measure_many(archs)]
    path = folder / f"latency-{timer.name}-{digest_of(timer.identity())}.jsonl"
    journal = TimingJournal(path, timer, padding)

    def measured(archs: Sequence[Arch], quiet: bool = False) -> list[float]:
        parts = {network_id(arch): operators(arch) for arch in archs}
        missing = len(parts.keys() - journal.known.keys())
        if quiet or missing < 2:
            journal.measure(parts, "")
        else:
            known = len(journal.known)
            with ProgressBar(console, "latency", missing) as bar:
                journal.on_progress = lambda done, what: bar(done - known, what)
                journal.measure(parts, "")
            journal.on_progress = lambda done, what: None
        return [journal.known[network_id(arch)].median_ms for arch in archs]

    return measured


def run_jobs(pool: Pool, on_partial: Callable[[float], None], jobs: Sequence[Job]) -> Estimates:
    """The answer to each job; `on_partial` hears the epochs done in jobs that have not ended."""

    def on_progress(parts: Mapping[int, float]) -> None:
        on_partial(sum(jobs[i][1] * part for i, part in parts.items()))

    with pool.watched(on_progress):
        yield from pool.run([(arch, {}, epochs, seed) for arch, epochs, seed in jobs])


def supernet_judge(
    console: Console, open_judge: Callable[[JudgeContext], Judge], context: JudgeContext
) -> Elastic:
    """What makes a judge of networks by weights that they share, trained with progress."""

    def open_with_progress(context: JudgeContext) -> Judge:
        with ProgressBar(console, "elastic", 100) as bar:
            what = "% of the training"
            context = replace(context, progress=lambda part, *_: bar(int(100 * part), what))
            return open_judge(context)

    return partial(elastic, open_with_progress, context=context)


def train_cached(
    pool: Pool, jobs: Sequence[Job], path: Path, salt: str, bar: ProgressBar
) -> list[dict[str, Any]]:
    """What each job scored, in order; those that the file at `path` knows are not trained again.

    `salt` stands for data and training budget; `bar` counts epochs.  A row holds scores, the
    cross_entropy (nats) of the validation images, or the `reason` where the training failed.
    """
    journal = KeyedJournal(path)
    failed: dict[str, dict[str, Any]] = {}  # which the next call tries again
    keys = [f"{salt}-{network_id(arch)}-{epochs}-{seed}" for arch, epochs, seed in jobs]
    missing = [i for i, key in enumerate(keys) if key not in journal]
    done = sum(epochs for (_, epochs, _), key in zip(jobs, keys, strict=True) if key in journal)
    bar(done, "epochs")
    asked = [jobs[i] for i in missing]
    for i, answer in run_jobs(pool, bar.set_partial, asked) if asked else ():
        key, row = keys[missing[i]], _row(answer)
        if "reason" in row:
            failed[key] = row
        else:
            journal.add({"key": key, **row})
        done += asked[i][1]
        bar(done, "epochs")
    rows = (failed.get(key) or journal[key] for key in keys)
    return [{name: value for name, value in row.items() if name != "key"} for row in rows]


def _row(answer: Estimate | Failure) -> dict[str, Any]:
    if isinstance(answer, Failure):
        return asdict(answer)
    val, test = answer.val, answer.test
    assert val is not None
    assert test is not None
    row = {"accuracy": val.accuracy, "accuracy_se": val.accuracy_se}
    row |= {"test_accuracy": test.accuracy, "test_accuracy_se": test.accuracy_se}
    return row | {"cross_entropy": val.cross_entropy, "seconds": answer.seconds}
