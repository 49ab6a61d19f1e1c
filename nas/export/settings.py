"""The settings of `nas.export`, typed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nas.core.cli import CONF
from nas.core.config import Component, compose, usual
from nas.core.errors import UserError
from nas.core.files import parse_yaml
from nas.core.run_folder import check_run
from nas.core.typed import Among, Count, Natural, check_fields
from nas.export.formats.registry import FORMATS
from nas.network.device import DEVICES, resolve_device

BATCHES = ("1", "free")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """conf/export.yaml; UserError for what is out of range or contradicts itself."""

    budget: Component
    arch: str | None
    weights: str | None
    to: Sequence[Annotated[str, Among(FORMATS)]]
    batch: Annotated[str, Among(BATCHES)]
    preprocess: bool
    qat: bool
    calibration: Count
    threads: Natural
    root: str | None
    seed: Natural
    device: Annotated[str, Among(DEVICES)]
    run: str | None
    results: str

    @classmethod
    def of(cls, *overrides: str) -> ExportSettings:
        """The settings that such words on the command line make."""
        return cls(**compose("export", cls, overrides))

    def __post_init__(self) -> None:
        check_fields(self)
        resolve_device(self.device)
        if self.run is not None:
            check_run(self.run)
        if not self.to:
            raise UserError(f"to=[] asks for nothing: allowed are {', '.join(FORMATS)}")
        if not any(FORMATS[name].precision == "int8" for name in self.to):
            usual_one = parse_yaml((CONF / "export.yaml").read_text(encoding="utf-8"))
            other = self.calibration != usual_one["calibration"]
            asked = {"qat=true": self.qat, f"calibration={self.calibration}": other}
            for what in (what for what, given in asked.items() if given):
                raise UserError(f"{what} is for 8-bit files: add one to to= (to=[onnx,onnx_int8])")
        if not self.qat and self.budget != usual("budget", "qat"):
            raise UserError("budget= is of training on, and nothing is trained: give qat=true too")
        if self.weights and not self.arch:
            raise UserError("weights= is of a network: give it too (arch=network.yaml)")
