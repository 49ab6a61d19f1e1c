"""What a fit learned, kept in a journal so that a killed fit goes on: trainings and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import Estimates
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.journal import KeyedJournal
from nas.scale.fit.response_surface import Floats

Cost = Callable[[Sequence[Arch]], Floats]
Job = tuple[Arch, int, int]  # network, epochs, seed
Judge = Callable[[Sequence[Job]], Estimates]
Elastic = Callable[[Sequence[Arch]], Judge]
Progress = Callable[[int, int, str], None]

COSTS_AT_ONCE = 16  # networks whose cost is asked for before it is written down


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One training of the network `id`; scores are NaN where it failed, for the `reason`."""

    id: str
    epochs: int
    seed: int
    cross_entropy: float
    cross_entropy_se: float  # over the images, as the other
    accuracy: float
    accuracy_se: float
    fidelity: str = ""
    reason: str = ""


def open_journal(path: Path) -> KeyedJournal:
    """The journal of a fit, of one judge and one device."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return KeyedJournal(path, _key_of)


def _key_of(entry: Mapping[str, Any]) -> Hashable:
    if "cost" in entry:
        float(entry["cost"])  # raises where the entry is damaged
        return str(entry["id"])
    record = _record(entry)
    return record.id, record.epochs, record.seed


def _record(entry: Mapping[str, Any]) -> TrainingRecord:
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in entry.items()}
    return TrainingRecord(**values)


class Trainings:
    """Asks the judge for what the journal does not know; counts epochs, since trainings differ."""

    def __init__(self, judge: Judge, journal: KeyedJournal, progress: Progress, total: int) -> None:
        self.judge, self.journal, self.progress = judge, journal, progress
        self.done, self.total = 0, total  # epochs
        self.seen: list[TrainingRecord] = []  # everything asked for, failures included
        self.failed: dict[Hashable, TrainingRecord] = {}  # not kept: another call tries them again

    def __call__(self, jobs: Sequence[Job], what: str) -> list[TrainingRecord]:
        """The records of the jobs, in that order, failures left out."""
        keys = [(network_id(arch), epochs, seed) for arch, epochs, seed in jobs]
        missing = {k: job for k, job in zip(keys, jobs, strict=True) if not self._is_known(k)}
        self.total -= sum(key[1] for key in keys if key not in missing)  # no work
        self._count(0, what)
        asked, order = list(missing.values()), list(missing)
        for i, answer in self.judge(asked) if asked else ():
            record = _row(order[i], answer)
            if record.reason:
                self.failed[order[i]] = record
            else:
                self.journal.add(asdict(record))
            self._count(asked[i][1], what)
        records = [self.failed.get(key) or _record(self.journal[key]) for key in keys]
        self.seen += records
        return [record for record in records if not record.reason]

    def _is_known(self, key: Hashable) -> bool:
        return key in self.failed or (key in self.journal and not self.journal[key].get("reason"))

    def _count(self, epochs: int, what: str) -> None:
        self.done += epochs
        self.progress(self.done, max(self.done, self.total), what)


def _row(key: tuple[str, int, int], answer: Estimate | Failure) -> TrainingRecord:
    unknown = (math.nan,) * 4
    if isinstance(answer, Failure):
        return TrainingRecord(*key, *unknown, reason=answer.reason)
    assert answer.val is not None
    val = answer.val
    if not (math.isfinite(val.cross_entropy) and math.isfinite(val.accuracy)):
        return TrainingRecord(*key, *unknown, reason="its scores are not finite")
    scores = (val.cross_entropy, val.cross_entropy_se, val.accuracy, val.accuracy_se)
    return TrainingRecord(*key, *scores, fidelity=answer.fidelity)


class CostRatios:
    """What networks cost as multiples of the baseline; kept in the journal where that is slow."""

    def __init__(self, baseline: Arch, cost: Cost, journal: KeyedJournal, slow: bool) -> None:
        self.baseline, self.cost, self.journal, self.slow = baseline, cost, journal, slow
        self.unit = 1.0
        self.unit = float(self([baseline])[0])

    def __call__(self, archs: Sequence[Arch]) -> Floats:
        """Cost ratios [n] of networks [n]."""
        if not self.slow:
            return np.asarray(self.cost(archs), float) / self.unit
        keys = [network_id(arch) for arch in archs]
        missing = {k: arch for k, arch in zip(keys, archs, strict=True) if k not in self.journal}
        ids = list(missing)
        for start in range(0, len(ids), COSTS_AT_ONCE):
            part = ids[start : start + COSTS_AT_ONCE]
            for key, cost in zip(part, self.cost([missing[k] for k in part]), strict=True):
                self.journal.add({"id": key, "cost": float(cost)})
        return np.array([self.journal[key]["cost"] for key in keys]) / self.unit
