"""The profile command as a user runs it, and thop's count explained for every network."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from nas.arch.arch import Arch, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.serialization import dumps
from nas.core.errors import UserError
from nas.core.run_folder import folder_name
from nas.profile.run import profile
from nas.profile.settings import ProfileSettings
from nas.profile.table import TABLE_WIDTH, print_table, table_rows
from nas.profile.thop import count_with_thop, explain_thop
from search_spaces.lookup import PUBLISHED, resolve_network
from search_spaces.published import MAKERS

# thop compares versions with distutils, as setuptools now dislikes
pytestmark = pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")
SMALL = Arch((Stage(8, 2, 2, Block(se=0.25)), Stage(16)), Stem(8), resolution=32, classes=10)


def run(*words, cwd):
    command = [sys.executable, "-m", "nas.profile", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )


def written(folder):
    (path,) = folder.glob("results/profile/*/profile.json")
    return path.parent.name, json.loads(path.read_text(encoding="utf-8"))


def test_a_published_network_from_the_command_line(tmp_path):
    done = run("arch=mobilenet_v3_small", "resolution=64", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    name, found = written(tmp_path)
    want = cost(replace(PUBLISHED["mobilenet_v3_small"], resolution=64))
    assert (name, found["name"], found["resolution"]) == (name, "mobilenet_v3_small", 64)
    assert found["macs"] == want.macs == sum(row["macs"] for row in found["rows"])
    assert found["params"] == want.params == sum(row["params"] for row in found["rows"])
    assert found["peak_memory_bytes"] == want.peak_memory_bytes
    assert 0 < found["latency_ms"] < 10_000
    assert found["latency_iqr_ms"] >= 0
    assert all(row["alone_ms"] > 0 for row in found["rows"])
    lines = done.stdout.splitlines()
    assert sum("mbconv" in line for line in lines) == 11
    assert [row["operator"] for row in found["rows"]].count("mbconv") == 11
    start = next(i for i, line in enumerate(lines) if line.startswith(" input")) + 1
    for row, line in zip(found["rows"], lines[start:], strict=False):
        assert line.split()[:3] == [f"{row['input'][0]}²", "x", str(row["input"][2])]
        assert {row["operator"], f"{row['macs']:,}", f"{row['params']:,}"} <= set(line.split())
    assert "nothing left over" in done.stdout
    assert "…" not in done.stdout, "a figure was cut"
    files = {path.name for path in tmp_path.glob("results/profile/*/*")}
    assert files == {"profile.html", "profile.json", "arch.yaml", "environment.json"}


@pytest.fixture
def here(tmp_path, capsys):
    """A function from settings to (folder's name, profile.json, what was printed)."""
    asked = ProfileSettings.of(
        "arch=mobilenet_v2", "measure=false", f"results={tmp_path / 'results'}"
    )

    def profiled(**settings):
        returned = profile(replace(asked, **settings))
        name, found = written(tmp_path)
        assert json.loads(json.dumps(returned)) == found
        return name, found, capsys.readouterr().out

    return profiled


def test_a_yaml_file_is_profiled(tmp_path, here):
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    page = tmp_path / "results" / "profile" / "mine" / "profile.html"
    page.parent.mkdir(parents=True)
    page.touch()  # of an earlier call that measured
    name, found, text = here(arch=str(tmp_path / "mine.yaml"))
    assert not page.exists()
    assert (name, found["name"], found["latency_ms"]) == ("mine", "mine", None)
    assert found["macs"] == cost(SMALL).macs
    assert "latency   " not in text


@pytest.mark.parametrize("named", ["a/b", "../../b", "[/bold]", "x" * 300, "/", "..", "é"])
def test_a_name_in_a_yaml_file_makes_one_folder_and_no_mischief(tmp_path, here, named):
    path = tmp_path / "mine.yaml"
    path.write_text(dumps(SMALL).replace("stages:", f"name: {json.dumps(named)}\nstages:"))
    name, found, text = here(arch=str(path))
    assert name == folder_name(named)
    assert found["name"] == named
    assert f"{named} at 32 pixels"[:80] in text
    assert {p.name for p in tmp_path.iterdir()} == {"mine.yaml", "results"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [("a/b", "a_b_c14cdd"), ("../..", "network_0cfd1c"), ("mobilenet_v2_0.35", None)],
)
def test_a_folder_has_a_safe_name(name, folder):
    assert folder_name(name) == (folder or name)


def test_width_scales_both_kinds_of_network(tmp_path):
    half, origin = resolve_network("mobilenet_v2", 0.5)
    assert (half, origin) == (PUBLISHED["mobilenet_v2_0.5"], "published")
    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    twice, _ = resolve_network(str(tmp_path / "mine.yaml"), 2)
    assert [s.width for s in twice.stages] == [16, 32]
    assert (twice.stem.width, twice.name) == (16, "mine")
    dense, _ = resolve_network("ssdlite320_mobilenet_v2", 0.5)
    assert dense == PUBLISHED["ssdlite320_mobilenet_v2_0.5"]
    with pytest.raises(UserError, match="has its width already"):
        resolve_network("ssdlite320_mobilenet_v2_0.5", 0.5)
    with pytest.raises(UserError, match="has its width already"):
        resolve_network("mobilenet_v2_0.5", 0.5)


@pytest.mark.parametrize("measure", ["maybe", 1, None])
def test_measure_is_true_or_false(here, tmp_path, measure):
    with pytest.raises(UserError, match="measure must be true or false, not"):
        here(arch="mobilenet_v2", measure=measure)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MAKERS)
