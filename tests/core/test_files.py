"""Files are written whole, and YAML says what it seems to say."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas.core.files import parse_yaml, write_text
from nas.core.run_folder import folder_name

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(PLAIN)
def test_what_was_written_is_read_again(data):
    assert parse_yaml(yaml.safe_dump(data)) == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("010", "010"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("2020-13-45", "2020-13-45"),
        ("-3", -3),
        (".inf", math.inf),
        ("~", None),
        ('{"a": [1, 2.5, true]}', {"a": [1, 2.5, True]}),
    ],
)
def test_words_and_numbers_of_yaml(text, value):
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "!!int abc",
        "!!bool abc",
        "!!timestamp abc",
        "[" * 3000,
        "{a: [}",
        "!!python/x 1",
    ],
)
def test_what_is_no_plain_yaml_is_refused(text):
    with pytest.raises(ValueError, match=r".") as error:
        parse_yaml(text)
    assert len(str(error.value).splitlines()) == 1


def test_bytes_that_are_no_utf8_are_written_as_escapes(tmp_path):
    write_text(tmp_path / "x", "a\udcffé")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "a\\udcffé"


@given(st.text(max_size=30), st.text(max_size=30))
def test_two_names_have_two_folders(one, other):
    assert (folder_name(one) == folder_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["mobilenet_v3_small_0.25", "mine-2", "日本", "Größe"])
def test_usual_names_stay(name):
    assert folder_name(name) == name


@pytest.mark.parametrize("name", ["a/b", "..", "", " ", "x" * 300, "a\0b"])
def test_others_become_names_of_folders(name):
    found = folder_name(name)
    assert "/" not in found
    assert "\0" not in found
    assert found.strip(".")
    assert len(found) <= 107
