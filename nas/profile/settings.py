"""The settings of `nas.profile`, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nas.core.config import Component, compose
from nas.core.typed import Multiplier, Range, Side, check_fields


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """conf/profile.yaml; UserError for what is out of range."""

    latency: Component
    arch: str
    resolution: Side | None
    width: Multiplier | None
    classes: Annotated[int, Range(1, 1_000_000)] | None
    measure: bool
    results: str

    @classmethod
    def of(cls, *overrides: str) -> ProfileSettings:
        """The settings that such words on the command line make."""
        return cls(**compose("profile", cls, overrides))

    def __post_init__(self) -> None:
        check_fields(self)
