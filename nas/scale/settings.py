"""What `nas.scale` is asked for, checked."""

from __future__ import annotations

from typing import Any

from nas.arch.scaling import EFFICIENTNET, REPEATS, RULES, TABLES
from nas.core.checks import check_bool, check_number, check_option, check_whole
from nas.core.errors import UserError, unknown
from nas.network.device import resolve_device
from nas.scale.family import MAX_ABS_PHI
from nas.scale.fit.fit import OBJECTIVES

BUDGETS = ("phi", "macs", "latency_ms")  # of which one is given
JUDGES = ("scratch", "oneshot")  # of a fit's first networks
PHI = 3  # where none is; below zero where the fit is


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range, names known, and none that contradict each other."""
    check_number("phi", settings["phi"], -MAX_ABS_PHI, MAX_ABS_PHI, optional=True)
    check_number("macs", settings["macs"], 1, optional=True)
    check_number("latency_ms", settings["latency_ms"], 1e-9, optional=True)
    settings["resolution"] = check_whole(
        "resolution", settings["resolution"], 1, 8192, optional=True
    )
    for name, low in (("workers", 1), ("seed", 0)):
        settings[name] = check_whole(name, settings[name], low)
    for name in ("measure", "train", "fixed_ends"):
        check_bool(name, settings[name])
    choices = {
        "rule": (None, "formula", "published", *RULES), "name": (None, *TABLES),
        "repeats": REPEATS, "objective": OBJECTIVES,
    }  # fmt: skip
    for name, allowed in choices.items():
        check_option(name, settings[name], allowed)
    judge = settings["choices"]["accuracy"]
    if judge not in JUDGES:
        raise unknown("accuracy", judge, JUDGES)
    resolve_device(settings["device"])
    consistent(settings)
    return settings


def consistent(settings: dict[str, Any]) -> None:
    """Refuse settings that contradict each other; fill in phi and coefficients."""
    given = [name for name in BUDGETS if settings[name] is not None]
    rule, name, coefficients = settings["rule"], settings["name"], settings["coefficients"]
    shrinks = rule is None and coefficients is None and settings["fit"]["phi"] == -1
    if len(given) > 1:
        raise UserError(f"give one of phi=, macs= and latency_ms=, not {' and '.join(given)}")
    if settings["latency_ms"] is not None and not settings["measure"]:
        raise UserError("latency_ms= needs latencies: drop measure=false")
    if rule == "published" and (settings["phi"] is not None or not (name or given)):
        raise UserError("rule=published follows a table and has no phi: give name=b3, or a budget")
    if name and rule != "published":
        raise UserError(f"name={name} is a row of rule=published: give that too, or drop it")
    if coefficients is not None and rule not in (None, "formula"):
        raise UserError(f"coefficients= are those of rule=formula, not of rule={rule}: drop one")
    if not given and rule != "published":
        settings["phi"] = -PHI if shrinks else PHI
    if settings["choices"]["accuracy"] == "oneshot" and settings["fit"]["confirm_seeds"] == 0:
        raise UserError(
            "accuracy=oneshot needs longer trainings to test its order by: give "
            "fit.confirm_seeds=2 or more, or accuracy=scratch"
        )
    if shrinks and (settings["phi"] or 0) > 0:
        raise UserError(
            f"fit.phi=-1 fits how to shrink, phi={settings['phi']:g} grows: give a phi below 0, or "
            "drop fit.phi"
        )
    if rule == "formula" and coefficients is None:
        settings["coefficients"] = list(EFFICIENTNET)
    if coefficients is not None:
        _check_coefficients(coefficients, settings["phi"])


def _check_coefficients(coefficients: Any, phi: float | None) -> None:
    triple = coefficients if isinstance(coefficients, list) else []
    numbers = [c for c in triple if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) != 3 or len(triple) != 3 or not all(0 < c <= 10 for c in numbers):
        raise UserError(
            "coefficients must be alpha, beta and gamma, numbers above 0 and up to 10, such as "
            f"[1.2,1.1,1.15], not {coefficients!r}"
        )
    if (phi is None or phi > 0) and min(numbers) < 1:
        raise UserError(
            f"coefficients={coefficients} are under 1, which shrinks the network as phi grows: "
            "give 1 or more, or a negative phi"
        )
