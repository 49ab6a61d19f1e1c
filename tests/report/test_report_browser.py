"""The report in a browser: points, budget, keyboard, copying, colours, and no error."""

from __future__ import annotations

import json
import sys

import pytest
from browser import CHROMIUM, Browser
from report_runs import INHERITED, KEPT, OLD_RUN

from nas.report.kept_run import read_run
from nas.report.page import write_page

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH"),
    pytest.mark.skipif(sys.platform == "win32", reason="Chromium's pipe needs POSIX descriptors"),
]
FRONT = [row["id"] for row in json.loads((KEPT / "summary.json").read_text())["front"]]
TITLE = "document.getElementById('network-title').textContent"
BEST = "document.getElementById('best').textContent"
PLACE = """(kind => { const trace = chart.data.find(t => t.meta === kind);
  const { xaxis, yaxis } = chart._fullLayout, box = chart.getBoundingClientRect();
  return trace.x.map((x, i) => [box.x + xaxis._offset + xaxis.d2p(x),
    box.y + yaxis._offset + yaxis.d2p(trace.y[i])]); })"""


@pytest.fixture(scope="module")
def browser():
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The reports of one run, of several, and of one that inherits weights."""
    folder, runs = tmp_path_factory.mktemp("pages"), {"one": [KEPT], "inherited": [INHERITED]}
    for name, folders in (runs | {"several": [KEPT, OLD_RUN]}).items():
        write_page([read_run(path) for path in folders], folder / f"{name}.html")
    return folder


@pytest.fixture
def page(browser, pages):
    """The report of one run, just opened; at the end there must be no error."""
    browser.open(pages / "one.html")
    yield browser
    assert browser.errors == []


@pytest.mark.parametrize("name", ["one", "several", "inherited"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_opens_without_an_error_and_asks_for_nothing(browser, pages, name, scheme, width):
    browser.open(pages / f"{name}.html", width, scheme=scheme)
    assert browser.errors == []
    assert [
        url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))
    ] == []
    assert browser.run("chart.data.find(t => t.meta === 'front').x.length") >= 8
    assert browser.run("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    assert browser.run("document.querySelector('.drawing svg rect.block') !== null")
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}[scheme]


def test_it_begins_with_the_winner_within_the_target(page):
    assert page.run(TITLE) == f"No. 8 on the front: network {FRONT[7]} ★"
    assert "Best within 0.15 ms: no. 8" in page.run(BEST)
    assert "86.60 ± 0.76 % (test 84.8 %) at 0.142 ms" in page.run(BEST)


def test_a_point_that_is_clicked_is_drawn(page):
    page.run("chart.scrollIntoView()")
    for place in (4, 6):
        page.click(*page.run(f"{PLACE}('front')")[place - 1])
        assert page.run(TITLE) == f"No. {place} on the front: network {FRONT[place - 1]}"
        chosen = page.run("document.querySelector('tr[data-chosen]').dataset.id")
        assert chosen == FRONT[place - 1]
    page.click(*page.run(f"{PLACE}('published')")[0])
    assert page.run(TITLE) == "mobilenet_v1_0.25"
    assert page.run("document.querySelector('tr[data-chosen]')") is None


def test_a_budget_names_the_best_network_within_it(page):
    for budget, place in ((0.1, 7), (0.05, 5), (0.024, 2), (9, 8)):
        page.run(f"amount.value = {budget}; amount.oninput()")
        page.settle()
        assert f"no. {place}, network {FRONT[place - 1]}" in page.run(BEST)
        assert FRONT[place - 1] in page.run(TITLE)
    page.run("amount.value = 0.01; amount.oninput()")
    assert "No trained network is within 0.01 ms; the cheapest takes 0.0233" in page.run(BEST)
    page.run("slider.value = 1000; slider.oninput()")
    assert "no. 8" in page.run(BEST)
    page.run("slider.focus()")
    page.press("Home")
    assert "no. 1," in page.run(BEST)
    assert page.run("slider.getAttribute('aria-valuetext')") == "0.0233 ms"
    assert page.run("amount.value") == "0.0233"


def test_the_front_is_walked_by_keyboard(page):
    page.run("chart.focus()")
    page.press("Home")
    assert FRONT[0] in page.run(TITLE)
    page.press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert FRONT[1] in page.run(TITLE)
    assert "Chosen: no. 2 on the front" in page.run(BEST)
    page.press("End", "ArrowUp")
    assert FRONT[7] in page.run(TITLE)
    page.press("Enter")
    assert page.run("document.activeElement.id") == "network"


def test_tab_reaches_every_control(page):
    page.run("document.activeElement.blur(); document.querySelector('#axes button').focus()")
    seen = []
    for _ in range(9):
        seen.append(page.run("document.activeElement.id || document.activeElement.value"))
        page.press("Tab")
    assert seen == [
        *("latency_ms", "measured_ms", "macs", "params", "peak_memory_bytes"),
        *("colour", "budget", "amount", "chart"),
    ]


def test_a_command_is_copied(page):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    page.click_on(".command button")
    assert page.run("document.querySelector('.command button').textContent") == "copied"
    words = page.run("navigator.clipboard.readText()")
    assert words == f"python -m nas.train arch={KEPT}/front/08.yaml run=search-08"


def test_a_browser_that_refuses_the_clipboard_copies_all_the_same(page):
    page.run(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('no'));"
        "document.execCommand = word => { window.did = "
        "[word, document.activeElement.value]; return true }"
    )
    page.click_on(".command:last-child button")
    assert page.run("did") == ["copy", "python -m nas.export arch=results/train/search-08"]


def test_each_axis_has_its_own_front_and_table(page):
    page.click_on("button[value=macs]")
    assert page.run("view.name") == "macs"
    assert page.run("document.querySelector('button[value=macs]').ariaPressed") == "true"
    assert page.run("document.getElementById('unit').textContent") == "M"
    shown = "[...document.querySelectorAll('div.front')].filter(d => !d.hidden).map(d => d.id)"
    assert page.run(shown) == ["macs"]
    page.click_on("#macs button.show")
    assert page.run(f"{TITLE}.startsWith('No. 1 on the front')")


def test_the_table_is_sorted_by_its_head(page):
    accuracies = "[...document.querySelectorAll('#latency_ms tbody tr')].map(r => r.dataset.id)"
    page.click_on("#latency_ms th:nth-child(3) button")
    assert page.run(accuracies) == FRONT[::-1]
    assert (
        page.run("document.querySelector('#latency_ms th:nth-child(3)').ariaSort") == "descending"
    )
    page.click_on("#latency_ms th:nth-child(3) button")
    assert page.run(accuracies) == FRONT


def test_dots_take_every_colour_that_is_offered(page):
    options = page.run("[...document.getElementById('colour').options].map(o => o.value)")
    assert {"macs", "params", "seconds", "head.width", "stages.3.blocks.act"} <= set(options)
    for option in options:
        page.run(f"colour.value = {json.dumps(option)}; colour.onchange()")
        drawn = page.run("chart.data.filter(t => t.meta === 'trained').flatMap(t => t.x).length")
        assert drawn == 32, option


def test_the_drawing_is_told_to_who_cannot_see_it(page):
    words = page.run("document.querySelector('.drawing svg').getAttribute('aria-label')")
    assert words.startswith(
        f"Architecture of network {FRONT[7]}. stem: conv 3×3, 8 channels, relu;"
    )
    assert "stage 4: 3 blocks mbconv 7×7, expansion 6, 24 channels, squeeze-and-excitation" in words
    blocks = page.run("document.querySelectorAll('.drawing rect.block').length")
    assert blocks == 9  # stem, seven blocks in four stages less one, head and classifier
    assert page.run("chart.ariaLabel") == "38 networks by accuracy and latency, 8 on the front."
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    names = {(n["role"]["value"], n.get("name", {}).get("value")) for n in tree}
    assert ("slider", "my limit is") in names
    assert ("spinbutton", "my limit, as a number") in names
    assert ("combobox", "colour") in names


def test_shares_of_latency_add_up(page):
    cells = page.run(
        "[...document.querySelectorAll('.blocks td:last-child')].map(c => c.innerText)"
    )
    assert sum(float(cell.strip().removesuffix(" %")) for cell in cells) == pytest.approx(
        100, abs=1
    )


def test_pictures_are_saved_on_the_spot(page, tmp_path):
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for name in ("svg", "png"):
        page.click_on(f"#save-{name}")
        for _ in range(20):
            page.settle()
            if (tmp_path / f"front_search.{name}").exists():
                break
    assert (tmp_path / "front_search.svg").read_text().startswith("<svg")
    assert (tmp_path / "front_search.png").read_bytes()[:4] == b"\x89PNG"


def test_several_runs_are_told_apart_and_searched_together(browser, pages):
    browser.open(pages / "several.html")
    names = browser.run("chart.data.filter(t => t.showlegend !== false).map(t => t.name)")
    assert {"Pareto front of search", "Pareto front of nas_bench_macro"} <= set(names)
    hues = browser.run("chart.data.filter(t => t.meta === 'staircase').map(t => t.line.color)")
    assert len(set(hues)) == 2
    browser.run("amount.value = 0.15; amount.oninput()")
    assert "network 94b98bef8aff of search" in browser.run(BEST)
    browser.click_on("[data-run='1'] button.show")
    assert browser.run(f"{TITLE}.endsWith('of nas_bench_macro')")
    assert browser.errors == []
