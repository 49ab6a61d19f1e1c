"""Settings are what their parameters ask for, whatever words a user gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settings_of import SETTINGS

from nas.core.config import Component, compose, parameters
from nas.core.errors import UserError
from nas.core.typed import Among, Count, Given, Range, check, fits, hints_of, typed
from nas.search.settings import SearchSettings

NETWORK = {"profile": ["arch=mobilenet_v2"]}  # what must be given


def read(hint: Any, text: str) -> Any:
    return typed("x", hint, Given(text))


@pytest.mark.parametrize("no", ["no", "off", "n", "false", "False", "NO", "0", "f"])
def test_words_for_false(no):
    assert SearchSettings.of(f"data.flip={no}").data.node["flip"] is False


@pytest.mark.parametrize("yes", ["yes", "on", "y", "true", "TRUE", "1"])
def test_words_for_true(yes):
    settings = SearchSettings.of("data=folder", f"data.together={yes}", f"strict={yes}")
    assert settings.data.node["together"] is True
    assert settings.strict is True


READ = [
    (Count, "3", 3),
    (float, "1e-3", 0.001),
    (float, "2", 2),
    (Sequence[int], "3", [3]),
    (Sequence[int], "[3, 5]", [3, 5]),
    (Sequence[Sequence[int]], "[[1, 2], [3]]", [[1, 2], [3]]),
    (Sequence[str], "[no, 1, 'a, b']", ["no", "1", "a, b"]),
    (Sequence[str], "[]", []),
    (str | Sequence[str], "acc", "acc"),
    (str | Sequence[str], "[acc1,acc2]", ["acc1", "acc2"]),
    (bool, "'no'", False),
    (bool, " no", False),
    (str, "no", "no"),
    (str, "2024", "2024"),
    (str, "1e3", "1e3"),
    (str, "pics (1)", "pics (1)"),
    (str, '"python b.py {onnx}"', "python b.py {onnx}"),
    (str, r"'it\'s'", "it's"),
    (str, "it's", "it's"),
    (str, '"a b" "c d"', '"a b" "c d"'),
    (str | None, "null", None),
    (str | None, "'null'", "null"),
    (float | str, "1.5", 1.5),
    (float | str, "mobilenet_v2", "mobilenet_v2"),
    (Path, "a=b,c", "a=b,c"),
]


@pytest.mark.parametrize(("hint", "text", "value"), READ, ids=str)
def test_texts_are_read_as_what_is_asked_for(hint, text, value):
    found = read(hint, text)
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    (bool, "maybe", "must be true or false, not 'maybe'"),
    (Count, "0", "must be a whole number from 1, not 0"),
    (Count, "1.5", "must be a whole number from 1, not 1.5"),
    (Count, "true", "must be a whole number from 1, not 'true'"),
    (Count, "1,2", "one value; a comma stands between values of a list in brackets"),
    (Count, str(10**30), "must be a whole number from 1"),
    (Annotated[float, Range(0, 1, above=True)], "15%", "must be a number above 0 to 1, not '15%'"),
    (float, "nan", "must be a number, not nan"),
    (float, "１２", "must be a number, not '１２'"),
    (Sequence[int], "[1_1]", "must be a list of whole numbers, not [1_1]"),
    (Count, "7" * 500, "7..."),
    (str, "null", "must be text, not null"),
    (Sequence[int], "3,5", "must be a list of whole numbers, not '3,5'"),
    (Sequence[int], "[3", "must be a list of whole numbers, not '[3'"),
    (Sequence[Count], "[3,0]", "must be a list of whole numbers from 1, not [3,0]"),
    (Sequence[int], "[[1]]", "must be a list of whole numbers, not [[1]]"),
    (Annotated[str, Among(("sgd", "adamw"))], "adam", "unknown x 'adam'; did you mean adamw?"),
]


@pytest.mark.parametrize(("hint", "text", "message"), REFUSED, ids=str)
def test_what_is_not_asked_for_is_refused(hint, text, message):
    with pytest.raises(UserError) as error:
        read(hint, text)
    assert message in str(error.value)


PATHS = (
    *(
        "pics (1)",
        "R&D",
        "it's",
        "a/run=3/x",
        "[x]",
        "a#b",
        "~/pics",
        "фото",
        "图片",
        "${oc.env:X}",
    ),
    *("a, b", "{x: 1}", "x: y", "100%", '"', "\\", " a", "a\tb", "e=m.ckpt", "*", "null.d"),
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_may_be_any_text(path):
    made = SearchSettings.of("data=folder", f"data.root={path}", f"results={path}")
    assert made.data.node["root"] == made.results == path.replace("~", os.environ["HOME"])


def leaves(name: str, hint: Any, value: Any) -> dict[str, Any]:
    """Every setting below a group, with what its parameter asks for."""
    if not isinstance(value, dict):
        return {name: hint}
    known = parameters(name, value, hint)
    parts = (leaves(f"{name}.{k}", known.get(k), v) for k, v in value.items() if k[0] != "_")
    return {key: found for part in parts for key, found in part.items()}


def all_settings(command: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    given = compose(command, SETTINGS[command], NETWORK.get(command, []))
    for field in fields(SETTINGS[command]):
        value = given[field.name]
        if isinstance(value, Component):
            found |= leaves(field.name, None, value.node)
        else:
            found[field.name] = hints_of(SETTINGS[command])[field.name]
    return {key: hint for key, hint in found.items() if key not in ("limit", "data.name")}


EVERY = {command: all_settings(command) for command in SETTINGS}
WORDS = st.one_of(
    st.text(min_size=1, max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["null", "None", "no", "[]", "[1,2]", "{}", "1,2", "15%", "[[1]]", "${a}"]),
    st.lists(st.integers(-2, 9)).map(str),
)


def made_or_refused(command: str, words: list[str]) -> tuple[dict[str, Any] | None, str]:
    try:
        return compose(command, SETTINGS[command], words), ""
    except UserError as error:
        return None, str(error)


@pytest.mark.parametrize("command", sorted(EVERY))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_word_is_read_or_refused_in_one_line(command, data):
    key = data.draw(st.sampled_from(sorted(EVERY[command])))
    text = data.draw(WORDS)
    words = [*NETWORK.get(command, []), f"{key}={text}"]
    made, refusal = made_or_refused(command, words)
    assert len(refusal.splitlines()) == (made is None)
    if made is None:
        return
    value: Any = made
    for part in key.split("."):
        value = getattr(value, "node", value)
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert fits(EVERY[command][key], value)


@given(value=st.one_of(st.booleans(), st.none(), st.integers(-3, 3), st.floats(-3, 3), st.text()))
def test_a_range_is_what_it_says(value):
    inside = type(value) in (int, float) and 0 < value <= 1
    hint = Annotated[float, Range(0, 1, above=True)]
    assert fits(hint, value) == inside
    if not inside:
        with pytest.raises(UserError, match="must be a number above 0 to 1, not "):
            check("x", hint, value)
