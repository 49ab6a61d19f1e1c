"""Progress with time left, on a terminal and in a file."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from nas.core.progress import ProgressBar, format_duration, open_console


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told otherwise."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("nas.core.progress.time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_progress_in_a_file_is_plain_lines_with_the_time_left(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=200), "search", total=22, done=2) as live:
        for done in range(2, 23):
            live(done, f"best {done}%")
            clock.now += 3  # each takes three seconds
    text = file.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    lines = text.splitlines()
    assert len(lines) == 7, "a line for every tenth"
    assert lines[0] == "search    5/22 · about 51 s left · best 5%"
    assert lines[-1] == "search    22/22 · done · best 22%"


def test_progress_that_stands_still_prints_nothing(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file), "search", total=3, done=3) as live:
        live(3, "")
        live(3, "")
    assert file.getvalue() == ""


def test_done_is_what_has_ended(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=200), "label", total=2, done=0) as live:
        clock.now += 10
        live.set_partial(2.0)  # both are trained and not yet scored
        live(1, "")
        live.set_partial(1.0)
        live(2, "")
        live(2, "")
    assert file.getvalue().splitlines() == [
        "label     0/2 · about 0 s left · ",
        "label     2/2 · done · ",
    ]


def test_the_total_may_change(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=200), "fit", total=8, done=0) as live:
        clock.now += 10
        live.set_total(0)
        live(0, "all known")
        live.set_total(2)
        live(1, "longer")
    assert file.getvalue().splitlines() == [
        "fit       0/0 · done · all known",
        "fit       1/2 · about 10 s left · longer",
    ]


def test_what_is_quick_prints_nothing(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file), "score", total=3, done=0) as live:
        live(1, "")
        clock.now += 1.9
        live(3, "")
    assert file.getvalue() == ""


def test_a_terminal_gets_a_bar_and_no_lines():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with ProgressBar(console, "search", total=4, done=0) as live:
        live(4, "best 90%")
    assert "4/4" in file.getvalue()
    assert "left" not in file.getvalue()


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with ProgressBar(console, "search", total=2) as live:
        clock.now += 3
        live(2, "best 90%")
        assert console.file.getvalue() == "search    2/2 · done · best 90%\n"


@pytest.mark.parametrize("columns", ["0", "1", "x"])
def test_a_window_of_no_width_gets_whole_lines(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    open_console().print("latency   1.5 ms · a [line] → " + "long " * 30)
    stream.flush()
    text = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]  # of BytesIO
    assert text == "latency   1.5 ms | a [line] -> " + "long " * 30 + "\n"


def test_what_is_under_way_counts(clock):
    file = io.StringIO()
    with ProgressBar(Console(file=file, width=200), "label", total=20, done=0) as live:
        for seconds in range(1, 131):
            clock.now += 1
            live.set_partial(min(1, seconds / 100))  # and is then scored
        live(1, "best 50%")
        live.set_partial(0.2)  # of the second; a little less than was thought
        clock.now += 100
        live(2, "best 50%")
    assert file.getvalue().splitlines() == [
        "label     0/20 · about 32 min left · ",
        "label     0/20 · about 39 min left · ",
        "label     2/20 · about 34 min left · best 50%",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9e3, "2.5 h")],
)
def test_durations_are_said_in_units_that_fit(seconds, words):
    assert format_duration(seconds) == words
