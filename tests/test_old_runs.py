"""Runs that version 0.1 began go on when the same command is given again (old_runs/README.md)."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

OLD_RUNS = Path(__file__).parent / "old_runs"
# Of a training: equal only where it was not done again.
TRAINED = ("id", "score", "accuracy", "test_accuracy", "cross_entropy", "seconds")
SEARCH_FILES = {"config.yaml", "trials.csv", "pareto.csv", "report.html", "winner.yaml", "front"}


class OldRun:
    """A copy of an old folder, in which its command was given again.

    root    the copy's run folder, now ended; output is what was printed, wanted how many trials.
    began   the same as the old commit left it; of a search, trials and attrs of its study.
    ended   tables of the same as the old commit ended it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        source = OLD_RUNS / name
        shutil.copytree(source / "began", folder, dirs_exist_ok=True)
        for path in OLD_RUNS.glob("*.*"):
            if path.suffix in (".csv", ".yaml", ".sh"):
                shutil.copy(path, folder)
        if study := study_of(folder):
            self.trials, self.attrs = study.get_trials(), study.user_attrs
        command = shlex.split((source / "command.txt").read_text())
        self.wanted = next((int(w[7:]) for w in command if w.startswith("trials=")), 0)
        command = [sys.executable, "-m", *command]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.output = done.stdout
        (self.began,) = (source / "began").glob("results/*/*")
        relative = self.began.relative_to(source / "began")
        self.root, self.ended = folder / relative, source / "ended" / relative
        siblings = {path.name for path in self.root.parent.iterdir()}
        assert siblings == {self.root.name}, "it went on in the folder where it began"
        names = {path.name for path in self.root.iterdir()}
        assert names >= {"summary.json", "environment.json"}

    def summary(self) -> dict:
        return json.loads((self.root / "summary.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def entries_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def study_of(folder: Path) -> optuna.Study | None:
    """The study of a search, read with Optuna alone."""
    journals = list(folder.glob("results/search/*/journal.log"))
    if journals:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journals[0])))
    elif (script := folder / "study.sql").exists():
        with sqlite3.connect(folder / "study.db") as database:
            database.executescript(script.read_text())
        database.close()
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    else:
        return None
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def same(row: dict[str, str], metrics: dict, columns=TRAINED) -> bool:
    """Whether a row of a CSV has these metrics, to the last digit."""
    known = (metrics[name] for name in columns)
    return [row[name] for name in columns] == ["" if x is None else str(x) for x in known]


def check_trials(run: OldRun) -> None:
    """What was told is kept with its number, what was evaluated and asked for comes in its turn."""
    assert {path.name for path in run.root.iterdir()} >= SEARCH_FILES
    rows = rows_of(run.root / "trials.csv")
    columns = (*TRAINED, "state", "latency_ms", "macs", "arch", "reason")
    by_number = {int(row["number"]): row for row in rows}
    old = {int(row["number"]): row["id"] for row in rows_of(run.ended / "trials.csv")}
    distinct = {row["id"]: row for row in rows if row["state"] != "duplicate"}
    trials = [trial for trial in run.trials if trial.number in old]
    assert trials
    for trial in trials:
        metrics = trial.user_attrs.get("metrics")
        if trial.state.is_finished():
            assert same(by_number[trial.number], metrics, columns), trial.number
            assert by_number[trial.number]["name"] == trial.user_attrs.get("name", "")
        if metrics is not None:
            assert same(distinct[metrics["id"]], metrics, columns), trial.number
        assert old[trial.number] in distinct, (trial.number, trial.state)
    asked = [old[trial.number] for trial in trials if trial.state != TrialState.WAITING]
    assert list(distinct)[: len(set(asked))] == list(dict.fromkeys(asked))
    assert len(distinct) == sum(row["state"] != "duplicate" for row in rows), "each once"
    scored = sum(row["state"] == "complete" for row in rows)
    assert scored == run.summary()["evaluated"] == run.wanted


