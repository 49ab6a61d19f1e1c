"""The milliseconds that a command prints: understood, or refused with the text, never guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.core.errors import UserError
from nas.latency.backends.printed_time import IN_MS, printed_ms


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
        ("conv2d_3 of v1.2.3, resnet-50\nmean: 12.5", 12.5),
        ("loaded in 2 s\n12.5 ms", 12.5),
        ("latency_us: 12500", 12.5),
        ("Latency [us] = 12500", 12.5),
        ("latency_seconds 0.0125", 12.5),
        ('{"mean_us": 12500}', 12.5),
        ("{'ms': 12.5}", 12.5),
        ('{"unit": "us", "latency": 12500}', 12.5),
        ("latencyUs: 12500", 12.5),
        ("timeInMicroseconds=12500", 12.5),
        ("avg inference time, in us - 12500", 12.5),
        ("12.5 ms per image", 12.5),
        ("it's a Jetson Nano\n12.5", 12.5),
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
        ("1 234,5 ms", "more than one number"),
        ("1\u202f234 ms", "more than one"),
        ("1'234.5 ms", "more than one"),
        (",5 ms", ",5 can be read"),
        ("3,12.5", "3,12.5 can be read"),
        ("1.2.3 ms", r"1\.2\.3 can be read"),
        ("x12.5 ms", "can be read"),
        ("12.5 ms at 10:23:45", "more than one"),
        ("1.5×10^3 us", "more than one"),
        ("1.25D+01", "more than one"),
        ("12.5e−3 s", "more than one"),
        ("12.5 ms ± 0.3 ms", "more than one"),
        ("2 s 500 ms", "more than one"),
        ("1m 2.5s", "more than one"),
        ("1m2.5s", "more than one"),
        ("mean 12.5 ms std 0.3 ms", "more than one"),
        ("[11.9 ms 12.5 ms 13.1 ms]", "more than one"),
        ("[3.2, 3.3]", "more than one"),
        ("10-15 ms", "more than one"),
        ("10–15 ms", "more than one"),
        ("100 runs in 1250 ms", "more than one"),
        ("INFO: count=50 avg=11500 std=200", "more than one"),
        ("12.5 ms, batch: 1", "more than one"),
        ("12.5 ms with fp16", "more than one"),
        ("mean 12.5 ms\nstd 0.3 ms", "what is std beside 0.3"),
        ("sigma: 0.3 ms", "what is sigma"),
        ("12.5 ms\nTotal time: 3.2 s", "what is total"),
        ("error: device busy (code 5)", "what is busy, code, device, error"),
        ("micro-seconds: 12500", "what is micro beside"),
        ("<1 ms", "what is < beside 1"),
        ("12.5² ms", "what is ² beside"),
        ("30 fps", "what is fps beside 30"),
        ("80 %", "what is % beside 80"),
        ("80 it/s", "what is it beside 80"),
        ("80 /s", "what is / beside 80"),
        ("3 min", "what is min beside 3"),
        ("12500 ?s", r"what is \? beside"),
        ("12500 \ufffds", "what is \ufffd beside"),
        ("12.5 ms\nbatch: 1", "what is batch"),
        ("frames/s: 30", "what is frames"),
        ("run/s: 30", "what is / beside"),
        ("latency_us: 12.5 ms", "it has the units ms and us"),
        ("warm-up 2 s\n3.25", "3.25 has no unit, but s is there too"),
        ("Timings (microseconds):\navg=12345", "12345 has no unit, but microseconds"),
        ("net,timeUs\n12500", "12500 has no unit, but us"),
        ("1\x002\x00.\x005\x00", "more than one"),
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
    assert printed_ms(b"12.5 ms\ninfo: nano inference is done") == 12.5


WORDS = ["ms", "us", "mean", "std", "total", "12.5", "3", "runs", "<", "±", "/", "latency", "-"]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(WORDS), max_size=5))
def test_a_line_of_any_words_is_read_only_with_one_number_that_all_others_fit(words):
    numbers, units = [w for w in words if w[0].isdigit()], {"ms", "us"} & set(words)
    known = set(words) <= {"ms", "us", "mean", "latency", "-", *numbers}
    try:
        found = printed_ms(" ".join(words).encode())
    except UserError:
        assert len(numbers) != 1 or len(units) > 1 or not known
    else:
        assert len(numbers) == 1
        assert len(units) < 2
        assert known
        assert found == pytest.approx(float(numbers[0]) * IN_MS[min(units, default="ms")])


@settings(max_examples=60)
@given(
    ms=st.floats(1e-4, 1e6),
    unit=st.sampled_from(sorted(IN_MS)),
    form=st.sampled_from(["{:.6f}", "{:.9g}", "{:.6e}", "{:,.4f}"]),
    comma=st.booleans(),
    lead=st.sampled_from(["", "warm-up 3 ms\n", "conv2d_3\n", "\x1b[33m", "mean="]),
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
