"""What earlier results are found by: digests of all that decided them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.data.dataset import ImageData
from nas.scale.settings import ScaleSettings

# Digests of earlier runs are of settings that named our code by these paths; it has moved since.
EARLIER_TARGETS = {
    "nas.training.loop.Budget": "nas.training.Budget",
    "nas.scale.fit.budget.FitBudget": "nas.fit.FitBudget",
}
EARLIER_ONESHOT = {"_target_": "nas.accuracy.oneshot.OneShot.open", "_partial_": True}


def digest_of(*parts: Any) -> str:
    """8 hex digits of plain data."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def training_digest(settings: ScaleSettings, images: ImageData) -> str:
    """The digest of what decides a trained network's score, but for its epochs and its seed."""
    budget = {key: value for key, value in settings.budget.node.items() if key != "epochs"}
    return digest_of(images.fingerprint, images.flip, _with_earlier_targets(budget))


def fit_digest(settings: ScaleSettings, baseline: Arch, images: ImageData, timer: Any) -> str:
    """The digest of what decides a fit's scores and costs; of `timer` where it goes by latency."""
    priced = settings.objective != "macs" and timer.identity()
    rounding = [settings.repeats, settings.fixed_ends]
    shared = []
    if settings.shares_weights:  # what decides which networks share weights, and those weights
        oneshot = {**_with_earlier_targets(settings.accuracy.node), **EARLIER_ONESHOT}
        fit = _with_earlier_targets(settings.fit.node)
        shared = [oneshot, fit, settings.objective, settings.seed]
    training = training_digest(settings, images)
    return digest_of(network_id(baseline), training, priced, rounding, *shared)


def _with_earlier_targets(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_earlier_targets(value) for key, value in node.items()}
    return EARLIER_TARGETS.get(node, node) if isinstance(node, str) else node
