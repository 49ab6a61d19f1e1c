"""What `nas.search` is asked for, checked."""

from __future__ import annotations

from typing import Any

from nas.accuracy.judge import make_judge
from nas.core.checks import check_bool, check_number, check_whole
from nas.core.config import Component
from nas.core.errors import UserError, unknown
from nas.network.device import resolve_device
from search_spaces.lookup import PUBLISHED

LIMITS = ("latency_ms", "macs", "params", "memory_kb")
LEAST = {"trials": 1, "finalists": 1, "spread": 0, "random": 0, "workers": 1, "seed": 0}
TRAINED, SCORED = 40, 300  # trials, where each is trained for seconds, or scored in milliseconds


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with numbers in range, names known, and the run named."""
    trained = make_judge(Component("", settings["accuracy"])).trains_each  # which is not cheap
    if settings["trials"] is None:
        settings["trials"] = TRAINED if trained else SCORED
    if settings["random"] is None:
        settings["random"] = 0 if trained else settings["trials"]
    for name, low in LEAST.items():
        settings[name] = check_whole(name, settings[name], low)
    check_bool("strict", settings["strict"])
    check_number("width", settings["width"], 0.05, 16, optional=True)
    if not isinstance(settings["limit"], dict):
        raise UserError(f"limit must be given by parts (limit.macs=...), not {settings['limit']!r}")
    for limit in settings["limit"]:
        if limit not in LIMITS:
            raise unknown("limit", limit, LIMITS)
        check_number(f"limit.{limit}", settings["limit"][limit], 1e-9, optional=True)
    names, target = settings["references"], settings["target"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"references must be a list of published networks, not {names!r}")
    if target is None:
        raise UserError("target must be milliseconds or a published network, not null")
    if not isinstance(target, str):
        check_number("target", target, 1e-9)
    for name in [*names, *([target] if isinstance(target, str) else [])]:
        _ = PUBLISHED[name]
    resolve_device(settings["device"])
    run = settings["run"] = str(settings["run"] or settings["choices"]["space"])
    if not set(run) <= set("-_.") | {c for c in run if c.isalnum()} or run.startswith("."):
        raise UserError(f"run must be a name of letters, digits, '-', '_', '.', not {run!r}")
    return settings
