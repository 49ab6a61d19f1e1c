"""The milliseconds that a command prints: understood, or refused with the text, never guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.core.errors import UserError
from nas.latency.backends.printed_time import IN_MS, NUMBER, printed_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("12,5 ms", 12.5),
        ("1,234.5 ms", 1234.5),
        ("1.234,5 ms", 1234.5),
        ("1,234,567 ns", 1.234567),
        ("0,125 s", 125),
        ("1.234 ms", 1.234),
        ("12500 us", 12.5),
        ("12500 µs", 12.5),
        ("12500μs/image", 12.5),
        ("0.0125 s", 12.5),
        ("1.25E+4 nsec.", 0.0125),
        ("0.0125 Seconds", 12.5),
        ("12.5 (milliseconds)", 12.5),
        ("12.5\xa0ms", 12.5),
        ("\x1b[1;32m12.5 ms\x1b[0m", 12.5),
        ("\x1b]0;bench 7\x0712.5\x1b[0K", 12.5),
        ("10%\r100%\r12.5 ms\r", 12.5),
        ("warm-up 9 ms\n3.25", 3.25),
        ("warm-up 9\n0.00325 s\n\n", 3.25),
        ("12.5 ms on conv2d_3 of v1.2.3, resnet-50", 12.5),
        ("1x3x224x224: 12.5", 12.5),
        ("latency_us: 12500", 12.5),
        ("Latency [us] = 12500", 12.5),
        ("latency_seconds 0.0125", 12.5),
        ('{"mean_us": 12500}', 12.5),
        ("{'ms': 12.5}", 12.5),
        ("it's a Jetson Nano: 12.5", 12.5),
        ("a row,12.5", 12.5),
        ("took 12.5.", 12.5),
    ],
)
def test_a_time_is_read_in_its_unit(text, ms):
    assert printed_ms(text.encode()) == pytest.approx(ms, rel=1e-12)


def test_output_that_is_not_utf_8():
    assert printed_ms("12500 µs".encode("cp1252")) == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,234 ms", "1,234 can be read in several ways"),
        ("1 234,5 ms", "1 234,5 can be read in several ways"),
        ("1\u202f234 ms", "234 can be read in several ways"),
        ("1'234.5 ms", "1'234.5 can be read"),
        (",5 ms", ",5 can be read"),
        ("3,12.5", "3,12.5 can be read"),
        ("version 1.2.3", r"1\.2\.3 can be read"),
        ("12.5 ms at 10:23:45", "10:23:45 can be read"),
        ("1.5×10^3 us", "can be read"),
        ("12.5 ms ± 0.3 ms", "0.3 is how far its times spread"),
        ("12.5 +/- 0.3 ms", "0.3 is how far its times spread"),
        ("30 fps", "'fps' beside 30 is no unit of time"),
        ("80 %", "'%' beside 80"),
        ("80 it/s", "'it' beside 80"),
        ("80 /s", "'/s' beside 80"),
        ("3 min", "'min' beside 3"),
        ("12500 ?s", r"'\?s' beside 12500"),
        ("12500 \ufffds", "s' beside 12500"),
        ("real 0m0.512s", "'m0.512s' beside 0"),
        ("12.5 ms, 100 runs", "'runs' beside 100"),
        ("12.5 ms, batch: 1", "1 has no unit, but ms is there too"),
        ("12.5 ms\nbatch: 1", "1 has no unit, but ms is there too"),
        ("warm-up 2 s\n3.25", "3.25 has no unit, but s is there too"),
        ("Timings (microseconds): count=50 avg=12345", "12345 has no unit, but microseconds"),
        ('{"time": 12500, "unit": "us"}', "12500 has no unit, but us"),
        ("frames/s: 30", "30 has no unit, but s"),
        ("images_per_sec: 80", "80 has no unit, but sec"),
        ("first 12.1\nsecond: 11.9", "11.9 has no unit, but second"),
        ("1\x002\x00.\x005\x00", "beside 5 is no unit"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_the_text(text, why):
    with pytest.raises(UserError, match=rf"^its time is unclear in .*{why}.*12.5 ms$") as caught:
        printed_ms(text.encode())
    assert "\n" not in str(caught.value)
    assert repr(text.splitlines()[-1])[1:-1] in str(caught.value)


@pytest.mark.parametrize("number", ["0", "-3.5", "−3.5", "nan", "-inf", "1e400"])
@pytest.mark.parametrize("unit", ["", " ms", " us"])
def test_what_is_no_time_is_refused(number, unit):
    with pytest.raises(UserError, match=f"must be milliseconds, not {number}$"):
        printed_ms(f"7{unit}\n{number}{unit}".encode())


def test_words_that_only_begin_like_numbers_are_none():
    assert NUMBER.findall("info nano inference") == []
    assert NUMBER.findall("nan -inf Infinity") == ["nan", "-inf", "Infinity"]


@settings(max_examples=60)
@given(
    ms=st.floats(1e-4, 1e6),
    unit=st.sampled_from(sorted(IN_MS)),
    form=st.sampled_from(["{:.6f}", "{:.9g}", "{:.6e}", "{:,.4f}"]),
    comma=st.booleans(),
    lead=st.sampled_from(["", "warm-up 3 ms\n", "conv2d_3: ", "\x1b[33m", "mean="]),
)
def test_any_number_is_the_time_in_any_unit(ms, unit, form, comma, lead):
    number = form.format(ms / IN_MS[unit])
    value = float(number.replace(",", "")) * IN_MS[unit]
    if comma:
        number = number.translate(str.maketrans(".,", ",."))
    try:
        found = printed_ms(f"{lead}{number} {unit}\x1b[0m\n".encode())
    except UserError as error:
        either = re.fullmatch(r"[1-9]\d{0,2},\d{3}", number) and "several ways" in str(error)
        assert value == 0 or either
    else:
        assert found == pytest.approx(value, rel=1e-12)
