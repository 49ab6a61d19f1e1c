"""The settings of `nas.profile`, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import Component, compose


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """conf/profile.yaml; UserError for what is out of range."""

    latency: Component
    arch: str
    resolution: int | None
    width: float | None
    classes: int | None
    measure: bool
    results: str

    @classmethod
    def of(cls, *overrides: str) -> ProfileSettings:
        """The settings that such words on the command line make."""
        return cls(**compose("profile", overrides))

    def __post_init__(self) -> None:
        check_bool("measure", self.measure)
        check_number("width", self.width, 0.05, 16, optional=True)
        check_whole("resolution", self.resolution, 1, 8192, optional=True)
        check_whole("classes", self.classes, 1, 1_000_000, optional=True)
