"""What `nas.scale` is asked for: settings that agree, a baseline, a rule."""

from __future__ import annotations

from typing import Any

from nas.arch.scaling import RULES, formula
from nas.scale.family import Rule


def rule_of(settings: dict[str, Any]) -> Rule:
    """The rule that the settings name, or the formula with their coefficients."""
    name = settings["rule"] or "formula"
    ends, repeats = settings["fixed_ends"], settings["repeats"]
    if name in RULES:
        by_cost = RULES[name]
        return Rule(name, lambda phi: by_cost(2.0**phi), ends, repeats)
    alpha, beta, gamma = settings["coefficients"]
    return Rule(name, lambda phi: formula(alpha, beta, gamma, phi), ends, repeats)
