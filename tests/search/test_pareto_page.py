import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from nas.search.pareto_page import pareto_page

ARCH = "r28 stem_k3_s2_c16_hswish | mbconv_k5_s2_e6_c{}_se0.25_hswish_d2 | head_c576"


def trial(number, accuracy, latency_ms, **more):
    """One trained trial; MACs fall as latency rises, so that each axis has another front."""
    return {
        "number": number,
        "id": f"net{number}",
        "state": "complete",
        "accuracy": accuracy,
        "accuracy_se": 0.004,
        "latency_ms": latency_ms,
        "macs": (10 - latency_ms) * 1e6,
        "params": 456_000,
        "peak_memory_bytes": 96 * 1024,
        "arch": ARCH.format(8 * (number + 1)),
        "name": "",
        "seconds": 84.0,
        "reason": "",
    } | more


def untrained(number, state, reason, latency_ms=np.nan):
    unknown = dict.fromkeys(("accuracy_se", "seconds", "params", "peak_memory_bytes"), np.nan)
    return trial(number, np.nan, latency_ms, state=state, reason=reason, **unknown)


SEARCH = [
    trial(0, 0.80, 1.0),
    trial(1, 0.90, 3.0),
    trial(2, 0.88, 2.0),
    trial(3, 0.79, 2.5),  # dominated by 0 and by 2
    trial(4, 0.99, 0.5, state="duplicate"),  # never counted twice, hence never drawn
    untrained(5, "infeasible", "latency 4 ms is over the limit of 3.5 ms", 4.0),
    untrained(6, "failed", "loss became nan"),
]


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


@pytest.fixture
def page(tmp_path):
    """A function from rows and options to (the page without plotly.js, its views by name)."""

    def make(rows, columns=tuple(SEARCH[0]), **options):
        options = {"published": None, "target_ms": None, "winner_id": None} | options
        options = {"title": "a search", "subtitle": "on a CPU"} | options
        path = tmp_path / "pareto.html"
        pareto_page(pd.DataFrame(rows, columns=list(columns)), path, **options)
        assert [file.name for file in tmp_path.iterdir()] == ["pareto.html"]
        html = path.read_text(encoding="utf-8")
        assert html.count(get_plotlyjs()) == 1
        html = html.replace(get_plotlyjs(), "")
        views = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
        return html, {view["name"]: view for view in json.loads(views[1])}

    return make


def test_whole_numbers_are_drawn_like_any_other(page):
    rows = [row | {"macs": int(row["macs"])} for row in SEARCH[:4]]
    html, views = page(rows, published=pd.DataFrame(rows[:1]))
    assert (html, views) == page(SEARCH[:4], published=pd.DataFrame(SEARCH[:1]))


def traces(view):
    return {trace["meta"]: trace for trace in view["figure"]["data"]}


def test_staircase_goes_right_then_up_on_every_axis(page):
    _, views = page(SEARCH)
    stairs = traces(views["latency_ms"])["staircase"]
    # Up to the largest cost shown, which is that of the infeasible trial; the page draws it "hv".
    assert stairs["x"] == [1.0, 2.0, 3.0, 4.0]
    assert stairs["y"] == [80.0, 88.0, 90.0, 90.0]
    macs = traces(views["macs"])["staircase"]
    assert (macs["x"], macs["y"]) == ([7.0, 9.0], [90.0, 90.0])  # MACs fall as latency rises
    assert list(views) == ["latency_ms", "macs", "params", "peak_memory_bytes"]


def test_marks_target_winner_published_and_untrained(page):
    nets = pd.DataFrame([trial(0, 0.86, 2.2, name="MobileNetV3-Small", id="mnv3")])
    html, views = page(SEARCH, published=nets, target_ms=2.4, winner_id="net2")
    drawn = traces(views["latency_ms"])
    assert drawn["trained"]["x"] == [1.0, 3.0, 2.0, 2.5]
    assert drawn["winner"]["x"] == [2.0]
    assert drawn["published"]["text"] == ["MobileNetV3-Small"]
    assert drawn["rejected"]["x"] == [4.0]
    assert "over the limit of 3.5 ms" in drawn["rejected"]["hovertext"][0]
    assert drawn["front"]["error_y"]["array"] == pytest.approx([0.4] * 3)
    assert views["latency_ms"]["target"] == 2.4
    assert views["macs"]["target"] is None  # the target is one of latency
    assert "2 ★" in html
    assert "Most accurate within 2.4 ms: no. 2 with 88.00 ± 0.40 % at 2.00 ms." in html
    assert "7 trials: 4 trained, 1 infeasible, 0 pruned, 1 failed, 1 duplicate." in html


