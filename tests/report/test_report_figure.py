"""The picture of a front for a paper, and the command that writes it."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest
from PIL import Image
from report_runs import INHERITED, KEPT, OLD_RUN, untrained, write_run

from nas.core.errors import UserError
from nas.report.figure import write_figure
from nas.report.kept_run import read_run
from nas.report.run import report
from nas.report.settings import ReportSettings, completed

SVG = "{http://www.w3.org/2000/svg}"


def test_a_figure_has_every_network_and_its_name_as_text(tmp_path):
    run = read_run(KEPT)
    write_figure([run], tmp_path / "front.svg")
    root = ElementTree.parse(tmp_path / "front.svg").getroot()
    texts = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert {"latency (ms)", "accuracy (%)", "target 0.15 ms", "mobilenet_v2_0.25"} <= set(texts)
    rings = [c for c in root.iter(f"{SVG}circle") if c.get("fill") == "#ffffff"]
    assert len(rings) == 8  # of the front the winner is a star, and the legend has one ring
    grey = [c for c in root.iter(f"{SVG}circle") if c.get("fill") == "#b0b0b0"]
    assert len(grey) == len(run.trained) + 1
    width, height = (float(root.get(side)) for side in ("width", "height"))
    for circle in root.iter(f"{SVG}circle"):
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height


@pytest.mark.parametrize(("folder", "origin"), [(KEPT, "trained"), (INHERITED, "solved in")])
def test_the_legend_says_where_the_networks_come_from(tmp_path, folder, origin):
    write_figure([read_run(folder)], tmp_path / "front.svg")
    root = ElementTree.parse(tmp_path / "front.svg").getroot()
    texts = " ".join("".join(t.itertext()) for t in root.iter(f"{SVG}text"))
    assert [word for word in ("trained", "solved in") if word in texts] == [origin]


def test_names_do_not_cover_each_other(tmp_path):
    write_figure([read_run(KEPT), read_run(INHERITED)], tmp_path / "front.svg")
    root = ElementTree.parse(tmp_path / "front.svg").getroot()
    names = {row["name"] for run in (KEPT, INHERITED) for row in read_run(run).summary["published"]}
    named = [t for t in root.iter(f"{SVG}text") if t.text in names]
    assert len(named) == 6
    for one, other in combinations(map(box_of, named), 2):
        across = min(one[1], other[1]) - max(one[0], other[0])
        assert across < 0 or abs(one[2] - other[2]) > 8


def box_of(text):
    """(left, right, base line) of a text of 10 units."""
    x, width = float(text.get("x")), 5.5 * len(text.text)
    left = x - {"start": 0, "middle": width / 2, "end": width}[text.get("text-anchor")]
    return left, left + width, float(text.get("y"))


def test_pixels_are_the_same_picture(tmp_path):
    write_figure([read_run(KEPT), read_run(OLD_RUN)], tmp_path / "front.png")
    with Image.open(tmp_path / "front.png") as image:
        assert image.size == (1920, 1200)
        colours = {colour for _, colour in image.getcolors(1 << 24)}
    assert {(213, 94, 0), (0, 114, 178), (0, 158, 115)} <= colours  # of two runs, and green


def test_a_front_of_nothing_is_one_line(tmp_path):
    folder = write_run(tmp_path / "run", [untrained(0, "failed", "no disk")])
    with pytest.raises(UserError, match=r"no network of .* was trained"):
        write_figure([read_run(folder)], tmp_path / "front.svg")
    assert not (tmp_path / "front.svg").exists()


def test_folders_are_words_and_the_file_lies_in_the_run(tmp_path, monkeypatch, capsys):
    assert completed(["a b", "format=svg", "c"]) == ['runs=["a b", "c"]', "format=svg"]
    folder = write_run(tmp_path / "my run", [])
    (folder / "trials.csv").write_text((OLD_RUN / "trained.csv").read_text())
    assert report(ReportSettings.of(str(folder))) == folder / "report.html"
    assert report(ReportSettings.of(f"runs=[{folder}]", "format=svg")) == folder / "front.svg"
    monkeypatch.chdir(tmp_path)
    assert str(report(ReportSettings.of("my run", str(OLD_RUN)))) == "report.html"
    assert report(ReportSettings.of("my run", "format=png", "out=x.png")).stat().st_size > 10_000
    assert capsys.readouterr().out.splitlines()[-1] == "wrote     x.png"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no run is given: name the folders of searches"),
        (["nowhere"], "there is no folder nowhere"),
        (["format=pdf", str(KEPT)], "unknown format 'pdf'"),
        (["format=png", "out=a.svg", str(KEPT)], "out=a.svg must end in .png"),
        (["out=nowhere/a.html", str(KEPT)], "there is no folder nowhere: make it"),
    ],
)
def test_mistakes_are_one_line(words, said, tmp_path, refusal):
    assert said in refusal("report", *words, cwd=tmp_path)
