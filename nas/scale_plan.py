"""What `nas.scale` is asked for: settings that agree, a baseline, a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli import SMALL_BELOW, number
from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from nas.arch import Arch
    from nas.data import ImageData
    from nas.family import Rule

BUDGETS = ("phi", "macs", "latency_ms")  # of which one is given
JUDGES = ("scratch", "oneshot")  # of a fit's first networks
PHI = 3  # where none is; below zero where the fit is
# The baseline where no search has been run, and its width on small images: a fit of it takes
# minutes there, less than half as long as of MobileNetV2, whose blocks are more and thinner.
SMALL, SMALL_WIDTH = "mobilenet_v3_small", 0.35


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range, names known, and none that contradict each other."""
    from nas.compound import REPEATS, RULES, TABLES
    from nas.device import resolve_device
    from nas.family import FARTHEST
    from nas.fit import OBJECTIVES

    number(settings, "phi", -FARTHEST, FARTHEST)
    number(settings, "macs", 1)
    number(settings, "latency_ms", 1e-9)
    settings["resolution"] = number(settings, "resolution", 1, 8192, whole=True)
    for name, low in (("workers", 1), ("seed", 0)):
        settings[name] = number(settings, name, low, 2**31, whole=True)
        if settings[name] is None:
            raise UserError(f"{name} must be a whole number from {low}, not null")
    for name in ("measure", "train", "fixed_ends"):
        if not isinstance(settings[name], bool):
            raise UserError(f"{name} must be true or false, not {settings[name]!r}")
    choices = {
        "rule": (None, "formula", "published", *RULES), "name": (None, *TABLES),
        "repeats": REPEATS, "objective": OBJECTIVES,
    }  # fmt: skip
    for name, allowed in choices.items():
        if settings[name] not in allowed:
            raise unknown(name, settings[name], [a for a in allowed if a])
    judge = settings["choices"]["accuracy"]
    if judge not in JUDGES:
        raise unknown("accuracy", judge, JUDGES)
    resolve_device(settings["device"])
    consistent(settings)
    return settings


def consistent(settings: dict[str, Any]) -> None:
    """Refuse settings that contradict each other; fill in phi and coefficients."""
    from nas.compound import EFFICIENTNET

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


def baseline_of(
    settings: dict[str, Any], images: Callable[[], ImageData], trained: bool
) -> tuple[Arch, str]:
    """The network to scale, and where it is from.

    `arch=` names it; without, it is the newest search's winner, else a small published network of
    the size of the data.  What is to be trained gets the channels and classes of the data, and a
    published network its resolution too.
    """
    from nas.arch import is_file
    from search_spaces.published import PUBLISHED, at_width

    named, side = settings["arch"], settings["resolution"]
    results = Path(str(settings["results"]))
    if named is None:
        winners = sorted(results.glob("search/*/winner.yaml"), key=lambda p: p.stat().st_mtime)
        if not winners:
            small = (side or images().resolution) < SMALL_BELOW
            name = at_width(SMALL, SMALL_WIDTH) if small else SMALL
            return _sized(name, images(), side), "published, sized for the data"
        named = str(winners[-1])
    if is_file(named):
        arch, origin = _read(Path(named)), f"from {named}"
        if trained:
            arch = replace(arch, channels=images().channels, classes=images().num_classes)
    else:
        arch, origin = PUBLISHED[named], "published"
        if trained:
            return _sized(named, images(), side), f"{origin}, sized for the data"
    return replace(arch, resolution=side or arch.resolution), origin


def _read(path: Path) -> Arch:
    """The network in the file, with a name."""
    from nas.arch import load

    stem = f"{path.parent.name}_winner" if path.name == "winner.yaml" else path.stem
    arch = load(path)
    return replace(arch, name=arch.name or stem)


def _sized(name: str, data: ImageData, side: int | None) -> Arch:
    """The published network `name` for the input and the classes of `data`, `side` pixels wide.

    Its batch norms and dropout are those of short trainings and not of its paper.
    """
    from nas.arch import Arch, Head, Stage
    from search_spaces.published import adapted

    side = side or data.resolution
    form = Arch(
        (Stage(8),), head=Head(dropout=0.0), resolution=side, channels=data.channels,
        classes=data.num_classes,
    )  # fmt: skip
    return adapted(name, form)


def rule_of(settings: dict[str, Any]) -> Rule:
    """The rule that the settings name, or the formula with their coefficients."""
    from nas.compound import RULES, formula
    from nas.family import Rule

    name = settings["rule"] or "formula"
    ends, repeats = settings["fixed_ends"], settings["repeats"]
    if name in RULES:
        by_cost = RULES[name]
        return Rule(name, lambda phi: by_cost(2.0**phi), ends, repeats)
    alpha, beta, gamma = settings["coefficients"]
    return Rule(name, lambda phi: formula(alpha, beta, gamma, phi), ends, repeats)
