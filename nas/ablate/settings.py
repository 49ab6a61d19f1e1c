"""The settings of `nas.ablate`, typed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nas.ablate.ablations import ABLATIONS
from nas.core.config import Component, compose
from nas.core.errors import UserError
from nas.core.typed import Among, Count, Natural, Range, Side, Workers, check_fields
from nas.data.dense import require_classes
from nas.network.device import DEVICES, resolve_device

MIN_SEEDS = 2  # or nothing tells how far trainings of one network differ


@dataclass(frozen=True, kw_only=True)
class AblateSettings:
    """conf/ablate.yaml; UserError for what is out of range."""

    data: Component
    budget: Component
    latency: Component
    executor: Component
    arch: str | None
    ablations: Sequence[Annotated[str, Among(ABLATIONS)]] | None
    seeds: Annotated[int, Range(MIN_SEEDS)]
    images: Count | None
    resolution: Side | None
    measure: bool
    seed: Natural
    workers: Workers
    device: Annotated[str, Among(DEVICES)]
    results: str

    @classmethod
    def of(cls, *overrides: str) -> AblateSettings:
        """The settings that such words on the command line make."""
        return cls(**compose("ablate", cls, overrides))

    def __post_init__(self) -> None:
        check_fields(self)
        require_classes("ablate", self.data.name)
        resolve_device(self.device)
        if self.measure and self.latency.node.get("precision") == "int8":
            raise UserError(
                "latency.precision=int8 is not for nas.ablate, whose accuracies are of float32: "
                "leave it out"
            )
        if self.ablations is not None and not self.ablations:
            raise UserError(f"ablations=[] asks for nothing: allowed are {', '.join(ABLATIONS)}")

    @property
    def names(self) -> Sequence[str]:
        """The ablations that are asked for."""
        return list(ABLATIONS) if self.ablations is None else self.ablations
