"""What `nas.scale` is asked for: typed, checked, and fixed from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from nas.arch.scaling import EFFICIENTNET, REPEATS, RULES, TABLES
from nas.core.checks import check_option
from nas.core.config import Component, compose, usual
from nas.core.errors import UserError
from nas.core.typed import Among, Milliseconds, Natural, Range, Side, Workers, check_fields
from nas.data.dense import require_classes
from nas.network.device import DEVICES, resolve_device
from nas.scale.family import MAX_ABS_PHI
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.fit import OBJECTIVES

DEFAULT_PHI = 3  # where none is given; below zero where the fit is


@dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """The settings of conf/scale.yaml, where each is explained; `of` composes them.

    Raises UserError for values out of range and for settings that contradict each other.
    """

    data: Component
    budget: Component
    fit: Component
    accuracy: Component
    latency: Component
    executor: Component
    phi: Annotated[float, Range(-MAX_ABS_PHI, MAX_ABS_PHI)] | None
    macs: Annotated[float, Range(1)] | None
    latency_ms: Milliseconds | None
    arch: str | None
    resolution: Side | None
    coefficients: Sequence[float] | None
    rule: Annotated[str, Among(("formula", "published", *RULES))] | None
    name: Annotated[str, Among(TABLES)] | None
    fixed_ends: bool
    repeats: Annotated[str, Among(REPEATS)]
    objective: Annotated[str, Among(OBJECTIVES)]
    measure: bool
    train: bool
    seed: Natural
    workers: Workers
    device: Annotated[str, Among(DEVICES)]
    results: str

    @classmethod
    def of(cls, *overrides: str) -> ScaleSettings:
        """The settings after `overrides`, words as on the command line: "phi=2"."""
        return cls(**compose("scale", cls, overrides))

    def __post_init__(self) -> None:
        self._check_each()
        self._check_together()
        if self.phi is None and self.cost_limit is None and self.rule != "published":
            self._fill_in("phi", -DEFAULT_PHI if self._fits_shrinking else DEFAULT_PHI)
        if self.rule == "formula" and self.coefficients is None:
            self._fill_in("coefficients", list(EFFICIENTNET))
        elif self.coefficients is not None:
            self._check_coefficients(self.coefficients)

    def _fill_in(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the class is frozen for everybody else

    @cached_property
    def fit_budget(self) -> FitBudget:
        """The settings of the fit."""
        made: FitBudget = self.fit.make()
        return made

    @property
    def is_fitted(self) -> bool:
        """Whether coefficients are fitted, since neither they nor a rule are given."""
        return self.rule is None and self.coefficients is None

    @property
    def shares_weights(self) -> bool:
        """Whether one elastic network judges the first networks of a fit."""
        return self.accuracy.name == "oneshot"

    @property
    def cost_limit(self) -> tuple[str, float] | None:
        """What is given in place of phi, "macs" or "latency_ms", and how much of it."""
        if self.macs is not None:
            return "macs", float(self.macs)
        return None if self.latency_ms is None else ("latency_ms", float(self.latency_ms))

    @property
    def _fits_shrinking(self) -> bool:
        return self.is_fitted and self.fit_budget.phi < 0

    def _check_each(self) -> None:
        check_fields(self)
        require_classes("scale", self.data.name)
        check_option("accuracy", self.accuracy.name, ("scratch", "oneshot"))
        resolve_device(self.device)
        _ = self.fit_budget  # checks its own settings

    def _check_together(self) -> None:
        bounds = [name for name in ("phi", "macs", "latency_ms") if getattr(self, name) is not None]
        if len(bounds) > 1:
            raise UserError(f"give one of phi=, macs= and latency_ms=, not {' and '.join(bounds)}")
        if self.latency_ms is not None and not self.measure:
            raise UserError("latency_ms= needs latencies: drop measure=false")
        if self.is_fitted and self.objective != "macs" and not self.measure:
            raise UserError(f"objective={self.objective} needs latencies: drop measure=false")
        if self.is_fitted and self.latency.node.get("precision") == "int8":
            raise UserError(
                "latency.precision=int8 is not for a fit, whose accuracies are of float32: leave "
                "it out, or give coefficients="
            )
        if not self.is_fitted and self.objective != "macs":
            raise UserError(
                f"objective={self.objective} is what a fit holds equal, and nothing is fitted with "
                "a rule= or coefficients=: leave it out"
            )
        if not self.is_fitted and (given := self._of_a_fit()):
            raise UserError(
                f"{given} is for a fit, and nothing is fitted with a rule= or coefficients=: leave "
                "one or the other out"
            )
        if self.rule == "published" and (self.fixed_ends or self.repeats != "ceil"):
            raise UserError(
                "fixed_ends= and repeats= mean nothing to rule=published, a table: leave them out"
            )
        if self.rule == "published" and (self.phi is not None or not (self.name or bounds)):
            text = "rule=published follows a table and has no phi: give name=b3, or a budget"
            raise UserError(text)
        if self.name and self.rule != "published":
            text = f"name={self.name} is a row of rule=published: give that too, or drop it"
            raise UserError(text)
        if self.coefficients is not None and self.rule not in (None, "formula"):
            text = f"coefficients= are those of rule=formula, not of rule={self.rule}: drop one"
            raise UserError(text)
        if self.shares_weights and self.fit_budget.confirm_seeds == 0:
            raise UserError(
                "accuracy=oneshot needs longer trainings to test its order by: give "
                "fit.confirm_seeds=2 or more, or accuracy=scratch"
            )
        if self._fits_shrinking and (self.phi or 0) > 0:
            raise UserError(
                f"fit.phi=-1 fits how to shrink, phi={self.phi:g} grows: give a phi below 0, or "
                "drop fit.phi"
            )

    def _of_a_fit(self) -> str:
        """What was given that only a fit reads; "" where nothing was."""
        groups = {"accuracy": "scratch", "fit": "quick"}
        groups |= {} if self.train else {"budget": "quick"}
        for group, option in groups.items():
            asked, common = getattr(self, group), usual(group, option)
            if asked.name != option:
                return f"{group}={asked.name}"
            for key, value in asked.node.items():
                if value != common.node.get(key):
                    return f"{group}.{key}={value}"
        return ""

    def _check_coefficients(self, given: Any) -> None:
        triple = given if isinstance(given, list | tuple) else []
        numbers = [c for c in triple if isinstance(c, int | float) and not isinstance(c, bool)]
        if len(numbers) != 3 or len(triple) != 3 or not all(0 < c <= 10 for c in numbers):
            raise UserError(
                "coefficients must be alpha, beta and gamma, numbers above 0 and up to 10, such as "
                f"[1.2,1.1,1.15], not {given!r}"
            )
        if (self.phi is None or self.phi > 0) and min(numbers) < 1:
            raise UserError(
                f"coefficients={given} are under 1, which shrinks the network as phi grows: give 1 "
                "or more, or a negative phi"
            )
