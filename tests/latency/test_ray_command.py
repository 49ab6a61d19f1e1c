"""A latency command on workers of a real Ray that hold the device."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace

import pytest

from nas.core.cluster import Needs, connect
from nas.core.errors import UserError
from nas.latency.backends.command import Command
from nas.latency.backends.ray_command import RayCommand
from nas.latency.store import table_folder
from nas.latency.table import MeasurementEffort
from search_spaces.lookup import PUBLISHED

pytest.importorskip("ray", reason="needs Ray: pip install 'mobile-nas[ray]'")

# the size of the model in bytes is its time in microseconds, but for what a file says to do first
BENCH = """
import os, pathlib, signal, sys
folder = pathlib.Path(__file__).parent
try:
    (folder / "die").unlink()  # of two that find it one dies
except FileNotFoundError:
    pass
else:
    os.kill(os.getppid(), signal.SIGKILL)
if (folder / "fail").exists():
    sys.exit("the phone is off")
print(os.path.getsize(sys.argv[1]), "us")
"""


@pytest.fixture(scope="module")
def cluster():
    close = connect(None, Needs(0, 0, {"phone": 1.0}), 2)
    yield
    close()


@pytest.fixture
def bench(tmp_path):
    file = tmp_path / "bench.py"
    file.write_text(BENCH)
    return file


def archs():
    names = ("mobilenet_v3_small", "mobilenet_v2", "mobilenet_v1")
    return [replace(PUBLISHED[name], resolution=32) for name in names]


def remote(bench, **more):
    words = f"{sys.executable} {bench} {{onnx}}"
    return RayCommand(command=words, runs=1, together=1, resources="{phone: 1}", **more)


def test_timings_are_those_of_the_command_here_and_name_their_machine(cluster, bench):
    here = Command(command=f"{sys.executable} {bench} {{onnx}}", runs=1, together=1)
    told: dict[int, float] = {}
    found = remote(bench).measure_many(
        archs(), lambda i, timing: told.update({i: timing.median_ms})
    )
    assert [replace(timing, host="") for timing in found] == here.measure_many(archs())
    assert {timing.host for timing in found} == {platform.node()}
    assert told == {i: timing.median_ms for i, timing in enumerate(found)}


def test_a_lost_worker_costs_a_repetition(cluster, bench):
    (bench.parent / "die").touch()
    assert len(remote(bench).measure_many(archs())) == 3
    (bench.parent / "die").touch()
    with pytest.raises(UserError, match="the worker that ran the latency command was lost 1 times"):
        remote(bench, retries=0).measure_many(archs()[:1])


def test_what_the_command_says_went_wrong_is_told(cluster, bench):
    (bench.parent / "fail").touch()
    with pytest.raises(UserError, match=r"failed on .* exit code 1: the phone is off"):
        remote(bench).measure_many(archs())
    missing = RayCommand(command="no_such_program {onnx}", resources="{phone: 1}")
    with pytest.raises(UserError, match="cannot run the latency command"):
        missing.measure_many(archs()[:1])


def test_where_the_cluster_is_does_not_decide_the_table(bench, tmp_path):
    folders = {
        table_folder("results", "space", archs()[0], remote(bench, address=address), EFFORT)
        for address in (None, "auto")
    }
    assert len(folders) == 1


EFFORT = MeasurementEffort()


@pytest.mark.parametrize("text", ["phone", "{}"])
def test_a_device_that_is_not_named_is_refused(text):
    with pytest.raises(UserError, match=r"latency\.resources must"):
        RayCommand(command="bench {onnx}", resources=text)


def test_a_table_says_which_machine_each_figure_is_from(bench, tmp_path):
    words = [
        "latency=ray_command", f"latency.command={sys.executable} {bench} {{onnx}}",
        "latency.resources={phone: 1}", "latency.runs=1", "table.blocks=60", "table.calibrate=6",
        "table.validate=6", "table.repeat=0",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "nas.latency", *words], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (table,) = (tmp_path / "results" / "latency").iterdir()
    blocks = json.loads((table / "table.json").read_text())["blocks"]
    assert {block["host"] for block in blocks} == {platform.node()}
    assert "host" in (table / "networks.csv").read_text().partition("\n")[0]
