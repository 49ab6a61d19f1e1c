"""From an `Arch` to its metrics: the cheap ones first, the dear one never for what is forbidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from nas.accuracy.answer import Stopped
from nas.accuracy.pool import Failure, judged
from nas.arch import Arch
from nas.blocks import network_id
from nas.cost import cost
from nas.reading import reading_form


@dataclass(frozen=True)
class Metrics:
    """All that is known of one network; a field is a column of trials.csv.

    state      complete, infeasible (over a limit, never trained), pruned (its training stopped
               at a rung) or failed; `reason` says why.
    score      what the judge said, higher is better, with its standard error; `fidelity` tells how
               it came by it.
    rungs      the score on the way, by epochs done; the last is also the score of a pruned one.
    accuracy   share of the validation images, with its standard error; what a search sees.
    test_accuracy   the same on images that no decision sees.
    latency_ms by the timer that the search was given, a latency table as a rule.
    """

    id: str
    state: str
    latency_ms: float
    macs: int
    params: int
    peak_memory_bytes: int
    arch: str
    score: float = float("nan")
    score_se: float = float("nan")
    fidelity: str = ""
    accuracy: float = float("nan")
    accuracy_se: float = float("nan")
    cross_entropy: float = float("nan")
    test_accuracy: float = float("nan")
    test_accuracy_se: float = float("nan")
    seconds: float = 0.0
    reason: str = ""
    over: dict[str, float] = field(default_factory=dict)
    rungs: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN as None, which JSON can say."""
        return {k: None if v != v else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """The inverse of `to_json`."""
        known: dict[str, Any] = {k: float("nan") if v is None else v for k, v in data.items()}
        return cls(**known)


@dataclass(frozen=True)
class Limits:
    """What no network may exceed; None for no limit."""

    latency_ms: float | None = None
    macs: float | None = None
    params: float | None = None
    memory_kb: float | None = None

    def over(self, metrics: Metrics) -> dict[str, float]:
        """By how much each limit is exceeded, relative to it; at most 0 where it is met."""
        values = {
            "latency_ms": metrics.latency_ms,
            "macs": metrics.macs,
            "params": metrics.params,
            "memory_kb": metrics.peak_memory_bytes / 1024,
        }
        limits = {k: v for k, v in asdict(self).items() if v is not None}
        return {k: values[k] / limit - 1 for k, limit in limits.items()}


class Timer(Protocol):
    """A latency backend, as far as it matters here; timings have median_ms."""

    @property
    def name(self) -> str:
        """The backend's name."""

    def measure_many(self, archs: Sequence[Arch]) -> list[Any]:
        """Timings of `archs`, taken in turns."""


Judges = Callable[..., Iterator[tuple[int, Any]]]  # of networks, and floors where there are any
Floors = Callable[[Sequence[Metrics]], list[dict[int, float]]]  # as nas.samplers.pruning.Pruning


@dataclass(frozen=True)
class Evaluator:
    """Latency from `timer`, accuracy from `judges`, under `limits`.

    The latencies of a batch are taken before its training begins, while the machine is quiet;
    `timings` keeps every one by network id, and no network is timed twice.  Networks slower than
    `most_ms` are not trained either, but for those whose id is in `exempt`.  `floors`, if given,
    says of a batch, before it is trained, at which rungs a training stops below which value.
    """

    timer: Timer
    judges: Judges
    limits: Limits = Limits()
    most_ms: float = math.inf
    exempt: frozenset[str] = frozenset()
    timings: dict[str, Any] = field(default_factory=dict)
    floors: Floors | None = None

    def measured(self, archs: Sequence[Arch]) -> list[Metrics]:
        """Costs and latencies, and whether a limit forbids the rest."""
        ids = [network_id(arch) for arch in archs]
        new = {key: arch for key, arch in zip(ids, archs, strict=True) if key not in self.timings}
        self.timings.update(zip(new, self._timed(list(new.values())), strict=True))
        return [self._metrics(arch, self.timings[k]) for k, arch in zip(ids, archs, strict=True)]

    def _timed(self, archs: Sequence[Arch]) -> list[Any]:
        """Timings of `archs` together, or where that fails one by one, to learn which failed."""
        together = judged(self.timer.measure_many, archs)
        if not isinstance(together, Failure):
            return list(together)
        each = [judged(self.timer.measure_many, [arch]) for arch in archs]
        return [one if isinstance(one, Failure) else one[0] for one in each]

    def _metrics(self, arch: Arch, timing: Any) -> Metrics:
        counts = cost(arch)
        metrics = Metrics(
            network_id(arch), "complete", float("nan"), counts.macs, counts.params,
            counts.peak_memory_bytes, reading_form(arch),
        )  # fmt: skip
        if isinstance(timing, Failure):
            return replace(metrics, state="failed", reason=f"not measured: {timing.reason}")
        metrics = replace(metrics, latency_ms=timing.median_ms)
        over = self.limits.over(metrics)
        if self.limits.latency_ms is None:
            excess = metrics.latency_ms / self.most_ms - 1
            over["latency_ms"] = min(excess, 0.0) if metrics.id in self.exempt else excess
        forbidden = ", ".join(f"{k} {v:+.0%} over" for k, v in over.items() if v > 0)
        state = "infeasible" if forbidden else "complete"
        return replace(metrics, over=over, state=state, reason=forbidden)

    def __call__(self, archs: Sequence[Arch]) -> Iterator[tuple[int, Metrics]]:
        """(index, metrics) of each of `archs`, as soon as they are known, in any order."""
        found = self.measured(archs)
        allowed = [i for i, m in enumerate(found) if m.state == "complete"]
        yield from ((i, m) for i, m in enumerate(found) if m.state != "complete")
        floors = [self.floors([found[i] for i in allowed])] if self.floors else []
        for i, answer in self.judges([archs[i] for i in allowed], *floors):
            yield allowed[i], _judged(found[allowed[i]], answer)


def _judged(metrics: Metrics, answer: Any) -> Metrics:
    if isinstance(answer, Failure):
        return replace(metrics, state="failed", reason=answer.reason)
    rungs = {str(done): value for done, value in getattr(answer, "rungs", {}).items()}
    if isinstance(answer, Stopped):
        return _stopped(replace(metrics, rungs=rungs), answer)
    found = replace(
        metrics,
        rungs=rungs,
        score=answer.value,
        score_se=answer.standard_error,
        fidelity=answer.fidelity,
        seconds=answer.seconds,
    )
    if val := getattr(answer, "val", None):  # a judge that scored it on images
        found = replace(
            found,
            accuracy=val.accuracy,
            accuracy_se=val.accuracy_se,
            cross_entropy=val.cross_entropy,
        )
    if test := getattr(answer, "test", None):
        found = replace(found, test_accuracy=test.accuracy, test_accuracy_se=test.accuracy_se)
    return found


def _stopped(metrics: Metrics, answer: Stopped) -> Metrics:
    done, value = max(answer.rungs.items())
    return replace(
        metrics,
        state="pruned",
        score=value,
        score_se=answer.standard_error,
        fidelity=f"{done} of {answer.epochs} epochs",
        seconds=answer.seconds,
        reason=f"score {value:.3g} after epoch {done}, {answer.floor:.3g} needed for the front",
    )