def check_beside(run: OldRun) -> None:
    """Published networks, labels, random networks and finalists are not judged again."""
    attrs, summary = run.attrs, run.summary()
    trained = rows_of(run.root / "trained.csv") if (run.root / "trained.csv").exists() else []
    random = rows_of(run.root / "random.csv") if (run.root / "random.csv").exists() else []
    published = {row["name"]: row for row in summary["published"]}
    for key, metrics in attrs.items():
        kind, _, name = key.partition(":")
        if kind == "published":
            assert "reference 1/1" not in run.output, "there is nothing to train"
            for column in ("id", "accuracy", "test_accuracy"):
                assert published[name][column] == metrics[column]
        elif kind == "label":
            shown = [row for row in trained if same(row, metrics)]
            assert len(shown) == 1, "once, also where it became a finalist"
        elif kind == "alone":
            assert any(same(row, metrics) and row["number"] == name for row in trained)
        elif kind == "random":
            assert any(same(row, metrics) for row in random)
    assert summary["seconds"] >= attrs.get("seconds", 0)


@pytest.mark.parametrize(
    "name", ["search_scratch", "search_blend", "search_blend_ended", "search_nsga2"]
)
def test_a_search_goes_on_and_trains_nothing_twice(name, tmp_path):
    run = OldRun(name, tmp_path)
    check_trials(run)
    check_beside(run)


def test_a_search_without_noise_goes_on_as_if_the_code_were_the_same(tmp_path):
    run = OldRun("search_log_macs", tmp_path)
    check_trials(run)
    check_beside(run)
    ids, old = (
        [row["id"] for row in rows_of(root / "trials.csv") if row["state"] != "duplicate"]
        for root in (run.root, run.ended)
    )
    assert ids == old


def kept(run: OldRun, name: str) -> list[dict]:
    """The entries of a journal, which begins with what was there, byte for byte."""
    (path,) = run.root.glob(name)
    before = (run.began / path.relative_to(run.root)).read_text()
    assert path.read_text().startswith(before)
    return entries_of(path)


def test_a_latency_table_goes_on_and_times_nothing_twice(tmp_path):
    run = OldRun("latency_command", tmp_path)
    keys = [entry["key"] for entry in kept(run, "measured.jsonl")]
    assert keys == [entry["key"] for entry in entries_of(run.ended / "measured.jsonl")]
    for name in ("blocks.csv", "networks.csv", "table.csv"):
        ours, old = rows_of(run.root / name), rows_of(run.ended / name)
        assert len(ours) == len(old)
        for row, other in zip(ours, old, strict=True):
            assert row.keys() >= other.keys()  # columns may have come since
            for column in other:
                if column.endswith("ms") or column in ("low", "high"):
                    assert float(row[column]) == pytest.approx(float(other[column]), rel=0.02)
                else:
                    assert row[column] == other[column]


def test_a_fit_goes_on_and_trains_nothing_twice(tmp_path):
    run = OldRun("scale_fit", tmp_path)
    fitted = [(row["id"], row["epochs"], row["seed"]) for row in kept(run, "fit-*/judged.jsonl")]
    assert len(set(fitted)) == len(fitted)
    (old,) = run.ended.glob("fit-*/judged.jsonl")
    first = [row["id"] for row in entries_of(old) if row["seed"] == 0]
    assert [key for key, _, seed in fitted if seed == 0] == first, "the design of the fit"
    assert run.summary()["fit"]["num_points"] == len(first)
    trained = [entry["key"] for entry in kept(run, "trained.jsonl")]
    jobs = [key.partition("-")[2] for key in trained]  # without what stands for data and budget
    assert len(set(jobs)) == len(jobs)
    timed = [entry["key"] for entry in kept(run, "latency-*.jsonl")]
    assert len(set(timed)) == len(timed)


def test_a_fit_by_an_elastic_network_is_found_again(tmp_path):
    run = OldRun("scale_oneshot", tmp_path)
    (old,) = run.began.glob("fit-*/judged.jsonl")
    assert kept(run, "fit-*/judged.jsonl") == entries_of(old), (
        "neither it nor its rivals are trained again"
    )
    assert [row["name"] for row in run.summary()["family"]] == ["phi0", "phi1", "phi2"]


def test_a_training_goes_on_with_its_next_epoch(tmp_path):
    run = OldRun("train", tmp_path)
    ours = (run.root / "history.csv").read_text().splitlines()
    old = (run.ended / "history.csv").read_text().splitlines()
    assert len(ours) == len(old) == 4
    assert ours[:3] == old[:3], "the header and two epochs, with their seconds"
    for number, other in zip(ours[3].split(",")[:2], old[3].split(",")[:2], strict=True):
        assert float(number) == pytest.approx(float(other), rel=1e-3)
    assert (run.root / "model.onnx").exists()
