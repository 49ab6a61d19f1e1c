"""From an `Arch` to its metrics: the cheap ones first, the dear one never for what is forbidden."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from nas.accuracy.pool import Failure, judged
from nas.arch import Arch, reading_form
from nas.blocks import network_id
from nas.cost import cost


@dataclass(frozen=True)
class Metrics:
    """All that is known of one network; a field is a column of trials.csv.

    state      complete, infeasible (over a limit, never trained) or failed (with the reason).
    accuracy   share of the validation images, with its standard error; what a search sees.
    test_accuracy   the same on images that no decision sees.
    latency_ms, latency_iqr_ms   median and interquartile range.
    """

    id: str
    state: str
    latency_ms: float
    macs: int
    params: int
    peak_memory_bytes: int
    arch: str
    latency_iqr_ms: float = float("nan")
    accuracy: float = float("nan")
    accuracy_se: float = float("nan")
    cross_entropy: float = float("nan")
    test_accuracy: float = float("nan")
    test_accuracy_se: float = float("nan")
    seconds: float = 0.0
    reason: str = ""
    over: dict[str, float] = field(default_factory=dict)

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
    """A latency backend, as far as it matters here."""

    @property
    def name(self) -> str:
        """The backend's name."""

    def measure(self, arch: Arch) -> Any:
        """A timing with `median_ms` and `iqr_ms`."""


Judges = Callable[[Sequence[Arch]], Iterator[Any]]


@dataclass(frozen=True)
class Evaluator:
    """Latency from `timer`, accuracy from `judges`, under `limits`.

    The latencies of a batch are taken before its training begins, while the machine is quiet;
    `latencies` keeps every one that was taken, in ms by network id.
    """

    timer: Timer
    judges: Judges
    limits: Limits = Limits()
    latencies: dict[str, float] = field(default_factory=dict)

    def measured(self, arch: Arch) -> Metrics:
        """Costs and latency, and whether a limit forbids the rest."""
        counts = cost(arch)
        metrics = Metrics(
            network_id(arch), "complete", float("nan"), counts.macs, counts.params,
            counts.peak_memory_bytes, reading_form(arch),
        )  # fmt: skip
        timing = judged(self.timer.measure, arch)
        if isinstance(timing, Failure):
            return replace(metrics, state="failed", reason=f"not measured: {timing.reason}")
        self.latencies[metrics.id] = timing.median_ms
        metrics = replace(metrics, latency_ms=timing.median_ms, latency_iqr_ms=timing.iqr_ms)
        over = self.limits.over(metrics)
        state = "infeasible" if any(v > 0 for v in over.values()) else "complete"
        forbidden = ", ".join(f"{k} {v:+.0%} over" for k, v in over.items() if v > 0)
        return replace(metrics, over=over, state=state, reason=forbidden)

    def __call__(self, archs: Sequence[Arch]) -> Iterator[Metrics]:
        """The metrics of `archs` in their order, each as soon as it is known."""
        found = [self.measured(arch) for arch in archs]
        allowed = [a for a, m in zip(archs, found, strict=True) if m.state == "complete"]
        answers = self.judges(allowed)
        for metrics in found:
            yield _judged(metrics, next(answers)) if metrics.state == "complete" else metrics


def _judged(metrics: Metrics, answer: Any) -> Metrics:
    if isinstance(answer, Failure):
        return replace(metrics, state="failed", reason=answer.reason)
    return replace(
        metrics,
        accuracy=answer.val.accuracy,
        accuracy_se=answer.val.accuracy_se,
        cross_entropy=answer.val.cross_entropy,
        test_accuracy=answer.test.accuracy,
        test_accuracy_se=answer.test.accuracy_se,
        seconds=answer.seconds,
    )
