"""End to end: the real command, on the real embedded images, in processes of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.serialization import load
from nas.core.errors import UserError
from nas.search.problem import AS_FAST
from nas.search.run import search
from nas.search.settings import SearchSettings

# Small enough for seconds: few images, one short epoch, thin shallow networks.
TINY = (
    "trials=6", "data.train=300", "data.val=200", "data.test=100", "budget.epochs=1",
    "space.depths=[1,2]", "space.kernels=[3,5]", "width=0.25",
    "references=[mobilenet_v3_small]",
    "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip
COMMAND = [sys.executable, "-m", "nas.search", *TINY]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    judge = [] if any(word.startswith("accuracy=") for word in words) else ["accuracy=scratch"]
    return subprocess.run(
        [*COMMAND, *judge, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def trials(folder: Path, name: str = "mbconv") -> list[dict[str, str]]:
    """Rows of trials.csv without what time decides."""
    with (folder / "results" / "search" / name / "trials.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """One finished search, and what it printed."""
    folder = tmp_path_factory.mktemp("first")
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_search_leaves_everything_it_promises(first):
    folder, done = first
    root = folder / "results" / "search" / "mbconv"
    names = {path.name for path in root.iterdir()}
    assert names >= {"trials.csv", "pareto.csv", "report.html", "summary.json", "winner.yaml",
                     "config.yaml", "environment.json", "front"}  # fmt: skip
    summary = json.loads((root / "summary.json").read_text())
    assert summary["evaluated"] == 6 <= summary["distinct"]
    assert summary["target_ms"] > 0
    assert summary["seconds"] > 0
    row_keys = {"accuracy", "latency_ms", "macs", "params", "arch"}
    for row in [*summary["front"], *summary["published"], summary["winner"]]:
        assert row_keys <= row.keys()
    assert "mobilenet_v3_small_0.25" in {row["name"] for row in summary["published"]}
    front = summary["front"]
    assert all(a["accuracy"] < b["accuracy"] and a["latency_ms"] < b["latency_ms"]
               for a, b in pairwise(front))  # fmt: skip
    assert f"winner    {summary['winner']['accuracy']:.1%}" in done.stdout
    assert len(list((root / "front").glob("*.yaml"))) == len(front)


def test_the_winner_is_the_network_that_was_measured(first):
    folder, _ = first
    root = folder / "results" / "search" / "mbconv"
    winner = json.loads((root / "summary.json").read_text())["winner"]
    arch = load(root / "winner.yaml")
    assert network_id(arch) == winner["id"]
    assert (cost(arch).macs, cost(arch).params) == (winner["macs"], winner["params"])
    assert "nas.search" in json.loads((root / "environment.json").read_text())["command"]


def test_the_same_command_again_does_nothing_more(first):
    folder, _ = first
    before = trials(folder)
    seconds = json.loads((folder / "results/search/mbconv/summary.json").read_text())["seconds"]
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert trials(folder) == before
    after = json.loads((folder / "results/search/mbconv/summary.json").read_text())
    assert after["seconds"] == seconds


def table(folder: Path) -> Path:
    """The folder of the one latency table that a run built."""
    (found,) = (folder / "results" / "latency").iterdir()
    return found


def test_the_search_builds_its_latency_table_and_says_how_wrong_it_is(first):
    folder, done = first
    names = {path.name for path in table(folder).iterdir()}
    assert names >= {"table.json", "table.csv", "blocks.csv", "networks.csv", "environment.json"}
    assert "unseen networks: MAPE" in done.stdout
    config = yaml.safe_load((folder / "results/search/mbconv/config.yaml").read_text())
    assert config["latency_table"] == table(folder).name


def test_the_winner_is_measured_whole_and_compared_with_the_table(first):
    folder, done = first
    summary = json.loads((folder / "results/search/mbconv/summary.json").read_text())
    winner = summary["winner"]
    off = winner["measured_ms"] / winner["latency_ms"] - 1
    assert summary["winner_latency_off"] == pytest.approx(off)
    assert summary["winner_latency_agrees"] == (abs(off) <= 0.05)
    word = "agrees with" if abs(off) <= 0.05 else "DISAGREES with"
    assert f"as a whole, which {word} the table" in done.stdout
    assert all(row["measured_ms"] > 0 for row in [*summary["front"], *summary["published"]])


def test_one_seed_and_one_table_give_the_same_trials(first, tmp_path):
    folder, _ = first
    words = [word for word in TINY if not word.startswith("latency.")]
    again = [
        *words,
        "accuracy=scratch",
        "latency=table",
        f"latency.path={table(folder) / 'table.csv'}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "nas.search", *again, "references=[]"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    apart = ("measured_ms", "latency_ms")  # a CSV measures no network; its sums round elsewhere
    ours, theirs = ([{k: v for k, v in row.items() if k not in apart} for row in rows]
                    for rows in (trials(tmp_path), trials(folder)))  # fmt: skip
    assert ours == theirs
    for one, other in zip(trials(tmp_path), trials(folder), strict=True):
        assert float(one["latency_ms"]) == pytest.approx(float(other["latency_ms"]), rel=1e-9)


def test_a_least_latency_that_leaves_nothing_is_refused(first, tmp_path):
    path = f"latency.path={table(first[0]) / 'table.csv'}"
    words = [word for word in TINY if not word.startswith("latency.")]
    words += ["latency=table", path, "limit.min_latency_ms=9", f"results={tmp_path}"]
    with pytest.raises(UserError, match=r"min_latency_ms=9 leaves no network: the target is .* ms"):
        search(SearchSettings.of(*words))
    words[-2:] = ["limit.min_latency_ms=0.2", "limit.latency_ms=0.1", f"results={tmp_path}"]
    with pytest.raises(UserError, match=r"=0.2 leaves no network: .*, the limit 0.1 ms and"):
        search(SearchSettings.of(*words))
    assert not list(tmp_path.glob("search/*/summary.json"))


def test_a_target_out_of_reach_ends_the_run_with_that_line(first, tmp_path):
    folder, _ = first
    words = [word for word in TINY if not word.startswith("latency.")]
    path = f"latency.path={table(folder) / 'table.csv'}"
    done = subprocess.run(
        [sys.executable, "-m", "nas.search", *words, "latency=table", path, "target=0.0001"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "out of reach: the fastest network of the space takes" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results/search/mbconv/summary.json").exists()


def test_another_configuration_under_the_same_name_is_refused(first):
    folder, _ = first
    done = run(folder, "seed=1")
    assert done.returncode == 2
    assert "seed: 1 here, 0 there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def ended(folder: Path) -> int:
    """Trainings that are written down."""
    path = folder / "evaluations.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum('"role": "trial"' in line and line.endswith("}") for line in lines)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_it_goes_on(how, tmp_path):
    words = ("trials=9", "run=stopped")
    folder = tmp_path / "results" / "search" / "stopped"
    with subprocess.Popen(
        [*COMMAND, "accuracy=scratch", *words], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 240
        while ended(folder) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()
        out, err = process.communicate(timeout=120)
    kept = ended(folder)
    assert kept >= 3
    if how == signal.SIGINT:
        assert process.returncode == 130, err
        assert "the same command goes on" in out
        summary = json.loads((folder / "summary.json").read_text())
        assert not any(row.get("measured_ms") for row in summary["front"])  # that takes time
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    rows = [row for row in trials(tmp_path, "stopped") if row["state"] != "infeasible"]
    assert len({row["id"] for row in rows}) == len(rows) == 9


def test_limits_keep_networks_from_being_trained(tmp_path):
    done = run(tmp_path, "limit.macs=900e3", "trials=3", "references=[]", "sampler=random")
    assert done.returncode == 0, done.stderr
    rows = trials(tmp_path)
    assert all(float(r["macs"]) <= 900e3 for r in rows if r["state"] == "complete")
    over = [r for r in rows if r["state"] == "infeasible"]
    assert over
    assert all(r["accuracy"] == "" and "macs" in r["reason"] for r in over)


def test_what_was_asked_for_is_in_the_folder(first):
    folder, _ = first
    config = yaml.safe_load((folder / "results/search/mbconv/config.yaml").read_text())
    assert config["space"]["depths"] == [1, 2]
    assert config["data_fingerprint"]


@pytest.mark.parametrize("space", ["nas_bench_macro", "mobilenet_v3"])
def test_every_space_can_be_searched_as_it_is(space, tmp_path):
    few = ["data.train=64", "data.val=64", "data.test=64", "budget.epochs=1", "references=[]"]
    words = [*TINY[-6:], *few, "trials=2", "accuracy=scratch", f"space={space}"]
    done = subprocess.run(
        [sys.executable, "-m", "nas.search", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "winner" in done.stdout


@pytest.mark.parametrize(
    "judge",
    [
        ("accuracy=oneshot", "accuracy.budget.seconds=3", "accuracy.budget.checks=2"),
        ("accuracy=proxies", "accuracy.proxy=naswot", "accuracy.draws=1", "accuracy.batch_size=16"),
        ("accuracy=blend", "accuracy.num_labels=5"),
        ("accuracy=blend", "accuracy@accuracy.prior=oneshot", "accuracy.num_labels=5",
         "accuracy.prior.budget.seconds=2", "accuracy.prior.budget.checks=2"),
    ],
    ids=lambda words: "_".join(word.partition("=")[2] for word in words[:2]),
)  # fmt: skip
def test_judges_that_do_not_train_score_many_and_train_the_best_alone(judge, tmp_path):
    words = ("trials=10", "finalists=2", "spread=2", "references=[]", *judge)
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "results" / "search" / "mbconv"
    summary = json.loads((root / "summary.json").read_text())
    labels = 5 if "accuracy=blend" in judge else 0
    assert (summary["evaluated"], summary["trained"]) == (10, 4 + labels)
    assert summary["versus_random"]["num_random"] == 10
    found = summary["fidelity"]
    assert found["num_networks"] == 4
    assert {"kendall", "kendall_interval", "top_regret"} <= found.keys()
    assert found["words"] in done.stdout
    trained = pd.read_csv(root / "trained.csv")
    assert len(trained) == 4 + labels
    assert trained.filter(like="pick.").notna().all(axis=None), "labels have choices too"
    if labels:
        learnt = trained[trained["number"].isna()]["latency_ms"] / summary["target_ms"]
        assert learnt.between(1 - AS_FAST, 1).sum() >= 2, "of 5 labels 2 are as fast as the target"
    assert "What the scores are worth" in (root / "report.html").read_text()
    scores = [row["score"] for row in trials(tmp_path) if row["state"] == "complete"]
    assert len(scores) == 10
    assert all(scores)
    winner = load(root / "winner.yaml")
    assert network_id(winner) == summary["winner"]["id"]
    (root / "pareto.html").touch()  # of an earlier version, which would say something else
    again = run(tmp_path, *words)
    assert not (root / "pareto.html").exists()
    assert again.returncode == 0, again.stderr
    assert json.loads((root / "summary.json").read_text())["winner"] == summary["winner"]


def test_where_the_device_runs_8_bits_networks_are_timed_and_judged_so(tmp_path):
    done = run(tmp_path, "latency.precision=int8", "trials=4", "references=[]")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "results" / "search" / "mbconv"
    where = json.loads((root / "environment.json").read_text())
    assert where["latency"]["device"]["precision"] == "int8"
    rows = [row for row in trials(tmp_path) if row["state"] == "complete"]
    assert rows
    assert all(0 < float(row["float_accuracy"]) < 1 for row in rows)
    assert any(row["float_accuracy"] != row["accuracy"] for row in rows)
    summary = json.loads((root / "summary.json").read_text())
    assert "in 8 bits" in summary["latency"]
    winner = summary["winner"]
    assert f"in float32 {winner['float_accuracy']:.1%}" in done.stdout
    refused = run(tmp_path, "trials=4", "references=[]")
    assert refused.returncode == 2
    assert "latency.precision: float32 here, int8 there" in refused.stderr


def labels(folder: Path) -> list[str]:
    """The networks that were trained as labels, one id for each time."""
    path = folder / "evaluations.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [row["id"] for row in rows if row["role"] == "label"]


def test_labels_that_a_killed_search_trained_are_not_trained_again(tmp_path):
    words = ("accuracy=blend", "accuracy.num_labels=6", "finalists=1", "spread=1", "references=[]")
    folder = tmp_path / "results" / "search" / "mbconv"
    with subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while len(labels(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert len(labels(folder)) >= 2
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert len(labels(folder)) == len(set(labels(folder))) == 6
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["trained"] == 6 + 2


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "accuracy.budget.seconds=-1",
            "accuracy.budget.seconds must be a number above 0 or null, not -1",
        ),
        ("accuracy=guess", "unknown accuracy 'guess'"),
        ("sampler.objective=speed", "search: unknown sampler.objective 'speed'"),
        ("budget=transfer", "search: budget.norms=frozen keeps the statistics of first weights"),
    ],
)
def test_mistakes_about_judge_and_sampler_are_named_before_anything_is_measured(
    word, says, tmp_path, refusal
):
    assert says in refusal("search", *TINY, "accuracy=oneshot", word, cwd=tmp_path)
    assert not (tmp_path / "results").exists()