def test_every_network_is_readable_with_its_units(page):
    html, views = page(SEARCH)
    hovers = traces(views["latency_ms"])["trained"]["hovertext"]
    for row, hover in zip(SEARCH[:4], hovers, strict=True):
        assert row["arch"].replace(" | ", "<br>") in hover
        assert row["id"] in hover
        assert f"latency {row['latency_ms']:.2f} ms" in hover
        for text in ("± 0.40 %", "MACs", "parameters 0.456 M", "memory 96.0 KiB", "84.0 s"):
            assert text in hover
    section = re.search(r'<section id="latency_ms">(.*?)</section>', html, re.S)[1]
    assert [row["arch"].replace(" | ", "<br>") in section for row in SEARCH] == [
        number in (0, 1, 2) for number in range(7)
    ]
    cells = re.findall(r"<td>(.*?)</td>", section)
    assert [*cells[8:9], *cells[10:16]] == [
        "2",
        "88.00 ± 0.40",
        "2.00",
        "8.00",
        "0.456",
        "96.0",
        "8.00",
    ]


def test_a_network_is_called_by_its_place_and_id_and_never_by_its_number(page):
    """What is no trial has no number; places are those of the axis, files of latency."""
    rows = [row | {"number": None} for row in SEARCH[:3]] + [trial(-3, 0.7, 3.5, id="net3")]
    rows[1] |= {"name": "mnasnet_b1"}
    html, views = page(rows, winner_id="net1")
    called = {
        "latency_ms": ["no. 1 on the front: network net0", "no. 3 on the front: mnasnet_b1",
                       "no. 2 on the front: network net2", "network net3"],
        "macs": ["network net0", "no. 2 on the front: mnasnet_b1", "network net2",
                 "no. 1 on the front: network net3"],
    }  # fmt: skip
    for name, expected in called.items():
        drawn = traces(views[name])
        hovers = drawn["trained"]["hovertext"]
        assert [hover.split("<br>")[0] for hover in hovers] == [f"<b>{x}</b>" for x in expected]
        ends = [hover.split("<br>")[-1] for hover in hovers]
        files = ["front/01.yaml", "front/03.yaml", "front/02.yaml"]
        assert ends == [*(f"id net{i}, {x}" for i, x in enumerate(files)), "id net3"]
        assert {*drawn["front"]["hovertext"], *drawn["winner"]["hovertext"]} <= {*hovers}
    assert "id net1, front/03.yaml</details>" in html
    assert not re.search(r"(trial|no\.|network) ?-\d", html)


def test_gains_and_advice_do_not_hide_the_noise(page):
    rows = [trial(0, 0.80, 1.0), trial(1, 0.805, 2.0), trial(2, 0.90, 3.0), trial(3, 0.904, 4.0)]
    html, _ = page(rows)
    gains = re.findall(r"<td>(≈ \S+)</td>", html.split("</section>")[0])
    assert gains == ["≈ 0.50", "≈ 0.40"]
    assert "Most accurate: no. 4 with 90.40 ± 0.40 % at 4.00 ms." in html
    assert "Cheapest that is less than two standard errors below it: no. 3 with 90.00" in html


