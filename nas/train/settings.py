"""The settings of `nas.train`, typed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nas.arch.serialization import is_file
from nas.core.checks import check_option
from nas.core.config import Component, compose
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.core.run_folder import check_run
from nas.core.typed import Among, Natural, Side, check_fields
from nas.network.device import DEVICES, resolve_device
from nas.tasks.choice import check_task
from nas.training.first_weights import check_no_weights
from search_spaces.lookup import resolve_network

WEIGHTS = ("none", "file", "pretrained")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """conf/train.yaml; UserError for what is out of range or contradicts itself."""

    task: Component
    data: Component
    budget: Component
    weights: Component
    latency: Component
    arch: str | None
    resolution: Side | None
    measure: bool
    seed: Natural
    device: Annotated[str, Among(DEVICES)]
    run: str | None
    results: str

    @classmethod
    def of(cls, *overrides: str) -> TrainSettings:
        """The settings that such words on the command line make."""
        return cls(**compose("train", cls, completed(overrides)))

    def __post_init__(self) -> None:
        check_fields(self)
        resolve_device(self.device)
        check_option("weights", self.weights.name, WEIGHTS)
        check_task(self.task.name, self.data.name)
        if self.measure and self.latency.node.get("precision") == "int8":
            raise UserError(
                "latency.precision=int8 is not for nas.train, whose accuracies are of float32: "
                "leave it out, and ask nas.export for to=onnx_int8"
            )
        if self.run is not None:
            check_run(self.run)
        if self.arch is None and self.weights.name == "pretrained":
            raise UserError("weights=pretrained needs a published network: give arch=mobilenet_v2")
        if self.published_name:
            resolve_network(self.published_name)
        elif self.weights.name == "pretrained":
            raise UserError(
                f"weights=pretrained is for a published network, not for arch={self.arch}: name "
                "one (arch=mobilenet_v2), or give weights=file weights.path=..."
            )
        self._check_path()

    def _check_path(self) -> None:
        path = self.weights.node["path"]
        if self.from_scratch:
            check_no_weights(self.weights.node)
        if path is None and self.weights.name != "file":
            return
        if not isinstance(path, str) or not user_path(path).is_file():
            raise UserError(f"weights.path={path} is no file: give a .pth, .pt or .safetensors")

    @property
    def from_scratch(self) -> bool:
        """Whether the first weights are drawn at random."""
        return self.weights.name == "none"

    @property
    def weights_path(self) -> str | None:
        """The file of the first weights, where one is given."""
        path: str | None = self.weights.node["path"]
        return path

    @property
    def weights_key(self) -> str | None:
        """Where in the file they are, where that is given."""
        key: str | None = self.weights.node.get("key")
        return key

    @property
    def published_name(self) -> str | None:
        """The published network that is asked for, if any."""
        return None if self.arch is None or is_file(self.arch) else self.arch


def completed(overrides: Sequence[str]) -> list[str]:
    """What was given, and the budget that follows where it asks for boxes or masks."""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    dense = given.get("task", "classification") != "classification" and "budget" not in given
    return [*(("budget=dense",) if dense else ()), *overrides]
