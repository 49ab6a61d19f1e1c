"""What `nas.search` is asked for, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import Component, compose, config_of
from nas.core.errors import UserError, unknown
from nas.network.device import resolve_device
from nas.space.limits import Limits
from search_spaces.lookup import PUBLISHED

NUM_TRAINED, NUM_SCORED = 40, 300  # trials, where each takes seconds, or milliseconds
COUNTS = {"finalists": 1, "spread": 0, "workers": 1, "seed": 0}  # and the least of each
# Settings that may differ between two calls of one run.
MAY_CHANGE = ("trials", "finalists", "spread", "random", "results", "run", "device", "strict")


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of a search; conf/search.yaml says what each means and its default.

    `SearchSettings.of("data=folder", "target=1.5")` takes words as the command line does.
    Raises UserError for values that are out of range or contradict each other.
    """

    space: Component
    data: Component
    accuracy: Component
    budget: Component
    latency: Component
    table: Component
    sampler: Component
    trials: int | None
    finalists: int
    spread: int
    random: int | None
    target: float | str
    limit: Limits
    width: float | None
    references: tuple[str, ...]
    warm_start: str | None
    seed: int
    workers: int
    device: str
    run: str
    results: str
    storage: str | None
    strict: bool

    @classmethod
    def of(cls, *overrides: str) -> SearchSettings:
        """The settings after `overrides`, each "name=value"."""
        given = compose("search", overrides)
        given["limit"] = _limits(given["limit"])
        names = given["references"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"references must be a list of published networks, not {names!r}")
        given["references"] = tuple(names)
        given["run"] = str(given["run"] or given["space"].name)
        given["results"] = str(given["results"])
        return cls(**given)

    def __post_init__(self) -> None:
        for name, low in COUNTS.items():
            check_whole(name, getattr(self, name), low)
        check_whole("trials", self.trials, 1, optional=True)
        check_whole("random", self.random, 0, optional=True)
        check_bool("strict", self.strict)
        check_number("width", self.width, 0.05, 16, optional=True)
        if self.target is None:
            raise UserError("target must be milliseconds or a published network, not null")
        named = [self.target] if isinstance(self.target, str) else []
        for network in [*self.references, *named]:
            _ = PUBLISHED[network]  # raises where there is none
        if not named:
            check_number("target", self.target, 1e-9)
        resolve_device(self.device)
        if not re.fullmatch(r"(?!\.)[\w.-]+", self.run):
            raise UserError(
                f"run must be a name of letters, digits, '-', '_', '.', not {self.run!r}"
            )

    def num_trials(self, trains_each: bool) -> int:
        """Distinct networks to evaluate; fewer by default where each of them is trained."""
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
        kept = {name: value for name, value in config.items() if name not in MAY_CHANGE}
        return kept | {
            "limit": self.limit.to_dict(),
            "references": list(self.references),
            "groups": {name: choices[name] for name in ("space", "accuracy", "sampler")},
            "data_fingerprint": data_fingerprint,
            "latency_table": latency_table,
        }


def _limits(given: Any) -> Limits:
    """The limits of the configuration; None and infinity mean none but for latency."""
    if not isinstance(given, Mapping):
        raise UserError(f"limit must be given by parts (limit.macs=...), not {given!r}")
    names = [f.name for f in fields(Limits)]
    for name, value in given.items():
        if name not in names:
            raise unknown("limit", name, names)
        check_number(f"limit.{name}", value, 1e-9, optional=True)
    return Limits(**given)
