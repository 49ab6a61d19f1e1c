"""The judge that `accuracy=` names, made for one search."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nas.accuracy.worker_pool import call_safely
from nas.arch.arch import Arch
from nas.core.config import make

Judges = Callable[[Sequence[Arch]], Iterator[tuple[int, Any]]]

# What a network over a limit is told to Optuna's samplers as its score: that of guessing.
WORST: dict[str, Callable[[int], float]] = {
    "scratch": lambda classes: -math.log(classes),
    "tabular": lambda classes: 1 / classes,
    "blend": lambda classes: -math.log(classes),
    "oneshot": lambda classes: -math.log(classes),
    "proxies": lambda classes: 0.0,
    "log_macs": lambda classes: 0.0,
}


def judges_for(node: Mapping[str, Any], pool: Judges, context: Mapping[str, Any]) -> Judges:
    """Judges of many networks by the configuration `node`, opened with what they ask for.

    `context` holds load, space, device, seed, checkpoint and what else judges ask for by name;
    `pool` trains networks from scratch.  A judge that asks for a prior has another one below it.
    """
    settings = {key: value for key, value in node.items() if key != "prior"}
    opener = make(settings)
    if opener.func.__qualname__.startswith("Scratch"):
        return pool
    known = {"truth": pool, **context}
    if "prior" in node:
        known["prior"] = judges_for(node["prior"], pool, context)
    asked = inspect.signature(opener.func).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in asked.values())
    names = [*asked, *(("device", "seed") if takes_all else ())]
    judge = opener(**{name: known[name] for name in names if name in known})
    many: Judges | None = getattr(judge, "many", None)
    return many or (lambda archs: ((i, call_safely(judge, arch)) for i, arch in enumerate(archs)))
