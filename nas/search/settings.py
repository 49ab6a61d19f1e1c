"""What `nas.search` is asked for, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from nas.arch.serialization import is_file
from nas.core.config import Component, compose, config_of
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.core.run_folder import check_run, folder_name, without_password
from nas.core.typed import (
    Among,
    Count,
    Milliseconds,
    Multiplier,
    Natural,
    Range,
    Workers,
    check_fields,
)
from nas.data.dataset import ANY_SIZE
from nas.data.dense import SIDES
from nas.network.device import DEVICES, resolve_device
from nas.space.limits import Limits
from nas.tasks.choice import CLASSES, check_task
from nas.tasks.task import Task
from nas.training.first_weights import check_no_weights
from search_spaces.lookup import check_published, check_target, side_of_head

NUM_TRAINED, NUM_SCORED = 40, 300  # trials, where each takes seconds, or milliseconds
NUM_INHERITED = 32  # where weights are inherited
# With weights=pretrained or file these take the place of conf/search.yaml's.
WITH_WEIGHTS = {
    "space": "inherited",
    "accuracy": "inherited",
    "table": "short",
    "limit.latency_ms": "inf",
    "references": "[]",
    "finalists": "2",
    "spread": "2",
}
# With another task than classes these too, unless a budget is given: a training of boxes or masks
# takes much longer.
FOR_TASKS = {"budget": "dense", "budget.epochs": "15"}
OF_WEIGHTS = ("arch", "weights", "resolutions")  # settings that mean nothing without
RESOLUTION = 96  # pixels; minutes on two cores with a thousand pictures
# Settings that may differ between two calls of one run.
MAY_CHANGE = (
    *("trials", "finalists", "spread", "random", "results", "run", "device", "strict"),
    *("executor", "refine"),
)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of a search; conf/search.yaml says what each means and its default.

    `SearchSettings.of("data=folder", "target=1.5")` takes words as the command line does.
    Raises UserError for values that are out of range or contradict each other.
    """

    task: Component
    space: Component
    data: Component
    accuracy: Component
    budget: Component
    weights: Component
    latency: Component
    table: Component
    sampler: Component
    executor: Component
    refine: Component
    arch: str | None
    resolutions: Sequence[Annotated[int, Range(32, 8192)]] | None
    trials: Count | None
    finalists: Count
    spread: Natural
    random: Natural | None
    target: Milliseconds | str
    limit: Limits
    width: Multiplier | None
    references: Sequence[str]
    warm_start: str | None
    seed: Natural
    workers: Workers
    device: Annotated[str, Among(DEVICES)]
    run: str
    results: str
    storage: str | None
    strict: bool

    @classmethod
    def of(cls, *overrides: str) -> SearchSettings:
        """The settings after `overrides`, each "name=value"."""
        given = compose("search", cls, completed(overrides))
        if given["weights"].name != "none":
            given |= _inheriting(given)
        given["run"] = given["run"] or given["space"].name
        return cls(**given)

    def __post_init__(self) -> None:
        check_fields(self)
        check_task(self.task.name, self.data.name)
        dense = self.task.name != CLASSES
        for network in self.references:
            check_published(network, dense)
        check_target(self.target, dense)
        resolve_device(self.device)
        self._check_weights()
        self._check_sampler()
        self._check_refine()
        self._check_unused()
        check_run(self.run)

    @property
    def inherits(self) -> bool:
        """Whether networks begin with the weights of a trained one."""
        return self.weights.name != "none"

    def make_task(self) -> Task | None:
        """Boxes or masks; None for classes."""
        made: Task | None = None if self.task.name == CLASSES else self.task.make()
        return made

    @property
    def precision(self) -> str:
        """In which networks are judged: int8 where their latency is that of 8 bits, or float32."""
        return "int8" if self.latency.node.get("precision") == "int8" else "float32"

    def _check_weights(self) -> None:
        for group in ("space", "accuracy"):
            if (getattr(self, group).name == "inherited") != self.inherits:
                raise UserError(
                    f"{group}={getattr(self, group).name} does not go with "
                    f"weights={self.weights.name}: give weights=pretrained arch=... alone, or "
                    "neither it nor space=inherited accuracy=inherited"
                )
        of_classes = self.task.name == CLASSES
        if self.inherits and (of_classes or self.precision == "float32"):
            return
        if not of_classes:
            given = "latency.precision=int8" if self.inherits else "no weights"
            raise UserError(
                f"task={self.task.name} is searched from weights, in float32 (here: {given}): "
                "give weights=pretrained arch=... (arch=tf_efficientnet_lite0)"
            )
        check_no_weights(self.weights.node)
        if self.arch is not None or self.resolutions is not None:
            raise UserError(
                "arch= and resolutions= are for a search that inherits weights: give "
                "weights=pretrained (or weights=file weights.path=...) too"
            )

    def _check_sampler(self) -> None:
        if "seed" in self.sampler.node:
            raise UserError("sampler.seed is made of seed= for every trial: give that")
        for name, value in self.sampler.arguments.items():
            if isinstance(value, str) and self.sampler.name != "known_cost":
                raise UserError(f"sampler.{name} is no text for Optuna, and cannot be {value!r}")

    def _check_unused(self) -> None:
        """A search with weights finds its networks by exact sums, and has no use for these."""
        objective = self.sampler.node.get("objective", "both")
        given = {
            "limit.min_latency_ms": self.limit.min_latency_ms,
            "random": self.random,
            "warm_start": self.warm_start,
            "sampler": self.sampler.name if self.sampler.name != "known_cost" else None,
            "sampler.objective": None if objective == "both" else objective,
        }
        for name, value in given.items() if self.inherits else ():
            if value:
                raise UserError(f"{name}={value} is not for a search with weights: leave it out")

    def _check_refine(self) -> None:
        if self.refine.name != "none" and (self.inherits or self.task.name != CLASSES):
            raise UserError(
                f"refine={self.refine.name} shrinks a network of classes that was trained from "
                f"scratch, and does not go with weights={self.weights.name} task={self.task.name}: "
                "leave it out"
            )

    def num_trials(self, trains_each: bool) -> int:
        """Distinct networks to evaluate; fewer by default where each of them is trained."""
        if self.inherits:
            return self.trials or NUM_INHERITED
        return self.trials or (NUM_TRAINED if trains_each else NUM_SCORED)

    def num_random(self, trains_each: bool) -> int:
        """Random networks to evaluate for comparison."""
        if self.random is None:
            return 0 if trains_each else self.num_trials(trains_each)
        return self.random

    def to_config(self, data_fingerprint: str, latency_table: str) -> dict[str, Any]:
        """What a run keeps from its first call to its last, as plain data for config.yaml.

        `groups` names the options that may differ by nothing but the code behind them.
        """
        config = config_of(self)
        choices = config.pop("choices")
        if self.task.name != CLASSES:  # earlier runs had no other
            config["task"]["name"] = self.task.name
        free = (*MAY_CHANGE, "target") if self.inherits else (*MAY_CHANGE, *OF_WEIGHTS)
        kept = {name: value for name, value in config.items() if name not in free}
        return kept | {
            "limit": self.limit.to_dict(),
            "storage": self.storage and without_password(self.storage),
            "references": list(self.references),
            **({"resolutions": list(self.resolutions)} if self.resolutions else {}),
            "groups": {name: choices[name] for name in ("space", "accuracy", "sampler")},
            "data_fingerprint": data_fingerprint,
            "latency_table": latency_table,
        }


