"""What a search that inherits weights adds to the report, of made networks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nas.report.frames import trial_frame
from nas.search.evaluations import Role
from nas.search.inherited_report import inherited_rows
from nas.search.metrics import Metrics
from nas.search.report import summarise


def network(key, score, ms, fidelity="inherited"):
    figures = {"score": score, "score_se": 0.01, "accuracy": score, "test_accuracy": score}
    return Metrics(key, "complete", ms, 10, 10, 10, "", fidelity=fidelity, **figures)


def made_run(inherited, finished, task):
    """A run that knows these networks, within 4 ms."""
    by_role = {Role.TRIAL: inherited, Role.FINALIST: finished}

    def rows(role):
        return [{"name": "", **m.to_json()} for m in by_role.get(role, ())]

    trials = [row | {"number": i} for i, row in enumerate(rows(Role.TRIAL))]
    return SimpleNamespace(
        study=SimpleNamespace(rows=lambda: trials, known={m.id: m for m in inherited}),
        evaluations=SimpleNamespace(rows=rows),
        problem=SimpleNamespace(target_ms=4.0),
        settings=SimpleNamespace(task=SimpleNamespace(name=task)),
    )


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_the_winner_was_trained_again_though_inherited_weights_have_a_better_figure(task):
    """C, which was not, is as inherited above what training made of A and B."""
    inherited = [network("A", 0.42, 3.9), network("B", 0.415, 3.8), network("C", 0.412, 3.7)]
    finished = [network(key, s, ms, "trained again") for key, s, ms in
                (("A", 0.41, 3.9), ("B", 0.408, 3.8))]  # fmt: skip
    slower = network("D", 0.5, 5.0)
    run = made_run([*inherited, slower], finished, task)
    summary = summarise(trial_frame(inherited_rows(run)), trial_frame([]), 4.0, "score")
    assert summary["winner"]["id"] == "A"
    assert summary["winner"]["fidelity"] == "trained again"
    assert summary["winner"]["accuracy"] == 0.41
    assert [row["id"] for row in summary["front"]][-2:] == ["A", "D"]


def test_the_front_of_boxes_is_of_the_weights_that_each_network_has():
    """Of C's inherited ones, and of what training made of A and B."""
    inherited = [network("A", 0.3, 3.9), network("B", 0.2, 3.8), network("C", 0.25, 3.7)]
    finished = [network("A", 0.4, 3.9, "trained again"), network("B", 0.35, 3.8, "trained again")]
    rows = inherited_rows(made_run(inherited, finished, "detection"))
    summary = summarise(trial_frame(rows), trial_frame([]), 4.0, "score")
    assert [row["accuracy"] for row in summary["front"]] == [0.25, 0.35, 0.4]
