"""What is measured of a family's members, kept in files so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.accuracy.elastic import elastic
from nas.accuracy.oneshot import OneShot
from nas.accuracy.worker_pool import Failure, WorkerPool
from nas.arch.arch import Arch
from nas.arch.operators import network_id, operators
from nas.core.journal import append_entry, read_entries
from nas.core.progress import ProgressBar
from nas.latency.lookup import Lookup
from nas.latency.timing_journal import TimingJournal

Milliseconds = Callable[..., list[float]]  # of networks; quiet: without a bar of its own
Job = tuple[Arch, int, int]  # network, epochs, seed


def digest_of(*parts: Any) -> str:
    """8 hex digits of plain data."""
    known = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(known.encode()).hexdigest()[:8]


def cached_latency(timer: Any, folder: Path, padding: str, console: Console) -> Milliseconds:
    """Latency in ms of whole networks by `timer`, each measured once in the life of `folder`.

    A table of somebody else's device is read anew each time.
    """
    if isinstance(timer, Lookup):
        return lambda archs, quiet=False: [t.median_ms for t in timer.measure_many(archs)]
    path = folder / f"latency-{timer.name}-{digest_of(timer.identity())}.jsonl"
    journal = TimingJournal(path, timer, padding)

    def measured(archs: Sequence[Arch], quiet: bool = False) -> list[float]:
        parts = {network_id(arch): operators(arch) for arch in archs}
        missing = len(parts.keys() - journal.known.keys())
        if quiet or missing < 2:
            journal.timed(parts, "")
        else:
            known = len(journal.known)
            with ProgressBar(console, "latency", missing, 0) as live:
                journal.told = lambda done, what: live(done - known, what)
                journal.timed(parts, "")
            journal.told = lambda done, what: None
        return [journal.known[network_id(arch)].median_ms for arch in archs]

    return measured


def run_jobs(
    pool: WorkerPool, under_way: Callable[[float], None], jobs: Sequence[Job]
) -> Iterator[tuple[int, Any]]:
    """(index, Judgement or Failure) of each job, as soon as it is known.

    `under_way` is told now and then how many epochs are done in those that have not ended.
    """

    def told(parts: Mapping[int, float]) -> None:
        under_way(sum(jobs[i][1] * part for i, part in parts.items()))

    with pool.watched(told):
        yield from pool([j[0] for j in jobs], [j[1] for j in jobs], [j[2] for j in jobs])


def supernet_judge(
    console: Console, open_oneshot: Callable[..., OneShot], **context: Any
) -> Callable[[Sequence[Arch]], Callable[[Sequence[Job]], Iterator[tuple[int, Any]]]]:
    """What makes a judge of networks by weights that they share, trained with progress."""

    def opened(**more: Any) -> OneShot:
        with ProgressBar(console, "elastic", 100, 0) as live:

            def progress(part: float, left: float, history: Any) -> None:
                live(int(100 * part), "% of the training")

            return open_oneshot(**context, **more, progress=progress)

    return partial(elastic, opened)


def train_cached(
    pool: WorkerPool, jobs: Sequence[Job], path: Path, salt: str, live: ProgressBar
) -> list[dict[str, Any]]:
    """What each job scored, in order; those that the file at `path` knows are not trained again.

    `salt` stands for whatever else decides a score: data and training budget; `live` is told
    epochs.  A row holds accuracy and test_accuracy with their standard errors, cross_entropy
    (nats, of the validation images) and seconds, or the `reason` where the training failed.
    """
    keys = [f"{salt}-{network_id(arch)}-{epochs}-{seed}" for arch, epochs, seed in jobs]
    known = {str(entry.pop("key")): entry for entry in read_entries(path) if "key" in entry}
    missing = [i for i, key in enumerate(keys) if key not in known]
    done = sum(job[1] for job, key in zip(jobs, keys, strict=True) if key in known)
    live(done, "epochs")
    for i, answer in (
        run_jobs(pool, live.set_partial, [jobs[i] for i in missing]) if missing else ()
    ):
        key = keys[missing[i]]
        known[key] = _row(answer)
        if "reason" not in known[key]:  # what failed is tried again
            append_entry(path, {"key": key, **known[key]})
        done += jobs[missing[i]][1]
        live(done, "epochs")
    return [known[key] for key in keys]


def _row(answer: Any) -> dict[str, Any]:
    if isinstance(answer, Failure):
        return asdict(answer)
    return {
        "accuracy": answer.val.accuracy,
        "accuracy_se": answer.val.accuracy_se,
        "test_accuracy": answer.test.accuracy,
        "test_accuracy_se": answer.test.accuracy_se,
        "cross_entropy": answer.val.cross_entropy,
        "seconds": answer.seconds,
    }