def test_the_page_asks_the_network_for_nothing(page):
    html, _ = page(SEARCH, target_ms=2.0, winner_id="net2")
    parsed = Tags(html)
    assert not [attrs for _, attrs in parsed.tags if {"src", "href"} & set(attrs)]
    assert "link" not in {tag for tag, _ in parsed.tags}
    assert not re.search(r"https?:|@import|url\(", html)
    (policy,) = [a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")  # the browser itself refuses any request
    assert "http" not in policy


EVIL = '<script>alert("&")</script>'


def test_texts_of_others_are_escaped(page):
    rows = [trial(0, 0.8, 1.0, name=EVIL, id=EVIL, arch=f"{EVIL} | {EVIL}"), trial(1, 0.9, 2.0)]
    rows += [untrained(2, "failed", EVIL, 1.5)]
    nets = pd.DataFrame([trial(0, 0.8, 1.0, name=EVIL)])
    options = {"title": EVIL, "subtitle": EVIL, "notes": [EVIL], "winner_id": EVIL}
    html, views = page(rows, published=nets, **options)
    assert html.count("<script") == 3
    assert "<script>alert" not in html
    drawn = traces(views["latency_ms"])
    for kind in ("trained", "front", "published", "winner", "rejected"):
        assert all("<script" not in text for text in drawn[kind]["hovertext"] + drawn[kind]["text"])
    assert Tags(html).texts["title"][0] == EVIL  # and reads as it was written
    html, _ = page([untrained(0, "failed", EVIL)], **options)
    assert html.count("<script") == 3


@pytest.mark.parametrize(
    ("rows", "views", "text"),
    [
        ([], [], "0 trials: 0 trained"),
        ([untrained(0, "failed", "no disk"), untrained(1, "failed", "no disk")], [], "2 × no disk"),
        ([untrained(0, "infeasible", "over", 4.0)], ["latency_ms", "macs"], "there is no front"),
    ],
)
def test_a_search_without_a_front_says_so(page, rows, views, text):
    html, made = page(rows, target_ms=1.0)
    assert text in html
    assert "No network was trained to the end" in html
    assert "<table" not in html
    assert list(made) == views
    assert all(list(traces(view)) == ["rejected"] for view in made.values())


def test_one_trial_makes_a_front_of_one(page):
    html, views = page([trial(0, 0.8, 1.0, accuracy_se=np.nan)], target_ms=0.5)
    assert traces(views["latency_ms"])["staircase"]["y"] == [80.0, 80.0]
    assert "No trained network is within 0.5 ms; the fastest is no. 1 with 80.00 % at 1.00" in html
    assert views["latency_ms"]["figure"]["layout"]["yaxis"]["range"] == [72.0, 88.0]
    assert views["latency_ms"]["figure"]["layout"]["xaxis"]["range"] == [0.47, 1.03]


def test_unknown_latencies_leave_the_other_axes(page):
    _, views = page([trial(0, 0.8, np.nan, macs=2e6), trial(1, 0.9, np.nan, macs=3e6)])
    assert list(views) == ["macs", "params", "peak_memory_bytes"]
    assert traces(views["macs"])["staircase"]["x"] == [2.0, 3.0, 3.0]


@pytest.mark.parametrize(("slowest", "scale"), [(4.9, "linear"), (5.1, "log")])
def test_a_wide_range_of_costs_is_logarithmic(page, slowest, scale):
    _, views = page([trial(0, 0.8, 1.0), trial(1, 0.9, slowest)])
    assert views["latency_ms"]["figure"]["layout"]["xaxis"]["type"] == scale


def test_a_few_collapsed_networks_do_not_flatten_the_rest(page):
    rows = [trial(n, 0.8 + n / 1000, 1 + n / 10) for n in range(40)] + [trial(40, 0.1, 5.0)]
    _, views = page(rows)
    assert views["latency_ms"]["figure"]["layout"]["yaxis"]["range"][0] > 70
    title = views["latency_ms"]["figure"]["layout"]["yaxis"]["title"]["text"]
    assert title == "accuracy (%), 1 trained below"
    assert 10.0 in traces(views["latency_ms"])["trained"]["y"]


def test_a_failed_write_leaves_the_old_page(page, tmp_path, monkeypatch):
    page(SEARCH)
    before = (tmp_path / "pareto.html").read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        page(SEARCH[:1])
    assert (tmp_path / "pareto.html").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["pareto.html"]
