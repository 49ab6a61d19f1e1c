"""Random networks as fast as the winner, trained alike: what searching bought."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from spaces import SPACES

from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.report.frames import trial_frame
from nas.report.verdicts import describe_gain_over
from nas.search.controls import NUM_CONTROLS, gain_over_controls
from nas.search.evaluations import Evaluations, Role
from nas.search.metrics import Metrics
from nas.search.phases import LABEL_STREAM
from nas.search.problem import AS_FAST, Problem
from nas.search.report import Outcome
from nas.search.run import lacks_controls, shown_networks
from nas.space.limits import Limits
from nas.space.trellis.trellis import Trellis
from nas.training.evaluation import packed, unpacked

SPACE = SPACES["mbconv_28"]
MS = 1e-8  # a multiply-add


def problem_of():
    trellis = Trellis(SPACE)
    source = SimpleNamespace(whole_ms=lambda sums: sums + 0.001)
    latency = SimpleNamespace(trellis=trellis, row_ms=trellis.row_costs.macs * MS, source=source)
    return Problem(SPACE, 1.0, {}, latency, None, Limits(latency_ms=np.inf), 1.0, frozenset())


def run_of(folder, accuracies, spread=6, correct="", theirs=""):
    problem = problem_of()
    evaluations = Evaluations(folder / "evaluations.jsonl")
    latency_ms = cost(problem.sample(1, 7)[0]).macs * MS + 0.001
    archs = problem.sample_near(latency_ms, NUM_CONTROLS, 0)
    for i, (arch, (val, test)) in enumerate(zip(archs, accuracies, strict=False), 1):
        known = replace(metrics(arch, val, test), test_correct=theirs)
        evaluations.add(Role.CONTROL, arch, known, f"random {i}")
    settings = SimpleNamespace(seed=0, spread=spread)
    store = SimpleNamespace(note=lambda name, make: {network_id(arch): 1.5 for arch in archs})
    ours = problem.sample(1, 8)[0]
    known = replace(metrics(ours, 0.86, 0.85), test_accuracy_se=0.003, test_correct=correct)
    evaluations.add(Role.LABEL, ours, known)
    winner = {"latency_ms": latency_ms, "id": network_id(ours)}
    run = SimpleNamespace(problem=problem, evaluations=evaluations, settings=settings, store=store)
    return run, winner


def metrics(arch, val, test):
    known = {"id": network_id(arch), "state": "complete", "latency_ms": 1.0, "arch": "x"}
    sizes = {"macs": 1, "params": 1, "peak_memory_bytes": 1}
    return Metrics(**known, **sizes, accuracy=val, test_accuracy=test, test_accuracy_se=0.004)


def test_controls_are_distinct_and_as_fast_and_the_same_each_time():
    problem = problem_of()
    latency_ms = cost(problem.sample(1, 7)[0]).macs * MS + 0.001
    archs = problem.sample_near(latency_ms, 4, 0)
    assert len({network_id(arch) for arch in archs}) == 4
    for arch in archs:
        assert 1 - AS_FAST - 1e-9 <= (cost(arch).macs * MS + 0.001) / latency_ms <= 1 + 1e-9
    assert [network_id(a) for a in problem.sample_near(latency_ms, 4, 0)] == [
        network_id(a) for a in archs
    ]
    assert archs != problem.sample_near(latency_ms, 4, 1)
    assert problem.sample_near(1e9, 4, 0) == []
    labels = problem.sample_near(latency_ms, 4, 0, LABEL_STREAM)
    assert not {network_id(arch) for arch in labels} & {network_id(arch) for arch in archs}


def test_what_is_learnt_near_the_target_is_within_a_limit_below_it():
    problem = problem_of()
    limit = cost(problem.sample(1, 7)[0]).macs * MS + 0.001
    limited = replace(problem, limits=Limits(latency_ms=limit), target_ms=2 * limit)
    assert limited.sample_near(limited.target_ms, 4, 0) == []
    assert len(limited.sample_near(limited.decisive_ms, 4, 0)) == 4
    assert problem.decisive_ms == problem.target_ms


def test_the_gain_is_over_the_best_by_validation(tmp_path):
    run, winner = run_of(tmp_path, [(0.80, 0.86), (0.83, 0.84), (0.81, 0.87), (0.79, 0.79)])
    found = gain_over_controls(run, winner)
    assert found["num_controls"] == 4
    assert found["test_accuracy"] == 0.84
    assert found["gain"] == pytest.approx(0.01)
    assert found["gain_se"] == pytest.approx(0.005)  # of runs that kept no answers
    words = describe_gain_over(found)
    assert f"at {found['latency_ms']:.3g} ms, measured 1.5 ms, trained alike" in words
    assert "measured" not in describe_gain_over(found | {"measured_ms": None})


@pytest.mark.parametrize("number", [1, 7, 8, 1003])
def test_answers_are_kept_to_the_bit(number):
    right = torch.rand(number, generator=torch.Generator().manual_seed(0)) < 0.8
    assert torch.equal(unpacked(packed(right)), right)


def test_the_error_is_that_of_the_differences_image_by_image(tmp_path):
    ours, theirs = np.ones(1003, bool), np.ones(1003, bool)
    ours[:10], theirs[5:35] = False, False  # both wrong on 5, one of them on 30
    answers = {"correct": packed(torch.tensor(ours)), "theirs": packed(torch.tensor(theirs))}
    run, winner = run_of(tmp_path, [(0.83, 0.84)], **answers)
    found = gain_over_controls(run, winner)
    assert found["gain"] == pytest.approx(20 / 1003)
    difference = ours.astype(float) - theirs
    assert found["gain_se"] == pytest.approx(difference.std() / 1003**0.5)


def test_without_controls_nothing_is_said(tmp_path):
    run, winner = run_of(tmp_path, [])
    assert gain_over_controls(run, winner) is None
    assert gain_over_controls(run, None) is None
    run, winner = run_of(tmp_path, [(0.8, 0.8)], spread=0)
    assert gain_over_controls(run, winner) is None


@pytest.mark.parametrize(
    ("spread", "summary", "lacks"),
    [(6, {"versus_controls": None}, True), (0, {"versus_controls": None}, False),
     (6, {"versus_controls": {"gain": 0.1}}, False), (6, {}, False)],
)  # fmt: skip
def test_it_is_said_where_no_random_network_is_as_fast(spread, summary, lacks):
    run = SimpleNamespace(settings=SimpleNamespace(spread=spread))
    assert lacks_controls(run, summary) == lacks


def test_controls_that_were_trained_are_measured_whole_too(tmp_path):
    run, _ = run_of(tmp_path, [(0.8, 0.8), (0.7, 0.7)])
    first, second = (run.evaluations.arch(r["id"]) for r in run.evaluations.rows(Role.CONTROL))
    run.evaluations.add(Role.CONTROL, second, replace(metrics(second, 0.7, 0.7), state="failed"))
    run.arch_of = run.evaluations.arch
    none = trial_frame([])
    shown = shown_networks(run, Outcome(none, none, none, none, is_scored=True))
    assert shown == {network_id(first): first}
