"""The settings of `nas.latency`, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.config import Component, compose
from nas.core.typed import Milliseconds, Multiplier, Side, check_fields
from nas.data.dense import require_classes
from search_spaces.lookup import check_target


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """conf/latency.yaml; UserError for what is out of range."""

    space: Component
    data: Component
    latency: Component
    table: Component
    target: Milliseconds | str | None  # milliseconds, or a published network
    resolution: Side | None
    width: Multiplier | None
    strict: bool
    results: str

    @classmethod
    def of(cls, *overrides: str) -> LatencySettings:
        """The settings that such words on the command line make."""
        return cls(**compose("latency", cls, overrides))

    def __post_init__(self) -> None:
        check_fields(self)
        require_classes("latency", self.data.name)
        check_target(self.target)
