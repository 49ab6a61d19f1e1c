"""The scale command as a user runs it, and its settings in this process."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import FrozenInstanceError, replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from nas.arch.arch import Arch, Head, ImageSpec, Stage, Stem
from nas.arch.cost import cost
from nas.arch.operators import network_id, operators
from nas.arch.serialization import dumps, load
from nas.core.cli import main
from nas.core.errors import UserError
from nas.scale import run as run_module
from nas.scale.__main__ import ABOUT
from nas.scale.__main__ import run as run_command
from nas.scale.digests import fit_digest, training_digest
from nas.scale.report import newest_front, remarks
from nas.scale.run import scale
from nas.scale.settings import ScaleSettings
from nas.scale.setup import rule_of
from search_spaces.lookup import PUBLISHED, resolve_baseline

SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
QUICK = ("latency.min_rounds=6", "latency.max_seconds=0.05")
FEW = ("data.train=200", "data.val=100", "data.test=100", "budget.epochs=1", "workers=1")


def run(folder, *words):
    command = [sys.executable, "-m", "nas.scale", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, check=False, timeout=240
    )


def summary_of(folder, name):
    root = folder / "results" / "scale" / name
    return root, json.loads((root / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """A function that runs the command in this process and tells what it printed."""
    monkeypatch.chdir(tmp_path)

    def ran(*words):
        scale(ScaleSettings.of(*words))
        return capsys.readouterr().out

    return ran


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A family of a small network of our own, trained, and what was printed."""
    folder = tmp_path_factory.mktemp("grown")
    (folder / "mine.yaml").write_text(dumps(SMALL))
    words = ("arch=mine.yaml", "coefficients=[1.2,1.1,1.15]", "train=true", *QUICK, *FEW)
    done = run(folder, "phi=1.5", *words)
    assert done.returncode == 0, done.stderr
    return folder, words, done


def test_a_family_leaves_everything_it_promises(grown):
    folder, _, done = grown
    root, found = summary_of(folder, "mine")
    names = {path.name for path in root.iterdir()}
    assert names >= {"config.yaml", "environment.json", "family.csv", "family", "summary.json",
                     "scale.html", "trained.jsonl"}  # fmt: skip
    assert found["fit"] is None
    assert found["coefficients"] == [1.2, 1.1, 1.15]
    assert [row["phi"] for row in found["family"]] == [0, 1, 1.5]
    for row in found["family"]:
        assert {"depth_exact", "depth", "width_exact", "width", "resolution_exact", "resolution",
                "macs", "macs_ratio", "params"} <= row.keys()  # fmt: skip
        assert row["latency_ms"] > 0
        assert 0 <= row["accuracy"] <= 1
        assert f"{row['macs_ratio']:.3f}" in done.stdout
    for word in ("baseline", "family", "wrote"):
        assert any(line.startswith(word) for line in done.stdout.splitlines()), word
    page = (root / "scale.html").read_text(encoding="utf-8")
    assert "What rounding makes of phi" in page
    assert "<script src" not in page


