"""From an `Arch` to its metrics: the cheap ones first, the dear one never for what is forbidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from nas.accuracy.answer import Stopped
from nas.accuracy.worker_pool import Failure, call_safely
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.search.metrics import Metrics
from nas.space.limits import Limits


class Timer(Protocol):
    """A latency backend, as far as it matters here; timings have median_ms."""

    @property
    def name(self) -> str:
        """The backend's name."""

    def measure_many(self, archs: Sequence[Arch]) -> list[Any]:
        """Timings of `archs`, taken in turns."""


Judges = Callable[..., Iterator[tuple[int, Any]]]  # of networks, and floors where there are any
Floors = Callable[
    [Sequence[Metrics]], list[dict[int, float]]
]  # as nas.search.samplers.pruning.Pruning


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
    limits: Limits = field(default_factory=Limits)
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
        together = call_safely(self.timer.measure_many, archs)
        if not isinstance(together, Failure):
            return list(together)
        each = [call_safely(self.timer.measure_many, [arch]) for arch in archs]
        return [one if isinstance(one, Failure) else one[0] for one in each]

    def _metrics(self, arch: Arch, timing: Any) -> Metrics:
        counts = cost(arch)
        metrics = Metrics(
            network_id(arch), "complete", float("nan"), counts.macs, counts.params,
            counts.peak_memory_bytes, arch_string(arch),
        )  # fmt: skip
        if isinstance(timing, Failure):
            return replace(metrics, state="failed", reason=f"not measured: {timing.reason}")
        metrics = replace(metrics, latency_ms=timing.median_ms)
        over = self.limits.over(metrics.latency_ms, counts)
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
