"""The judge that `accuracy=` names, made for one search."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nas.accuracy.pool import judged
from nas.arch import Arch
from nas.cli import make

Judges = Callable[[Sequence[Arch]], Iterator[tuple[int, Any]]]

# What a network over a limit is told to Optuna's samplers as its score: that of guessing.
WORST: dict[str, Callable[[int], float]] = {
    "scratch": lambda classes: 1 / classes,
    "tabular": lambda classes: 1 / classes,
    "blend": lambda classes: 1 / classes,
    "oneshot": lambda classes: -math.log(classes),
    "proxies": lambda classes: 0.0,
}


def judges_for(node: Mapping[str, Any], pool: Judges, context: Mapping[str, Any]) -> Judges:
    """Judges of many networks by the configuration `node`, opened with what they ask for.

    `context` holds load, space, budget, device, seed, checkpoint and progress by name; `pool`
    trains networks from scratch.  A judge that asks for a prior has another one configured below.
    """
    settings = {key: value for key, value in node.items() if key != "prior"}
    opener = make(settings)
    if opener.func.__qualname__.startswith("Scratch"):
        return pool
    known = {**context, "truth": pool}
    if "prior" in node:
        known["prior"] = judges_for(node["prior"], pool, context)
    asked = inspect.signature(opener.func).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in asked.values())
    names = [*asked, *(("device", "seed") if takes_all else ())]
    judge = opener(**{name: known[name] for name in names if name in known})
    many: Judges | None = getattr(judge, "many", None)
    return many or (lambda archs: ((i, judged(judge, arch)) for i, arch in enumerate(archs)))
