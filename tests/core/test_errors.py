"""Errors of one line, whatever the names in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.core.errors import UserError, one_line


@given(st.text(st.characters()))
def test_one_line_is_one_and_can_be_written(text: str) -> None:
    line = str(UserError(text))
    assert len(line.splitlines()) <= 1
    line.encode()
    assert line == one_line(text) == one_line(line)
    assert bool(line) == bool(text)
