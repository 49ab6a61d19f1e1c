"""What every network of a search must keep to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from nas.arch.cost import Cost
from nas.core.typed import Range, check_fields

Bound = Annotated[float, Range(0, above=True)]  # infinity bounds nothing

# Limits on costs, with the field of `Cost` that each bounds and how much one unit of it is.
COSTS = {"macs": ("macs", 1), "params": ("params", 1), "memory_kb": ("peak_memory_bytes", 1024)}


@dataclass(frozen=True)
class Limits:
    """What no network may exceed, and how fast it may be at most; None for no limit."""

    latency_ms: Bound | None = None
    min_latency_ms: Bound | None = None
    macs: Bound | None = None
    params: Bound | None = None
    memory_kb: Bound | None = None

    def __post_init__(self) -> None:
        check_fields(self, "limit")

    def to_dict(self) -> dict[str, float | None]:
        """The limits by name."""
        return asdict(self)

    def over(self, latency_ms: float, cost: Cost) -> dict[str, float]:
        """By how much each limit is exceeded, relative to it; at most 0 where it is met."""
        values = {name: getattr(cost, field) / unit for name, (field, unit) in COSTS.items()}
        values["latency_ms"] = latency_ms
        limits = {k: v for k, v in self.to_dict().items() if v is not None}
        least = limits.pop("min_latency_ms", 0.0)
        over = {k: values[k] / limit - 1 for k, limit in limits.items()}
        return over | ({"min_latency_ms": 1 - latency_ms / least} if least else {})
