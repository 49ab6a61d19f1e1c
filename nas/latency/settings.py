"""The settings of `nas.latency`, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import Component, compose
from search_spaces.lookup import PUBLISHED


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """conf/latency.yaml; UserError for what is out of range."""

    space: Component
    data: Component
    latency: Component
    table: Component
    target: float | str | None  # milliseconds, or a published network
    resolution: int | None
    width: float | None
    strict: bool
    results: str

    @classmethod
    def of(cls, *overrides: str) -> LatencySettings:
        """The settings that such words on the command line make."""
        return cls(**compose("latency", overrides))

    def __post_init__(self) -> None:
        check_whole("resolution", self.resolution, 1, 8192, optional=True)
        check_number("width", self.width, 0.05, 16, optional=True)
        check_bool("strict", self.strict)
        if isinstance(self.target, str):
            _ = PUBLISHED[self.target]  # raises for an unknown name
        else:
            check_number("target", self.target, 1e-9, optional=True)