def completed(overrides: Sequence[str]) -> list[str]:
    """What was given, and what follows from it where it names weights."""
    given = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    if given.get("weights", "none") == "none":
        return list(overrides)
    implied = {**WITH_WEIGHTS}
    if given.get("task", CLASSES) != CLASSES and "budget" not in given:
        implied |= FOR_TASKS
    if (folder := user_path(given.get("arch", ""))).is_dir() and given.get("arch"):
        implied["weights.path"] = str(folder / "weights.pt")
    return [*(f"{key}={value}" for key, value in implied.items() if key not in given), *overrides]


def _inheriting(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a search that inherits weights, with what was left open."""
    arch, path = given["arch"], given["weights"].node["path"]
    if given["width"] is not None:
        raise UserError(f"width={given['width']} does not go with weights, which have their own")
    if arch is None:
        raise UserError(
            "arch must be given with weights: a published network (arch=efficientnet_lite0), a "
            "YAML file, or a folder of nas.train"
        )
    run = given["run"] or folder_name(Path(str(arch)).name.removesuffix(".yaml"))
    if (folder := user_path(str(arch))).is_dir():
        arch = str(folder / "network.yaml")
    for file in (arch if is_file(arch) else None, path):
        if file and not user_path(file).is_file():
            raise UserError(f"there is no file {file}: give another arch= or weights.path=")
    data, sides = given["data"], given["resolutions"]
    task = given["task"].name
    if sides is None:
        of_head = None if task == CLASSES else side_of_head(str(arch))
        most = data.node.get("resolution") or of_head or SIDES.get(task, RESOLUTION)
        smaller = -(-2 * most // 96) * 32  # two thirds, to the next multiple of 32
        sides = [most, smaller] if smaller < most and task == CLASSES else [most]
    if not sides:
        raise UserError("resolutions must hold a side in pixels at least, such as [96,64]")
    if data.node["name"] in ANY_SIZE:
        data = data.filled(resolution=max(sides))
    elif task != CLASSES:
        data = data.updated(resolution=max(sides))
    return {
        "data": data,
        "run": run,
        "arch": arch,
        "resolutions": tuple(sides),
        "space": given["space"].updated(arch=arch, resolutions=list(sides)),
        "accuracy": given["accuracy"].updated(arch=arch, path=path),
        "width": 1.0,
    }