def test_its_files_are_the_networks_of_its_table(grown):
    folder, _, _ = grown
    root, found = summary_of(folder, "mine")
    with (root / "family.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, line in zip(found["family"], rows, strict=True):
        arch = load(root / "family" / f"{row['name']}.yaml")
        assert network_id(arch) == row["id"] == line["id"]
        counts = cost(arch)
        assert (counts.macs, counts.params) == (row["macs"], row["params"])
        assert counts.peak_memory_bytes == row["peak_memory_bytes"]
        assert int(line["macs"]) == row["macs"]
        assert arch.resolution == row["resolution"]
    assert found["family"][0]["id"] == network_id(SMALL)
    config = yaml.safe_load((root / "config.yaml").read_text())
    assert (config["phi"], config["choices"]["fit"]) == (1.5, "quick")
    environment = json.loads((root / "environment.json").read_text())
    assert "nas.scale" in environment["command"]


def test_another_phi_times_and_trains_only_what_is_new(grown):
    folder, words, _ = grown
    root, before = summary_of(folder, "mine")
    lines = len((root / "trained.jsonl").read_text().splitlines())
    done = run(folder, "phi=2", *words)
    assert done.returncode == 0, done.stderr
    _, after = summary_of(folder, "mine")
    assert [row["name"] for row in after["family"]] == ["phi0", "phi1", "phi2"]
    assert after["family"][:2] == before["family"][:2], "latencies and accuracies were kept"
    assert len((root / "trained.jsonl").read_text().splitlines()) == lines + 1
    assert {p.name for p in (root / "family").iterdir()} == {
        "phi0.yaml", "phi1.yaml", "phi2.yaml"
    }  # fmt: skip


def test_published_rows_from_the_command_line(tmp_path, here):
    words = ("arch=efficientnet_b0", "rule=published", "name=b2", "measure=false")
    out = here(*words)
    root, found = summary_of(tmp_path, "efficientnet_b0")
    assert [row["name"] for row in found["family"]] == ["b0", "b1", "b2"]
    assert [row["macs"] for row in found["family"]] == [385814752, 686802832, 993561872]
    b2 = load(root / "family" / "b2.yaml")
    assert operators(b2) == operators(PUBLISHED["efficientnet_b2"])
    assert "2.575" in out
    assert {row["latency_ms"] for row in found["family"]} == {None}
    here(*words[:2], "measure=false", "macs=700e6")
    assert summary_of(tmp_path, "efficientnet_b0")[1]["family"][-1]["name"] == "b1"


def test_budgets_are_met_from_the_command_line(tmp_path, here):
    out = here("arch=efficientnet_b0", "rule=formula", "macs=1e9", "measure=false")
    _, found = summary_of(tmp_path, "efficientnet_b0")
    solved, last = found["solved"], found["family"][-1]
    assert last["macs"] == solved["price"] <= 1e9 < solved["next_price"]
    assert f"phi={solved['phi']:g}: " in out
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    words = ("arch=mine.yaml", "rule=dwr", *QUICK)
    here("phi=1", *words)
    base = summary_of(tmp_path, "mine")[1]["family"][0]["latency_ms"]
    here(f"latency_ms={4 * base}", *words)
    _, found = summary_of(tmp_path, "mine")
    assert found["family"][-1]["latency_ms"] <= 4 * base < found["solved"]["next_price"]


def test_without_anything_a_small_published_network_is_the_baseline(tmp_path, here):
    here("phi=1", "rule=uniform", "measure=false")
    _, found = summary_of(tmp_path, "mobilenet_v3_small_0.35")
    assert found["family"][0]["resolution"] == 28
    assert found["family"][1]["macs"] > found["family"][0]["macs"]


FIT = ("arch=mine.yaml", "measure=false", "fit.points=12", "fit.rungs=[[1,1]]",
       "fit.confirm_epochs=1", "fit.confirm_seeds=2", "fit.resamples=100", *FEW)  # fmt: skip


def test_without_coefficients_they_are_fitted_and_kept(tmp_path, here):
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    out = here("phi=1", *FIT)
    root, found = summary_of(tmp_path, "mine")
    fit = found["fit"]
    assert {"alpha", "beta", "gamma", "intervals", "objective", "num_points", "verdict"} <= set(fit)
    for name in ("alpha", "beta", "gamma"):
        low, high = fit["intervals"][name]
        assert 1 <= low <= fit[name] <= high
    assert found["coefficients"] == [fit["alpha"], fit["beta"], fit["gamma"]]
    asked = yaml.safe_load((root / "config.yaml").read_text())
    assert asked["coefficients"] is None, "what was fitted was not asked for"
    assert fit["objective"] == "macs"
    assert fit["verdict"] in out
    assert f"{fit['alpha']:.3f}" in out
    (kept,) = root.glob("fit-*/judged.jsonl")
    before = kept.read_text()
    here("phi=2", *FIT)
    assert kept.read_text() == before, "nothing is trained for a second phi"
    _, after = summary_of(tmp_path, "mine")
    assert after["fit"] == fit
    assert len(after["family"]) == 3


def test_one_elastic_network_may_judge_what_the_fit_chooses_from(tmp_path, here):
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    words = ("accuracy=oneshot", "accuracy.budget.training.epochs=1", "fit.phi=-1", *FIT)
    out = here("phi=-1", *words)
    root, found = summary_of(tmp_path, "mine")
    assert found["fit"]["judge"] == "supernet, 1 epochs"
    assert found["family"][1]["macs_ratio"] < 0.8
    assert "mirrors" not in out
    (kept,) = root.glob("fit-*/judged.jsonl")
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len([row for row in rows if row["epochs"] == 0]) == found["fit"]["num_points"]
    here("phi=-2", *words)
    assert [json.loads(line) for line in kept.read_text().splitlines()] == rows
    here("phi=1", *(word for word in words if word != "fit.phi=-1"))
    assert len(list(root.glob("fit-*/judged.jsonl"))) == 2, "another supernet, another folder"


WRONG = [
    (["phi=three"], "phi must be a number from -100 to 100 or null, not 'three'"),
    (["phi=1000"], "phi must be a number from -100 to 100 or null, not 1000"),
    (["coefficients=[0.9,1.1,1.15]"], "are under 1"),
    (["coefficients=[1.2,1.1]"], "coefficients must be alpha, beta and gamma"),
    (["coefficients=[1.2,1.1,big]"], "coefficients must be a list of numbers or null, not"),
    (["arch=efficientnet_b0", "rule=formula", "phi=-25"], "resolution 16 is too small for"),
    (["arch=efficientnet_b0", "rule=formula", "macs=10"], "macs=10 is out of reach: the smallest"),
    (["arch=efficientnet_b0", "rule=formula", "macs=1e30"], "is out of reach: the largest"),
    (["arch=efficientnet_b0", "rule=published", "macs=10"], "macs=10 is out of reach: b0"),
    (["phi=2", "macs=1e9"], "give one of phi=, macs= and latency_ms=, not phi and macs"),
    (["rule=compound"], "unknown rule 'compound'"),
    (["rule=published"], "give name=b3"),
    (["rule=published", "name=b9"], "unknown name 'b9'"),
    (["name=b3"], "is a row of rule=published"),
    (["rule=dwr", "coefficients=[1.2,1.1,1.15]"], "are those of rule=formula"),
    (["latency_ms=2", "measure=false"], "drop measure=false"),
    (["train=maybe"], "train must be true or false, not 'maybe'"),
    (["objective=speed"], "unknown objective 'speed'"),
    (["objective=latency", "rule=depth"], "objective=latency is what a fit holds equal"),
    (["rule=published", "name=b3", "repeats=nearest"], "mean nothing to rule=published"),
    (["latency.precision=int8"], "latency.precision=int8 is not for a fit"),
    (["accuracy=blend"], "unknown accuracy 'blend'"),
    (["accuracy=oneshot", "fit.confirm_seeds=0"], "needs longer trainings to test its order"),
    (["fit.phi=2"], "fit.phi must be a whole number from -1 to 1, not 2"),
    (["fit.phi=-1", "phi=2"], "fit.phi=-1 fits how to shrink, phi=2 grows"),
    (["accuracy=oneshot", "rule=uniform"], "accuracy=oneshot is for a fit"),
    (["fit.phi=-1", "coefficients=[1.2,1.1,1.15]", "phi=-1"], "fit.phi=-1 is for a fit"),
    (["fit.points=20", "coefficients=[1.2,1.1,1.15]"], "fit.points=20 is for a fit, and nothing"),
    (["budget=standard", "rule=uniform"], "budget=standard is for a fit, and nothing is fitted"),
    (["arch=lraspp_mobilenet_v3_small_0.35", "phi=1"], "answers boxes or masks"),
    (["workers=0"], "workers must be a whole number from 1"),
    (["budget=transfer"], "and there are none: give budget.norms=batch"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    extra = [] if "measure=false" in words else ["measure=false"]
    given = [*words, *extra] if "latency_ms=2" not in words else words
    monkeypatch.setattr(sys, "argv", ["scale", *given, f"results={tmp_path}"])
    with pytest.raises(SystemExit) as stopped:
        main("scale", ABOUT, run_command)
    assert stopped.value.code == 2
    text = capsys.readouterr().err
    assert message in text
    assert len(text.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("summary.json"))


def test_a_network_without_blocks_has_nothing_to_scale(tmp_path):
    bare = replace(SMALL, stages=tuple(replace(stage, depth=0) for stage in SMALL.stages))
    (tmp_path / "bare.yaml").write_text(dumps(bare))
    done = run(tmp_path, "phi=1", f"arch={tmp_path / 'bare.yaml'}", "measure=false")
    assert done.returncode == 2
    assert "has no blocks to scale: all depths are 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_ends_the_process_with_2(tmp_path):
    done = run(tmp_path, "phi=abc")
    assert done.returncode == 2
    mistake = "phi must be a number from -100 to 100 or null, not 'abc'"
    assert done.stderr == f"python -m nas.scale: {mistake}\n"


def test_its_docstring_says_how_to_call_it_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = textwrap.dedent(run_module.__doc__.partition(":\n\n")[2])
    assert len(lines.strip().splitlines()) == 5
    quick = lines.replace('"phi=2"', '"phi=2", "resolution=32", "latency.max_seconds=0.02"')
    names: dict[str, Any] = {}
    exec(quick, names)
    root, kept = summary_of(tmp_path, "mobilenet_v2")
    assert names["summary"] == kept
    assert (root / "scale.html").is_file()


def test_the_configuration_is_shown_and_nothing_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["scale", "phi=2", "--cfg"])
    with pytest.raises(SystemExit) as stopped:
        main("scale", ABOUT, run_command)
    shown = yaml.safe_load(capsys.readouterr().out)
    assert stopped.value.code == 0
    assert (shown["phi"], shown["fit"]["points"]) == (2, 16)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "family_table", press)
    monkeypatch.setattr(sys, "argv", ["scale", "phi=1", "rule=dwr", "measure=false"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # main hears no second one
    with pytest.raises(SystemExit) as stopped:
        main("scale", ABOUT, run_command)
    assert stopped.value.code == 130
    assert "the same command goes on" in capsys.readouterr().out


def test_settings_are_checked_however_they_are_made():
    given = ScaleSettings.of("rule=dwr")
    assert replace(given, phi=1).phi == 1
    with pytest.raises(UserError, match="workers must be a whole number from 1 to 256, not 0"):
        replace(given, workers=0)
    with pytest.raises(UserError, match="give one of phi=, macs= and latency_ms="):
        replace(given, macs=1e6)
    with pytest.raises(UserError, match=r"fit\.phi must be a whole number from -1 to 1, not 2"):
        replace(given, fit=given.fit.updated(phi=2))
    with pytest.raises(FrozenInstanceError):
        given.phi = 2


# As commit 24a3697 computed them from SMALL and embedded images with this fingerprint.
FINGERPRINT = "1d7f535e0b419ba5"
DIGESTS = [
    ((), "d0f06841", "9baaf631"),
    (("budget.lr=0.1", "repeats=nearest"), "c23e8c1b", "24866c08"),
    (("data.flip=false", "budget=standard"), "a08d370d", "7b8ef059"),
    (("accuracy=oneshot",), "d0f06841", "d4cd4592"),
    (("accuracy=oneshot", "fit=thorough", "seed=3", "fit.phi=-1",
      "accuracy.budget.training.epochs=1"), "d0f06841", "c5edc2d2"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "training", "fit"), DIGESTS, ids=lambda v: str(v)[:40])
def test_folders_and_rows_of_earlier_runs_are_found_again(words, training, fit):
    settings = ScaleSettings.of(*words, *FEW)
    images = SimpleNamespace(fingerprint=FINGERPRINT, flip=settings.data.node["flip"])
    assert training_digest(settings, images) == training
    assert fit_digest(settings, SMALL, images, timer=None) == fit


DATA = ImageSpec(channels=1, classes=7, resolution=28)


def test_phi_is_three_unless_something_else_is_given():
    of = ScaleSettings.of
    assert of().phi == 3
    assert of("fit.phi=-1").phi == -3
    assert of("macs=1e6").phi is None
    assert of("rule=formula").coefficients == [1.2, 1.1, 1.15]
    assert of("phi=-1", "coefficients=[0.9,1,1]").coefficients == [0.9, 1, 1]


DENSE = "lraspp_mobilenet_v3_small_0.35"


def test_the_newest_winner_is_the_baseline(tmp_path):
    assert (
        resolve_baseline(None, tmp_path, lambda: DATA, trained=True)[0].name
        == "mobilenet_v3_small_0.35"
    )
    for age, name in enumerate(("new", "old")):
        folder = tmp_path / "search" / name
        folder.mkdir(parents=True)
        (folder / "winner.yaml").write_text(dumps(SMALL))
        os.utime(folder / "winner.yaml", (1e9 - age, 1e9 - age))
    (tmp_path / "search" / "boxes").mkdir()
    (tmp_path / "search" / "boxes" / "winner.yaml").write_text(dumps(PUBLISHED[DENSE]))  # newer
    arch, origin = resolve_baseline(None, tmp_path, lambda: DATA, trained=False)
    assert (arch, arch.name) == (SMALL, "new_winner")
    assert "new" in origin
    assert resolve_baseline(None, tmp_path, lambda: DATA, trained=True)[0].classes == 7


def test_a_published_baseline_is_its_own_size_unless_it_is_trained():
    find = partial(resolve_baseline, "efficientnet_b0", "", lambda: DATA)
    assert find(trained=False)[0] == PUBLISHED["efficientnet_b0"]
    sized, _ = find(trained=True)
    assert (sized.resolution, sized.channels, sized.classes) == (28, 1, 7)
    larger, _ = find(trained=True, resolution=56)
    assert larger.resolution == 56
    half, _ = find(trained=False, resolution=112)
    assert half.resolution == 112


def test_rules_take_phi():
    settings = ScaleSettings.of("rule=depth", "repeats=nearest", "fixed_ends=true")
    found = rule_of(settings, None)
    assert found.factors(2).depth == pytest.approx(4)
    assert (found.fixed_ends, found.repeats) == (True, "nearest")
    formula = rule_of(ScaleSettings.of(), [1.3, 1, 1])
    assert formula.factors(2).depth == pytest.approx(1.69)


def test_phi_below_zero_is_warned_of():
    row = {"name": "phi-1", "phi": -1.0, "macs_ratio": 0.5, "two_to_phi": 0.5, "macs_promised": 0.5}
    assert [label for label, _ in remarks([row], None, 1)] == ["warning"]
    assert remarks([row], None, -1) == []
    assert [label for label, _ in remarks([{**row, "phi": 1.0}], None, -1)] == ["warning"]
    off = {**row, "phi": 1.0, "two_to_phi": 2.0, "macs_ratio": 2.6}
    ((label, text),) = remarks([off], None, 1)
    assert (label, "2.600 times" in text) == ("rounding", True)


def test_the_newest_front_is_drawn_below(tmp_path):
    assert newest_front(tmp_path) is None
    folder = tmp_path / "mbconv"
    folder.mkdir()
    pd.DataFrame([{"latency_ms": 1.0, "measured_ms": None, "accuracy": 0.8, "macs": 1e6}]).to_csv(
        folder / "pareto.csv"
    )
    found = newest_front(tmp_path)
    assert (found.name, len(found.front), found.summary) == ("mbconv", 1, {})


def test_families_grow(grown):
    _, found = summary_of(grown[0], "mine")
    assert all(a["macs"] < b["macs"] for a, b in pairwise(found["family"]))