def test_rows_add_up_and_thop_is_explained(name):
    arch, counts = PUBLISHED[name], cost(PUBLISHED[name])
    rows = table_rows(arch)
    assert sum(row["macs"] for row in rows) == counts.macs
    assert sum(row["params"] for row in rows) == counts.params
    assert explain_thop(counts.macs, count_with_thop(arch)).endswith("; nothing left over")


@pytest.mark.parametrize("name", ["efficientnet_v2_b0", "mobilenet_v4_conv_medium"])
def test_expansion_ratios_and_kernels_are_the_blocks_own(name):
    arch = PUBLISHED[name]
    shown = [row for row in table_rows(arch) if row["place"].startswith("stage")]
    blocks = [block for stage in arch.stages for block in stage.slots()]
    for row, block in zip(shown, blocks, strict=True):
        assert row["expand"] == block.expand, row
        assert (row["kernel"] or 0, row["first_kernel"] or 0) == (block.kernel, block.first_kernel)


def test_kernels_are_printed_as_in_the_notation():
    console = Console(width=TABLE_WIDTH, record=True, file=io.StringIO())
    arch = PUBLISHED["mobilenet_v4_conv_medium"]
    print_table(console, arch, table_rows(arch))
    kernels = [line.split()[4] for line in console.export_text().splitlines() if "uib" in line]
    assert {kernel for kernel in kernels if "-" in kernel} == {"3-0", "3-3", "3-5", "5-0", "5-5"}
    assert {kernel for kernel in kernels if "-" not in kernel} <= {"2", "4"}  # ratios, without any


def test_what_thop_leaves_over_is_said():
    thop = {"total": 1_234, "norms": 100, "pools": 10}
    assert explain_thop(1_000, thop).endswith("; 124 unexplained")


def test_a_pooling_row_has_its_kernel_and_stride():
    row = next(r for r in table_rows(PUBLISHED["shufflenet_v2"]) if r["operator"] == "maxpool")
    assert (row["kernel"], row["stride"]) == (3, 2)  # ShuffleNetV2, Ma et al. 2018, Table 5


@pytest.mark.parametrize("file", ["winner.yaml", "network.yaml"])
def test_of_a_folder_the_network_in_it_is_asked_for(tmp_path, file):
    folder = tmp_path / "mobile"
    folder.mkdir()
    (folder / file).write_text(dumps(SMALL))
    with pytest.raises(UserError, match=f"is a folder: give arch=.*mobile/{file}"):
        resolve_network(f"{folder}/")


def test_a_folder_named_like_a_published_network_is_in_no_ones_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mobilenet_v2").mkdir()
    assert resolve_network("mobilenet_v2")[1] == "published"
