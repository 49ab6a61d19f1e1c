"""What searching bought: random networks as fast as the winner, trained as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.report.frames import COMPARED, front_of, trial_frame
from nas.search.evaluations import Role
from nas.search.phases import evaluate_beside, rows_trained
from nas.search.setup import SearchRun
from nas.stats.pareto import best_under
from nas.training.evaluation import paired_difference, unpacked

NUM_CONTROLS = 4  # of which the best on validation images is compared, as a user would choose it


def train_controls(run: SearchRun) -> None:
    """Train the controls of the most accurate network within the target."""
    front = front_of(trial_frame(rows_trained(run)))
    values, ms = front["accuracy"].to_numpy(), front["latency_ms"].to_numpy()
    best = best_under(values, ms, run.problem.target_ms)
    archs = [] if best is None else controls_of(run, float(ms[best]))
    names = {network_id(arch): f"random {i}" for i, arch in enumerate(archs, 1)}
    evaluate_beside(run, Role.CONTROL, archs, run.evaluator.unlimited(), names=names)


def controls_of(run: SearchRun, latency_ms: float) -> list[Arch]:
    """Random networks that are as fast, the same ones each time; none with spread=0."""
    number = NUM_CONTROLS if run.settings.spread else 0
    return run.problem.sample_near(latency_ms, number, run.settings.seed)


def gain_over_controls(run: SearchRun, winner: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The winner's gain on the test images over the best of its controls, a fraction.

    Its standard error is that of the differences image by image.  None without controls.
    """
    ours = controls_of(run, winner["latency_ms"]) if winner else []
    ids = {network_id(arch) for arch in ours}
    rows = [row for row in run.evaluations.rows(Role.CONTROL) if row["id"] in ids]
    rows = [row for row in rows if row["state"] == "complete"]
    if not winner or not rows:
        return None
    best = max(rows, key=lambda row: float(row["accuracy"]))
    gain, error = paired_gain(trained_row(run, winner["id"]), best)
    return {
        **{key: best[key] for key in COMPARED},
        "measured_ms": run.store.note("measured", dict).get(best["id"]),
        "name": f"the best of {len(rows)} random networks",
        "num_controls": len(rows),
        "gain": gain,
        "gain_se": error,
    }


def trained_row(run: SearchRun, key: str) -> Mapping[str, Any]:
    """The row of a network that was trained alone."""
    rows = (row for role in (Role.FINALIST, Role.LABEL) for row in run.evaluations.rows(role))
    return next(row for row in rows if row["id"] == key)


def paired_gain(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[float, float]:
    """Accuracy of `ours` above that of `theirs` on the same test images, and its standard error.

    Where an earlier version kept no answers the error is that of two samples, rather too large.
    """
    if ours.get("test_correct") and theirs.get("test_correct"):
        return paired_difference(*(unpacked(row["test_correct"]) for row in (ours, theirs)))
    error = math.hypot(ours["test_accuracy_se"], theirs["test_accuracy_se"])
    return ours["test_accuracy"] - theirs["test_accuracy"], error
