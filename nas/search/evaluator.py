"""Metrics of networks: costs and latency first, accuracy only where no limit is exceeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from nas.accuracy.estimate import Estimate, Failure, call_safely
from nas.accuracy.judge import Judge, Thresholds
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.latency.store import LatencySource
from nas.latency.timing import Timing
from nas.search.metrics import Metrics
from nas.space.limits import Limits

PruningRule = Callable[[Sequence[Metrics]], Sequence[Thresholds]]  # see samplers/pruning.py


@dataclass(frozen=True)
class Evaluator:
    """Latency from `latency`, accuracy from `judge`, under `limits`.

    The latencies of a batch are taken before its training begins, while the machine is quiet.
    Networks slower than `max_ms` are not judged either, but for those whose id is in `exempt`.
    `timings` keeps every timing by network: none is timed twice.
    """

    latency: LatencySource
    judge: Judge
    limits: Limits = field(default_factory=Limits)
    max_ms: float = math.inf
    exempt: frozenset[str] = frozenset()
    pruning: PruningRule | None = None
    timings: dict[str, Timing | Failure] = field(default_factory=dict)

    def unlimited(self) -> Evaluator:
        """The same without limits, for networks that are judged whatever they cost."""
        return replace(self, limits=Limits(), max_ms=math.inf)

    def measure(self, archs: Sequence[Arch]) -> list[Metrics]:
        """Costs and latencies, and whether a limit forbids the rest."""
        ids = [network_id(arch) for arch in archs]
        new = {key: arch for key, arch in zip(ids, archs, strict=True) if key not in self.timings}
        self.timings.update(zip(new, self._time(list(new.values())), strict=True))
        return [self._metrics(key, arch) for key, arch in zip(ids, archs, strict=True)]

    def _time(self, archs: Sequence[Arch]) -> list[Timing | Failure]:
        """Timings of `archs` together, or where that fails one by one, to learn which failed."""
        together = call_safely(self.latency.measure_many, archs)
        if not isinstance(together, Failure):
            return list(together)
        each = [call_safely(self.latency.measure_many, [arch]) for arch in archs]
        return [one if isinstance(one, Failure) else one[0] for one in each]

    def _metrics(self, key: str, arch: Arch) -> Metrics:
        counts, timing = cost(arch), self.timings[key]
        ms, over = math.nan, {}
        if isinstance(timing, Failure):
            state, reason = "failed", f"not measured: {timing.reason}"
        else:
            ms = timing.median_ms
            over = self.limits.over(ms, counts)
            if self.limits.latency_ms is None:
                excess = ms / self.max_ms - 1
                over["latency_ms"] = min(excess, 0.0) if key in self.exempt else excess
            reason = ", ".join(
                f"{k} {excess:+.0%} {'under' if k.startswith('min_') else 'over'}"
                for k, excess in over.items()
                if excess > 0
            )
            state = "infeasible" if reason else "complete"
        sizes = {k: getattr(counts, k) for k in ("macs", "params", "peak_memory_bytes")}
        return Metrics(key, state, ms, **sizes, arch=arch_string(arch), reason=reason, over=over)

    def __call__(self, archs: Sequence[Arch]) -> Iterator[tuple[int, Metrics]]:
        """(index, metrics) of each of `archs`, as soon as they are known, in any order."""
        measured = self.measure(archs)
        feasible = [i for i, metrics in enumerate(measured) if metrics.state == "complete"]
        yield from ((i, m) for i, m in enumerate(measured) if m.state != "complete")
        thresholds = self.pruning([measured[i] for i in feasible]) if self.pruning else ()
        for j, estimate in self.judge.estimate([archs[i] for i in feasible], thresholds):
            yield feasible[j], with_estimate(measured[feasible[j]], estimate)


def with_estimate(metrics: Metrics, estimate: Estimate | Failure) -> Metrics:
    """The metrics of a network, with what a judge said of it."""
    if isinstance(estimate, Failure):
        return replace(metrics, state="failed", reason=estimate.reason)
    metrics = replace(
        metrics,
        rungs={str(epochs): value for epochs, value in estimate.rungs.items()},
        score=estimate.value,
        score_se=estimate.standard_error,
        fidelity=estimate.fidelity,
        seconds=estimate.seconds,
    )
    if estimate.threshold is not None:
        reason = (
            f"score {estimate.value:.3g} after epoch {max(estimate.rungs)}, "
            f"{estimate.threshold:.3g} needed for the front"
        )
        return replace(metrics, state="pruned", reason=reason)
    if val := estimate.val:
        metrics = replace(metrics, accuracy=val.accuracy, accuracy_se=val.accuracy_se)
        metrics = replace(metrics, cross_entropy=val.cross_entropy)
    if whole := estimate.float_val:
        metrics = replace(metrics, float_accuracy=whole.accuracy)
    if test := estimate.test:
        metrics = replace(metrics, test_accuracy=test.accuracy, test_accuracy_se=test.accuracy_se)
        metrics = replace(metrics, test_correct=estimate.test_correct)
    return metrics
