"""The settings of `nas.profile`, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nas.core.config import Component, compose
from nas.core.errors import UserError
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
        self._check_names()

    @property
    def names(self) -> list[str]:
        """The networks of `arch`: one, or several with commas between them."""
        alone = "," not in self.arch or Path(self.arch).is_file()
        return [self.arch] if alone else [name.strip() for name in self.arch.split(",")]

    def _check_names(self) -> None:
        if len(self.names) > len(set(self.names)) or "" in self.names:
            raise UserError(
                f"arch={self.arch} must name different networks with a comma between two, such as "
                "arch=mobilenet_v2,mobilenet_v3_small"
            )
