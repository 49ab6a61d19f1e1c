"""Several networks side by side, as a user asks for them and from Python."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.latency.backends.command import Command
from nas.latency.backends.onnxruntime import OnnxRuntime
from nas.latency.together import in_same_rounds
from nas.profile.run import profile
from nas.profile.settings import ProfileSettings
from search_spaces.lookup import PUBLISHED

QUICK = ("latency.min_rounds=6", "latency.max_seconds=0.02", "resolution=32")
NAMES = ("mobilenet_v2_0.35", "mobilenet_v1_0.25", "mobilenet_v3_small")


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """A function from words to what the command returned, its folder, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        found = profile(ProfileSettings.of(*words))
        (path,) = tmp_path.glob("results/profile/*/profile.json")
        assert json.loads(path.read_text()) == json.loads(json.dumps(found))
        return found, path.parent, capsys.readouterr().out

    return run


def test_several_networks_are_measured_together_and_drawn(asked, monkeypatch):
    calls = []
    measure_many = OnnxRuntime.measure_many

    def watched(self, archs, on_timing=None):
        calls.append((self.together, len(archs)))
        return measure_many(self, archs, on_timing)

    monkeypatch.setattr(OnnxRuntime, "measure_many", watched)
    found, folder, text = asked(f"arch={','.join(NAMES)}", "latency.together=1", *QUICK)
    assert calls == [(3, 3)], "one run, all in the same rounds"
    rows = found["networks"]
    assert [row["name"] for row in rows] == list(NAMES)
    for row, line in zip(rows, text.split("MACs in a ms")[1].splitlines()[1:], strict=False):
        arch = PUBLISHED[f"{row['name']}_32"]
        counts = cost(arch)
        assert (row["macs"], row["params"], row["id"]) == (
            counts.macs, counts.params, network_id(arch)
        )  # fmt: skip
        assert row["peak_memory_bytes"] == counts.peak_memory_bytes
        assert row["macs_per_ms"] == pytest.approx(counts.macs / row["latency_ms"])
        assert {row["name"], f"{row['latency_ms']:.4g}", f"{counts.macs / 1e6:.4g}"} <= {
            *line.split()
        }
    table = pd.read_csv(folder / "networks.csv")
    assert list(table["macs"]) == [row["macs"] for row in rows]
    assert {path.name for path in folder.iterdir()} == {
        "profile.html", "profile.json", "networks.csv", "environment.json"
    }  # fmt: skip
    page = (folder / "profile.html").read_text()
    assert "<script src" not in page
    assert all(name in page for name in NAMES)
    best = max(rows, key=lambda row: row["macs_per_ms"])["name"]
    assert re.search(rf"^latency   {best} does [\d.]+ times", text, re.MULTILINE)


def test_files_and_names_without_latency(asked, tmp_path):
    arch = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), resolution=32, classes=10)
    (tmp_path / "mine.yaml").write_text(dumps(arch))
    page = tmp_path / "results" / "profile" / "mine_mobilenet_v2" / "profile.html"
    page.parent.mkdir(parents=True)
    page.touch()  # of an earlier call that measured
    found, folder, text = asked("arch=mine.yaml, mobilenet_v2", "measure=false")
    assert page.parent == folder
    assert [row["macs"] for row in found["networks"]] == [
        cost(arch).macs, cost(PUBLISHED["mobilenet_v2"]).macs
    ]  # fmt: skip
    assert found["latency"] is None
    assert not (folder / "profile.html").exists()
    assert "ms" not in text.split()


@pytest.mark.parametrize("given", ["mobilenet_v2,mobilenet_v2", "mobilenet_v2,", ",", "a,,b"])
def test_a_list_names_different_networks(given):
    with pytest.raises(UserError, match="must name different networks with a comma between two"):
        ProfileSettings.of(f"arch={given}")


def test_one_of_several_that_is_unknown_is_named(asked, tmp_path):
    with pytest.raises(UserError, match="unknown network 'mobilnet_v2'; did you mean"):
        asked("arch=mobilenet_v1,mobilnet_v2", "measure=false")
    assert not list(tmp_path.iterdir())


def test_a_file_may_have_a_comma_in_its_name(asked, tmp_path):
    arch = Arch((Stage(8),), Stem(8), resolution=32, classes=10)
    (tmp_path / "a,b.yaml").write_text(dumps(arch))
    assert ProfileSettings.of("arch=a,b.yaml").names == ["a,b.yaml"]


def test_backends_without_rounds_stay_as_they_are():
    timer = OnnxRuntime(together=2)
    assert in_same_rounds(timer, 5) == OnnxRuntime(together=5)
    assert in_same_rounds(timer, 1) == timer
    other = object.__new__(Command)
    assert in_same_rounds(other, 5) is other


def test_a_batch_is_that_many_inputs(asked):
    found, _, _ = asked(f"arch={NAMES[0]},{NAMES[1]}", "latency.batch=4", *QUICK)
    for row in found["networks"]:
        assert row["macs_per_ms"] == pytest.approx(4 * row["macs"] / row["latency_ms"])


def test_rounds_and_intervals_are_said_only_where_there_are_some(asked):
    bench = "latency.command=sh -c 'wc -c < {onnx}'"
    words = ("latency=command", bench, "latency.runs=1", "resolution=32")
    _, folder, text = asked(f"arch={NAMES[0]},{NAMES[1]}", *words)
    page = (folder / "profile.html").read_text()
    assert "in the same time (command)" in " ".join(text.split())
    assert "in the same rounds" not in page
    assert "bars are the range of the runs" in page
    assert "95 % intervals" not in page
