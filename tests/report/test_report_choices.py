"""Which choices matter, and what the front prefers: against what is known beforehand."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_runs import KEPT, write_run
from spaces import SPACES

from nas.report.choices import epsilon_squared, importances, place_of, preferences, short
from nas.report.kept_run import read_run
from nas.space.choices import choices, random_picks


def test_epsilon_squared_is_the_share_between_groups_less_what_chance_gives():
    draw = np.random.default_rng(0)
    labels = pd.Series(np.arange(4000) % 4)
    noise = draw.normal(size=4000)
    assert epsilon_squared(labels, noise) < 0.003
    means = np.array([0.0, 1.0, 2.0, 3.0])  # variance 1.25 between, 1 within
    share = epsilon_squared(labels, means[labels] + noise)
    assert share == pytest.approx(1.25 / 2.25, abs=0.02)
    assert epsilon_squared(labels, means[labels]) == pytest.approx(1)
    assert epsilon_squared(labels, np.ones(4000)) == 0
    # one label a network explains everything and says nothing
    assert epsilon_squared(pd.Series(range(4000)), noise) == 0


@pytest.fixture
def run(tmp_path):
    """Of 400 random networks: stage 1's kernel makes score and latency, nothing else does."""
    draw = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "number": range(400),
            "id": [f"net{i}" for i in range(400)],
            "state": "complete",
            "pick.stages.0.blocks.kernel": draw.choice([3, 5, 7], 400),
            "pick.stages.0.blocks.act": draw.choice(["relu", "hswish"], 400),
            "pick.stages.1.depth": draw.choice([0, 1, 2], 400),
            "pick.stages.1.blocks.kernel": draw.choice([3, 5], 400),
            "latency_ms": draw.uniform(1, 2, 400),
            "macs": 1, "params": 1, "peak_memory_bytes": 1,
        }
    )  # fmt: skip
    rows["latency_ms"] -= 0.5 * rows["pick.stages.0.blocks.kernel"] - 3.5
    rows["score"] = rows["pick.stages.0.blocks.kernel"] + 0.1 * draw.normal(size=400)
    folder = write_run(tmp_path, [])
    rows.to_csv(folder / "trials.csv", index=False)
    return read_run(folder)


def test_what_makes_the_score_is_what_matters(run):
    first, *others = importances(run)
    assert first.choice == "stages.0.blocks.kernel"
    assert first.score > 0.95
    assert max(max(i.score, i.latency) for i in others) < 0.05


def test_what_the_front_prefers_is_told_with_its_share_at_random(run):
    found = {(p.stage, p.kind): p for p in preferences(run)}
    kernel = found["stage 1", "kernel"]
    assert kernel.distance == pytest.approx(2 / 3)
    assert kernel.words == "▲ 7 (at random 5)"
    assert max(found.values(), key=lambda p: p.distance) is kernel
    assert "(at random 50%)" in found["stage 1", "act"].words


def test_choices_matter_by_random_networks_where_some_were_judged(run):
    """A search breeds relatives: a choice without any effect goes along with one that has some."""
    rows = run.tables["trials"].copy()
    bred = rows.copy()
    bred["pick.stages.1.blocks.kernel"] = np.where(bred["pick.stages.0.blocks.kernel"] == 7, 5, 3)
    seen = {
        i.choice: i.score for i in importances(replace(run, tables=run.tables | {"trials": bred}))
    }
    assert seen["stages.1.blocks.kernel"] > 0.5
    beside = replace(run, tables=run.tables | {"trials": bred, "random": rows})
    seen = {i.choice: i.score for i in importances(beside)}
    assert seen["stages.1.blocks.kernel"] < 0.05
    assert seen["stages.0.blocks.kernel"] > 0.95


def test_a_stage_that_is_left_out_counts_for_its_depth_only(run):
    rows = run.tables["trials"]
    rows.loc[rows["pick.stages.1.depth"] == 0, "pick.stages.1.blocks.kernel"] = 3
    rows.loc[rows["pick.stages.1.depth"] > 0, "pick.stages.1.blocks.kernel"] = 5
    found = {(p.stage, p.kind): p for p in preferences(run)}
    assert found["stage 2", "kernel"].words.startswith("▲ 5 ")


def test_blocks_of_other_options_are_no_preference(tmp_path):
    """Stage 2 of MobileNetV4: a full or fused convolution, then blocks that may have no kernel."""
    space, rng = SPACES["mobilenet_v4"], random.Random(2)
    keys = ["stages.1.depth", "stages.1.blocks.0.kernel", "stages.1.blocks.1.kernel"]
    assert len({tuple(choices(space)[key]) for key in keys[1:]}) == 2
    picks = [random_picks(space, rng) for _ in range(3000)]
    rows = pd.DataFrame([{f"pick.{key}": some[key] for key in keys} for some in picks])
    rows["id"] = rows["score"] = rows["latency_ms"] = range(3000)  # all are on the front
    run = replace(
        read_run(write_run(tmp_path, [])), tables={"trials": rows.assign(state="complete")}
    )
    assert all(p.distance < 0.05 for p in preferences(run))


def test_too_few_networks_say_nothing(run):
    del run.tables["trials"]
    few = read_run(run.folder).tables["trials"].iloc[:29]
    run.tables["trials"] = few
    assert importances(run) == []


@pytest.mark.parametrize(
    ("choice", "stage", "kind", "name"),
    [
        ("stages.3.blocks.kernel", "stage 4", "kernel", "stage 4 kernel"),
        ("stages.3.blocks.1.kernel", "stage 4", "kernel", "stage 4.2 kernel"),
        ("stages.0.depth", "stage 1", "depth", "stage 1 depth"),
        ("stages.1.blocks.0", "stage 2", "block", "stage 2.1 block"),
        ("head.width", "head", "width", "head width"),
        ("act", "network", "act", "network act"),
    ],
)
def test_choices_are_called_as_the_blocks_of_the_table(choice, stage, kind, name):
    assert place_of(choice) == (stage, kind)
    assert short(choice) == name


def test_the_choices_of_a_kept_run_are_all_named():
    run = read_run(KEPT)
    found = importances(run)
    assert len(found) == 38
    assert all(0 <= i.score <= 1 and 0 <= i.latency <= 1 for i in found)
    preferred = {(p.stage, p.kind) for p in preferences(run)}
    gone = {place_of(i.choice) for i in found} - preferred
    assert {stage for stage, _ in gone} == {"stage 5"}, "which the whole front leaves out"
    assert ("stage 5", "depth") in preferred
