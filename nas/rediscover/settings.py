"""The settings of `nas.rediscover`, typed and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from nas.accuracy.oneshot import OneShotSettings
from nas.accuracy.predictor import PredictorSettings
from nas.core.config import Component, compose
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.core.run_folder import check_run
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
from nas.data.dense import require_classes
from nas.network.device import DEVICES, resolve_device
from nas.search.samplers.for_space import REWARDS
from nas.search.settings import SearchSettings
from nas.space.limits import Limits
from search_spaces.lookup import PUBLISHED, at_width, check_target

MIN_SEARCHES = 3
SPACE = "mobilenet_v3"
BLEND = {"accuracy.transfer": "false", "accuracy.near_target": "0"}
WITHIN = 0.02  # of the target: by how much a network that is as fast may be faster


class Size(NamedTuple):
    """What a budget gives.

    searches   how many
    trials     networks that each of them scores
    seconds    of its judge's training
    images     training images of a network that is trained alone; None: all
    """

    searches: int
    trials: int
    seconds: float
    images: int | None


SIZES = {
    "quick": Size(3, 40, 30, 2500),
    "standard": Size(5, 400, 480, None),
    "full": Size(10, 1000, 3600, None),
}


@dataclass(frozen=True, kw_only=True)
class RediscoverSettings:
    """conf/rediscover.yaml; UserError for what is out of range."""

    space: Component
    data: Component
    accuracy: Component
    budget: Component
    latency: Component
    table: Component
    executor: Component
    searches: Annotated[int, Range(MIN_SEARCHES)] | None
    trials: Count | None
    images: Count | None
    label_epochs: Count | None
    controls: Annotated[int, Range(50)]
    ranked: Annotated[int, Range(10)]
    seeds: Annotated[int, Range(2)]
    target: Milliseconds | str
    rivals: Sequence[str]
    rewards: Sequence[Annotated[str, Among(REWARDS)]]
    published: str | None
    width: Multiplier | None
    seed: Natural
    workers: Workers
    device: Annotated[str, Among(DEVICES)]
    run: str
    results: str
    strict: bool

    @classmethod
    def of(cls, *overrides: str) -> RediscoverSettings:
        """The settings that such words on the command line make."""
        given = compose("rediscover", cls, completed(overrides))
        given["run"] = given["run"] or given["space"].name
        return cls(**given)

    def __post_init__(self) -> None:
        check_fields(self)
        require_classes("rediscover", self.data.name)
        check_target(self.target)
        resolve_device(self.device)
        self._check_names()
        judge = self.accuracy.make()
        if not isinstance(judge, OneShotSettings | PredictorSettings):
            raise UserError(
                f"accuracy={self.accuracy.name} trains no judge of its own for each search: give "
                "accuracy=oneshot or accuracy=blend, or leave it out"
            )
        if isinstance(judge, PredictorSettings) and judge.transfer:
            raise UserError(
                "accuracy.transfer=true holds an answer that all searches would share: leave it out"
            )
        if self.label_epochs and not isinstance(judge, PredictorSettings):
            raise UserError("label_epochs is for accuracy=blend: leave it out")
        if self.ranked > self.controls:
            raise UserError(f"ranked={self.ranked} of controls={self.controls} networks: give less")
        if self.published and not user_path(self.published).is_file():
            raise UserError(f"there is no file {self.published}: give another published=, or none")

    def _check_names(self) -> None:
        check_run(self.run)
        if self.space.name != SPACE:
            raise UserError(
                f"space={self.space.name} is not what is asked about: leave it out for {SPACE}, "
                "and change its ranges, space.kernels=[3,5]"
            )
        if self.latency.node.get("precision") == "int8":
            raise UserError("latency.precision=int8 is not for nas.rediscover: leave it out")
        for name in self.rivals:
            _ = PUBLISHED[name]  # raises where there is none
            if at_width(name, 0.5) == name:
                raise UserError(
                    f"rivals: {name} has one width, and is to be made as fast as the target by "
                    "another: name it without"
                )

    @property
    def size(self) -> Size:
        """The number and length of the searches, by the budget and what was given."""
        size = SIZES.get(self.budget.name, SIZES["standard"])
        seconds = self.accuracy.node.get("budget", {}).get("seconds") or size.seconds
        return Size(
            searches=self.searches or size.searches,
            trials=self.trials or size.trials,
            seconds=seconds,
            images=self.images or size.images,
        )

    @property
    def label_budget(self) -> Component:
        """Of the trainings that a blend learns from, and of each search's finalist."""
        return self.budget.updated(epochs=self.label_epochs) if self.label_epochs else self.budget

    def describe_judge(self) -> str:
        """What judges a search, in words."""
        judge = self.accuracy.make()
        if isinstance(judge, OneShotSettings):
            return f"a supernet of its own, trained for {self.size.seconds:g} s"
        epochs = self.label_budget.node["epochs"]
        each = f"{epochs} epoch{'s' * (epochs != 1)}"
        return f"a model of its own, of {judge.num_labels} trainings of {each}"

    def to_search(self, number: int, target_ms: float) -> SearchSettings:
        """The search of that number, among networks as fast as the target alone."""
        limit = Limits(latency_ms=target_ms, min_latency_ms=(1 - WITHIN) * target_ms)
        given = self._search(str(number), self.seed + number, target_ms, "limit")
        return replace(given, limit=limit)

    def by_reward(self, reward: str | None, target: float | str) -> SearchSettings:
        """A search of the whole space by that reward; None: the first, or of the target alone."""
        name = reward or next(iter(self.rewards), None)
        return self._search(name or "target", self.seed, target, name or "limit")

    def _search(self, name: str, seed: int, target: float | str, objective: str) -> SearchSettings:
        words: dict[str, Any] = {
            "accuracy": "oneshot",
            "target": target,
            "trials": self.size.trials,
            "finalists": 1,
            "spread": 0,
            "random": 0,
            "references": [],
            "seed": seed,
            "workers": self.workers,
            "device": self.device,
            "strict": self.strict,
            "run": f"{self.run}_{name}",
            "sampler.objective": objective,
        }
        base = SearchSettings.of(*(f"{name}={_text(value)}" for name, value in words.items()))
        accuracy = self.accuracy
        if "budget" in accuracy.node:
            budget = {**accuracy.node["budget"], "seconds": self.size.seconds}
            accuracy = accuracy.updated(budget=budget)
        return replace(
            base,
            space=self.space,
            data=self.data,
            accuracy=accuracy,
            budget=self.label_budget,
            latency=self.latency,
            table=self.table,
            executor=self.executor,
            width=self.width,
            results=self.results,
        )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def completed(overrides: Sequence[str]) -> list[str]:
    """What was given, and of accuracy=blend what is its default here.

    Nothing is known before, and all labels are drawn alike, since all networks are near the target.
    """
    words = {word.partition("=")[0]: word.partition("=")[2] for word in overrides}
    missing = BLEND.keys() - words.keys() if words.get("accuracy") == "blend" else ()
    return [*(f"{name}={BLEND[name]}" for name in sorted(missing)), *overrides]
