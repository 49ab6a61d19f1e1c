"""The page of a report: the data that it draws, against the run folder's tables; its HTML."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from report_runs import ABOUT, INHERITED, KEPT, OLD_RUN, ROOT, SEARCH, trial, untrained, write_run

from nas.arch.operators import network_id
from nas.arch.serialization import loads
from nas.report.kept_run import read_run
from nas.report.page import write_page
from nas.train.settings import TrainSettings


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text inside each kind of tag."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.inside = [], {}, ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        self.texts.setdefault(self.inside, []).append(data)


def read_page(path):
    """(the page without plotly.js, its data)"""
    html = path.read_text(encoding="utf-8")
    assert html.count(get_plotlyjs()) == 1
    html = html.replace(get_plotlyjs(), "")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    return html, json.loads(data[1])


def page_of(path, *folders):
    write_page([read_run(folder) for folder in folders], path)
    return read_page(path)


@pytest.fixture
def page(tmp_path):
    """A function from rows and a summary to (the page without plotly.js, its data)."""

    def make(rows, **summary):
        folder = write_run(tmp_path / "run", rows, **summary)
        return page_of(folder / "report.html", folder)

    return make


def nets(data, kind="trained"):
    return {net["id"]: net for net in data["networks"] if net["kind"] == kind}


def axes(data):
    return {axis["name"]: axis for axis in data["axes"]}


def front_of(data, axis="latency_ms"):
    """Ids of a front, by place."""
    found = [n for n in data["networks"] if axis in n["places"]]
    return [net["id"] for net in sorted(found, key=lambda net: net["places"][axis])]


@pytest.mark.parametrize("folder", [KEPT, INHERITED, OLD_RUN], ids=lambda path: path.name)
def test_a_kept_run_is_drawn_as_its_tables_have_it(folder, tmp_path):
    _, data = page_of(tmp_path / "report.html", folder)
    kept = pd.read_csv(folder / "pareto.csv", dtype={"id": str})
    assert front_of(data) == kept["id"].tolist()
    for row in kept.to_dict("records"):
        figures = nets(data)[row["id"]]["figures"]
        for name in ("accuracy", "accuracy_se", "test_accuracy", "latency_ms", "macs", "params"):
            assert figures[name] == pytest.approx(row[name], rel=1e-12)
    summary = json.loads((folder / "summary.json").read_text())
    (winner,) = (net for net in nets(data).values() if net["winner"])
    assert winner["id"] == summary["winner"]["id"]
    assert axes(data)["latency_ms"]["targets"] == [summary["target_ms"]]
    published = {row["name"]: row["latency_ms"] for row in summary["published"]}
    found = nets(data, "published").values()
    assert {net["name"]: net["figures"]["latency_ms"] for net in found} == published
    assert all(net["rows"] for net in data["networks"]), "every network is drawn"


def test_the_shares_of_a_networks_blocks_are_the_tables(tmp_path):
    _, data = page_of(tmp_path / "report.html", KEPT)
    ms = data["columns"].index("ms")
    for net in nets(data).values():
        total = sum(row[ms] for row in net["rows"]) + net["constant"]
        assert total == pytest.approx(net["figures"]["latency_ms"], rel=1e-9)
    _, data = page_of(tmp_path / "report.html", INHERITED)  # whose table was not kept
    assert {row[ms] for net in data["networks"] for row in net["rows"]} == {None}
    macs = data["columns"].index("macs")
    for net in data["networks"]:
        assert sum(row[macs] for row in net["rows"]) == net["figures"]["macs"]


def test_a_table_of_another_device_shares_nothing_out(tmp_path):
    run = tmp_path / "search" / "run"
    rows = pd.read_csv(KEPT / "pareto.csv", dtype={"id": str}).iloc[:1]
    write_run(run, rows.assign(latency_ms=1.5 * rows["latency_ms"]).to_dict("records"))
    (run / "winner.yaml").write_text((KEPT / "winner.yaml").read_text())
    shutil.copytree(ROOT / "results" / "reference" / "latency", tmp_path / "latency")
    _, data = page_of(run / "report.html", run)
    (net,) = data["networks"]
    assert net["rows"][0][data["columns"].index("ms")] is None


def test_commands_that_go_on(tmp_path):
    folder = write_run(tmp_path / "results" / "search" / "mine", [])
    for name in ("trials.csv", "trained.csv", "summary.json", "winner.yaml"):
        shutil.copy(KEPT / name, folder)
    shutil.copytree(KEPT / "front", folder / "front")
    config = "data: {name: folder, root: a b, resolution: 64, together: true, seed: 0}"
    (folder / "config.yaml").write_text(config)
    _, data = page_of(folder / "report.html", folder)
    fastest = nets(data)[front_of(data)[0]]
    given = "data=folder 'data.root=a b' data.resolution=64 data.together=true resolution=28"
    given += " run=mine-01"
    results = tmp_path / "results"
    assert [words for _, words in fastest["commands"]] == [
        f"python -m nas.train arch={folder}/front/01.yaml {given} results={results}",
        f"python -m nas.export arch={results}/train/mine-01",
    ]
    settings = TrainSettings.of(*shlex.split(fastest["commands"][0][1])[3:])
    assert (settings.run, settings.data.name) == ("mine-01", "folder")
    other = next(net for net in nets(data).values() if not net["file"])
    assert other["commands"][0][1].startswith(f"python -m nas.train arch={other['id']}.yaml ")
    assert network_id(loads(other["yaml"])) == other["id"]
    (folder / "front" / "01.pt").touch()  # of a search that inherits weights
    _, data = page_of(folder / "report.html", folder)
    words = nets(data)[front_of(data)[0]]["commands"][0][1]
    assert f"weights=file weights.path={folder}/front/01.pt" in words


@pytest.mark.parametrize("name", ["search_blend", "search_scratch", "search_nsga2"])
def test_a_run_of_which_little_is_left_is_drawn_all_the_same(name, tmp_path):
    (folder,) = (OLD_RUN.parents[4] / name / "ended").glob("results/search/*")
    html, data = page_of(tmp_path / "report.html", folder)
    assert "There is no summary.json here" in html
    assert front_of(data)


def test_several_runs_are_overlaid(tmp_path):
    html, data = page_of(tmp_path / "report.html", KEPT, OLD_RUN)
    assert [run["label"] for run in data["runs"]] == ["search", "nas_bench_macro"]
    alone = [page_of(tmp_path / "report.html", folder)[1] for folder in (KEPT, OLD_RUN)]
    for index, own in enumerate(alone):
        mine = [net | {"run": 0} for net in data["networks"] if net["run"] == index]
        assert mine == own["networks"]
        for name, axis in axes(own).items():
            assert axes(data)[name]["stairs"][index]["y"] == axis["stairs"][0]["y"]
    low, high = axes(data)["latency_ms"]["range"]
    for net in data["networks"]:
        assert low < np.log10(net["figures"]["latency_ms"]) < high
    assert "do not compare" in html  # of other images, after other trainings
    assert html.count("<h3>search</h3>") == html.count("<h3>nas_bench_macro</h3>") > 2


def test_a_page_says_how_far_to_trust_it(tmp_path):
    html, data = page_of(tmp_path / "report.html", KEPT)
    assert "do not compare" not in html
    text = re.sub("<.*?>", " ", html)
    for words in (
        "mean error 1.8% (1.5% to 2.0%) over 100 networks that it never saw",
        "Kendall tau 0.58 (0.08 to 0.96) of scores with 12 trainings",
        "1.000 of the hypervolume, 0.851 by as many random networks",
        "mobilenet_v3_small_0.25 has 81.8% ± 0.9% (test 81.5%) at 0.098 ms",
        "python -m nas.search",
        "AMD EPYC",
        "e0ab063e941a",
    ):
        assert words in text
    assert [f["layout"]["yaxis"].get("title", {}).get("text", "")[:5] for f in data["figures"]] == [
        "", "score", "share", "score"
    ]  # fmt: skip
    html, _ = page_of(tmp_path / "report.html", INHERITED)
    assert "+1.8 ± 1.2 points over tf_efficientnet_lite0 at 64 px" in html
    assert "Not told apart on the test images: winner and equal ratios." in html
    assert "Block by block, before and after" in html


def test_staircase_goes_right_then_up_on_every_axis(page):
    _, data = page(SEARCH)
    stairs = axes(data)["latency_ms"]["stairs"][0]
    # Up to the largest cost shown, which is that of the infeasible trial; the page draws it "hv".
    assert stairs == {"x": [1.0, 2.0, 3.0, 4.0], "y": [80.0, 88.0, 90.0, 90.0]}
    macs = axes(data)["macs"]["stairs"][0]
    assert macs == {"x": [7.0, 9.0], "y": [90.0, 90.0]}  # MACs fall as latency rises
    assert list(axes(data)) == ["latency_ms", "macs", "params", "peak_memory_bytes"]


def test_marks_target_winner_published_and_untrained(page):
    known = trial(0, 0.86, 2.2, name="MobileNetV3-Small", id="mnv3")
    html, data = page(SEARCH, published=[known], target_ms=2.4, winner_id="net2")
    assert list(nets(data)) == ["net0", "net1", "net2", "net3"]
    assert [net["id"] for net in data["networks"] if net["winner"]] == ["net2"]
    assert nets(data, "published")["mnv3"]["name"] == "MobileNetV3-Small"
    assert nets(data, "rejected")["net5"]["figures"]["latency_ms"] == 4.0
    assert "over the limit of 3.5 ms" in nets(data, "rejected")["net5"]["reason"]
    assert axes(data)["latency_ms"]["targets"] == [2.4]
    assert axes(data)["macs"]["targets"] == [None]  # the target is one of latency
    assert '<td>2 <span title="the winner">★</span></td>' in html
    assert "Most accurate within 2.4 ms: no. 2 with 88.00 ± 0.40 % at 2.00 ms." in html
    assert "7 trials: 4 trained, 1 infeasible, 0 pruned, 1 failed, 1 duplicate." in html


def test_error_bars_are_inside_the_chart(page):
    _, data = page([trial(0, 0.8, 1.0), trial(1, 0.9, 3.0, accuracy_se=0.05)])
    low, high = axes(data)["latency_ms"]["accuracies"]
    assert low < 79.6
    assert high > 95


def test_the_table_has_every_figure_with_its_unit(page):
    html, _ = page(SEARCH)
    first = html[html.index('id="latency_ms"') : html.index('id="macs"')]
    head = re.findall(r'<th scope="col"><button class="sort">(.*?)</button></th>', first)
    assert head == ["no.", "network", "accuracy (%)", "test (%)", "latency (ms)", "MACs (M)",
                    "parameters (M)", "peak memory (KiB)", "gain (points/ms)"]  # fmt: skip
    cells = re.findall(r"<td>(.*?)</td>", first)
    assert cells[9:18] == ["2", '<button class="show">network net2</button>', "88.00 ± 0.40",
                           "88.0", "2.00", "8.00", "0.456", "96.0", "8.00"]  # fmt: skip


def test_a_network_has_the_place_of_each_axis_and_the_file_of_latency(page, tmp_path):
    """What is no trial has no number."""
    rows = [row | {"number": None} for row in SEARCH[:3]] + [trial(-3, 0.7, 3.5, id="net3")]
    rows[1] |= {"name": "mnasnet_b1"}
    html, data = page(rows, winner_id="net1")
    assert front_of(data) == ["net0", "net2", "net1"]
    assert front_of(data, "macs") == ["net3", "net1"]
    assert "mnasnet_b1</button>" in html
    assert not re.search(r"(trial|no\.|network) ?-\d", html)


def test_gains_and_advice_do_not_hide_the_noise(page):
    rows = [trial(0, 0.80, 1.0), trial(1, 0.805, 2.0), trial(2, 0.90, 3.0), trial(3, 0.904, 4.0)]
    html, _ = page(rows)
    gains = re.findall(r"<td>(≈ \S+)</td>", html[: html.index('id="macs"')])
    assert gains == ["≈ 0.50", "≈ 0.40"]
    assert "Most accurate: no. 4 with 90.40 ± 0.40 % at 4.00 ms." in html
    assert "Cheapest that is less than two standard errors below it: no. 3 with 90.00" in html


def test_the_page_asks_the_network_for_nothing(page):
    html, _ = page(SEARCH, target_ms=2.0, winner_id="net2")
    parsed = Tags(html)
    assert not [attrs for _, attrs in parsed.tags if {"src", "href"} & set(attrs)]
    assert "link" not in {tag for tag, _ in parsed.tags}
    html = html.replace("http://www.w3.org/2000/svg", "")  # a name and no address
    assert not re.search(r"https?:|@import|url\(", html)
    (policy,) = [a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")  # the browser itself refuses any request
    assert "http" not in policy


def test_every_control_has_a_name_and_every_section_a_heading(page):
    tags = Tags(page(SEARCH)[0]).tags
    labels = {attrs["for"] for tag, attrs in tags if tag == "label" and "for" in attrs}
    ids = {attrs.get("id") for _, attrs in tags}
    for tag, attrs in tags:
        if tag == "input":
            assert attrs["id"] in labels or "aria-label" in attrs
        if tag == "section" and "id" in attrs:
            assert attrs["aria-labelledby"] in ids


EVIL = '<script>alert("&")</script>'


def test_texts_of_others_are_escaped(page):
    rows = [trial(0, 0.8, 1.0, name=EVIL, id=EVIL, arch=f"{EVIL} | {EVIL}"), trial(1, 0.9, 2.0)]
    rows += [untrained(2, "failed", EVIL, 1.5)]
    names = ABOUT | {"space": EVIL, "data": EVIL, "sampler": EVIL, "latency": EVIL}
    html, data = page(rows, published=[trial(0, 0.8, 1.0, name=EVIL)], winner_id=EVIL, **names)
    assert html.count("<script") == 3
    assert "<script>alert" not in html
    assert Tags(html).texts["title"][0] == f"{EVIL} on {EVIL}"  # and reads as it was written
    assert nets(data)[EVIL]["name"] == EVIL  # the page writes it as text
    html, _ = page([untrained(0, "failed", EVIL)], **names)
    assert html.count("<script") == 3


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "0 trials: 0 trained"),
        ([untrained(0, "failed", "no disk"), untrained(1, "failed", "no disk")], "2 × no disk"),
        ([untrained(0, "infeasible", "over", 4.0)], "there is no front"),
    ],
)
def test_a_search_without_a_front_says_so(page, rows, text):
    html, data = page(rows, target_ms=1.0)
    assert text in html
    assert "No network was trained to the end" in html
    assert '<div id="chart"' not in html
    assert data["axes"] == []


def test_one_trial_makes_a_front_of_one(page):
    html, data = page([trial(0, 0.8, 1.0, accuracy_se=np.nan)], target_ms=0.5)
    axis = axes(data)["latency_ms"]
    assert axis["stairs"][0]["y"] == [80.0, 80.0]
    assert "No trained network is within 0.5 ms; the fastest is no. 1 with 80.00 % at 1.00" in html
    assert axis["accuracies"] == [72.0, 88.0]
    assert axis["range"] == [0.47, 1.03]


def test_unknown_latencies_leave_the_other_axes(page):
    _, data = page([trial(0, 0.8, np.nan, macs=2e6), trial(1, 0.9, np.nan, macs=3e6)])
    assert list(axes(data)) == ["macs", "params", "peak_memory_bytes"]
    assert axes(data)["macs"]["stairs"][0]["x"] == [2.0, 3.0, 3.0]


@pytest.mark.parametrize(("slowest", "log"), [(4.9, False), (5.1, True)])
def test_a_wide_range_of_costs_is_logarithmic(page, slowest, log):
    _, data = page([trial(0, 0.8, 1.0), trial(1, 0.9, slowest)])
    assert axes(data)["latency_ms"]["log"] is log


def test_a_few_collapsed_networks_do_not_flatten_the_rest(page):
    rows = [trial(n, 0.8 + n / 1000, 1 + n / 10) for n in range(40)] + [trial(40, 0.1, 5.0)]
    _, data = page(rows)
    assert axes(data)["latency_ms"]["accuracies"][0] > 70
    assert axes(data)["latency_ms"]["below"] == 1
    assert nets(data)["net40"]["figures"]["accuracy"] == 0.1


def test_a_failed_write_leaves_the_old_page(page, tmp_path, monkeypatch):
    page(SEARCH)
    before = (tmp_path / "run" / "report.html").read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        page(SEARCH[:1])
    assert (tmp_path / "run" / "report.html").read_bytes() == before
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names == {"trials.csv", "summary.json", "report.html"}
