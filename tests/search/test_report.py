"""What a search says while it runs, and the files that it leaves."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from rich.console import Console

from nas.arch.arch import Arch, Stage
from nas.arch.serialization import load
from nas.report.frames import COLUMNS, trial_frame
from nas.report.kept_run import read_run
from nas.report.page import write_page as page_of
from nas.report.verdicts import warnings
from nas.search.report import (
    Outcome,
    describe_counts,
    print_front,
    print_winner,
    summarise,
    write_results,
)

ABOUT = {"space": "mbconv", "data": "pictures", "images": [10, 4, 4], "resolution": 28,
         "budget": "quick", "latency": "onnxruntime", "sampler": "nsga2", "seed": 0,
         "seconds": 3.0}  # fmt: skip


def trial(number, accuracy, latency_ms, **more):
    return {
        "number": number, "id": f"net{number}", "state": "complete", "name": "",
        "accuracy": accuracy, "accuracy_se": 0.01, "test_accuracy": accuracy,
        "test_accuracy_se": 0.01, "latency_ms": latency_ms,
        "macs": 488_216 + (number or 0), "params": 70_000, "peak_memory_bytes": 12_544,
        "cross_entropy": 0.5, "seconds": 1.0, "reason": "", "arch": "r28 stem",
        "pick.depth": number,
    } | more  # fmt: skip


def failed(number, **more):
    unknown = dict.fromkeys(("accuracy_se", "test_accuracy", "test_accuracy_se", "cross_entropy"))
    return trial(number, None, None, state="failed", reason="no memory", **unknown, **more)


ROWS = [trial(0, 0.8, 1.0, name="mnasnet_b1"), trial(1, 0.9, 3.0), trial(2, 0.85, 2.0), failed(3)]


def write(folder, rows, target_ms=2.5, measured=None, random=()):
    trials = trial_frame(rows)
    return write_results(
        folder,
        Outcome(trials, trials, trial_frame([]), trial_frame(random), is_scored=False),
        target_ms=target_ms,
        measured=measured or {},
        arch_of=lambda key: Arch((Stage(8 + int(key.removeprefix("net"))),)),
        about=ABOUT,
    )


def test_counts_are_whole_numbers_and_unknown_ones_nan():
    frame = trial_frame(ROWS)
    assert frame[["macs", "params", "peak_memory_bytes"]].dtypes.unique() == ["int64"]
    assert trial_frame([trial(None, 0.5, 1.0)])["number"].isna().all()  # of what is no trial
    assert frame["accuracy"].isna().tolist() == [False, False, False, True]
    assert trial_frame([]).columns.tolist() == list(COLUMNS)


def test_a_published_trial_over_a_limit_is_shown_as_the_reference_it_was_trained_as():
    over = failed(4, name="mobilenet_v2") | {"state": "infeasible"}
    trained = trial(None, 0.7, 9.0, name="mobilenet_v2")
    found = summarise(trial_frame([*ROWS, over]), trial_frame([trained]), target_ms=2.5)
    assert [row["name"] for row in found["published"]] == ["mnasnet_b1", "mobilenet_v2"]


def test_scores_of_stopped_trainings_are_no_floor_of_the_search_against_random(tmp_path):
    rows = [trial(i, 0.8 + i / 100, 1.0 + i, score=0.8 + i / 100) for i in range(4)]
    random = [trial(None, 0.7, 2.0, score=0.7)]
    stopped = trial(4, None, 1.5, score=0.01, state="pruned")
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    without = write(tmp_path / "without", rows, random=random)["versus_random"]
    found = write(tmp_path / "with", [*rows, stopped], random=random)["versus_random"]
    assert found["random"] == without["random"]


def test_the_winner_is_the_most_accurate_within_the_target():
    found = summarise(trial_frame(ROWS), trial_frame([]), target_ms=2.5)
    assert found["target_met"] is True
    assert found["winner"]["id"] == "net2"
    assert [row["id"] for row in found["front"]] == ["net0", "net2", "net1"]
    assert [row["name"] for row in found["published"]] == ["mnasnet_b1"]
    assert (found["asked"], found["evaluated"], found["failed"]) == (4, 3, 1)


def test_the_fastest_stands_in_where_none_is_within_the_target():
    found = summarise(trial_frame(ROWS), trial_frame([]), target_ms=0.5)
    assert found["target_met"] is False
    assert found["winner"]["id"] == "net0"


def test_a_network_beside_is_published_and_never_wins():
    beside = trial_frame([trial(None, 0.99, 0.1, name="mobilenet_v2", id="v2")])
    found = summarise(trial_frame(ROWS), beside, target_ms=2.5)
    assert found["winner"]["id"] == "net2"
    assert [row["name"] for row in found["published"]] == ["mnasnet_b1", "mobilenet_v2"]


@pytest.mark.parametrize("rows", [[], [failed(0)]])
def test_a_search_that_trained_nothing_still_leaves_its_files(tmp_path, rows):
    found = write(tmp_path, rows)
    assert (found["winner"], found["front"], found["published"]) == (None, [], [])
    assert (found["target_met"], found["evaluated"], found["asked"]) == (False, 0, len(rows))
    assert not (tmp_path / "winner.yaml").exists()
    assert len(pd.read_csv(tmp_path / "trials.csv")) == len(rows)
    assert len(pd.read_csv(tmp_path / "pareto.csv")) == 0
    console = Console(file=io.StringIO(), width=120)
    print_front(console, found)
    print_winner(console, found)
    assert "none: no network was trained" in console.file.getvalue()


def test_results_without_references(tmp_path):
    found = write(tmp_path, ROWS)
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == found
    assert found["winner"]["macs"] == 488_218
    header, first, *_ = (tmp_path / "trials.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    assert [cells[c] for c in ("macs", "params", "peak_memory_bytes")] == [
        "488216", "70000", "12544"
    ]  # fmt: skip
    assert load(tmp_path / "winner.yaml") == Arch((Stage(10),))
    assert sorted(p.name for p in (tmp_path / "front").iterdir()) == [
        "01.yaml", "02.yaml", "03.yaml"
    ]  # fmt: skip
    assert (found["winner"]["measured_ms"], found["winner_latency_agrees"]) == (None, None)


@pytest.mark.parametrize(("ms", "agrees"), [(2.09, True), (2.11, False), (1.89, False)])
def test_a_winner_that_the_table_was_wrong_about_is_said_aloud(tmp_path, ms, agrees):
    found = write(tmp_path, ROWS, measured={"net2": ms})
    assert found["winner"]["measured_ms"] == ms
    assert found["winner_latency_agrees"] is agrees
    console = Console(file=io.StringIO(), width=200)
    print_front(console, found)
    print_winner(console, found)
    word = "agrees with" if agrees else "DISAGREES with"
    assert f"{ms:.3g} ms as a whole, which {word} the table ({ms / 2 - 1:+.1%})" in (
        console.file.getvalue()
    )


def test_stale_networks_go_from_a_front_of_over_a_hundred(tmp_path):
    many = [trial(n, 0.5 + n / 1000, 1 + n) for n in range(103)]
    write(tmp_path, many)
    assert len(list((tmp_path / "front").iterdir())) == 103
    write(tmp_path, many[:101])
    names = {path.name for path in (tmp_path / "front").iterdir()}
    assert names == {f"{rank:02d}.yaml" for rank in range(1, 102)}


def test_the_winner_and_the_front_are_printed_whole():
    name = "mobilenet_v3_small_minimal_0.35"
    beside = trial_frame([trial(None, 0.7, 1.5, name="mobilenet_v2", id="v2")])
    rows = [*ROWS[1:], trial(4, 0.8, 1.0, name=name)]
    found = {**ABOUT, **summarise(trial_frame(rows), beside, target_ms=0.9)}
    console = Console(file=io.StringIO(), width=120, highlight=False)
    print_front(console, found)
    print_winner(console, found)
    text = console.file.getvalue()
    assert "1 ★" in text
    assert name in text
    assert "no network is within 0.9 ms; the fastest of the front stands in:" in text
    assert "published" not in text, "none is within the target"
    assert f"net4 {name}" in text, "a name hides no id"
    assert "(test 80.0%) at 1 ms mobilenet_v3_small_minimal_0.35, no. 1 on the front, net4" in text
    found = {**ABOUT, **summarise(trial_frame(rows), beside, target_ms=2.5)}
    print_winner(console, found)
    assert f"80.0% ± 1.0% (test 80.0%) at 1 ms {name} (the best of 2 within the target)" in (
        console.file.getvalue()
    )


def test_a_random_search_is_kept_drawn_and_told(tmp_path):
    rows = [trial(i, 0.8 + 0.02 * i, 1.0 + i, score=0.8 + 0.02 * i) for i in range(4)]
    others = [trial(None, 0.7, 2.0, score=0.7, id=f"random{i}") for i in range(4)]
    summary = write(tmp_path, rows, random=others)
    gain = summary["versus_random"]
    assert gain["search"][-1] == pytest.approx(1)
    assert gain["num_random"] == 4
    assert len(pd.read_csv(tmp_path / "random.csv")) == 4
    page_of([read_run(tmp_path)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What searching bought over drawing at random" in page
    assert "no. 1 on the front: network net0\\u003c" in page
    assert '"network random0' in page
    console = Console(file=io.StringIO(), width=200)
    print_winner(console, summary)
    assert "1.000 of the hypervolume" in console.file.getvalue()


def test_without_a_random_search_nothing_is_said_of_one(tmp_path):
    assert write(tmp_path, ROWS)["versus_random"] is None
    assert not (tmp_path / "random.csv").exists()
    page_of([read_run(tmp_path)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "drawing at random" not in page.partition('type="application/json"')[0]


def test_networks_that_the_judge_learnt_from_do_not_test_it(tmp_path):
    rows = [trial(i, 0.8 + i / 100, 1.0 + i, score=float(i)) for i in range(12)]
    trials = trial_frame(rows)
    none = trial_frame([])

    def fidelity(labelled):
        outcome = Outcome(trials, trial_frame(rows), none, none, True, labelled=labelled)
        about = {"target_ms": 99.0, "measured": {}, "about": ABOUT}
        made = write_results(tmp_path, outcome, arch_of=lambda key: Arch((Stage(8),)), **about)
        return made["fidelity"]

    assert fidelity(())["num_networks"] == 12
    assert fidelity([f"net{i}" for i in range(4)])["num_networks"] == 8
    assert fidelity([f"net{i}" for i in range(12)]) is None


def test_trainings_that_failed_are_counted_apart_from_scorings(tmp_path):
    scored = trial_frame([trial(i, 0.8, 1.0 + i, score=float(i)) for i in range(4)])
    trained = trial_frame([trial(0, 0.8, 1.0), failed(1), failed(2)])
    outcome = Outcome(scored, trained, trial_frame([]), trial_frame([]), is_scored=True)
    about = {"target_ms": 99.0, "measured": {}, "about": ABOUT}
    summary = write_results(tmp_path, outcome, arch_of=lambda key: Arch((Stage(8),)), **about)
    assert [summary[key] for key in ("evaluated", "failed")] == [4, 0]
    assert [summary[key] for key in ("trained", "trained_failed")] == [1, 2]
    assert "4 scored" in describe_counts(summary)
    assert "0 failed · 1 trained, 2 failed" in describe_counts(summary)
    words = "2 trainings failed (trained.csv); the same command tries them again."
    assert words in warnings(read_run(tmp_path))
