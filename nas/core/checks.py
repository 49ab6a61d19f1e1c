"""Checks of single settings: what was received, what is allowed, in one line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from nas.core.errors import UserError, unknown

MAX_WHOLE = 2**31  # of seeds and counts


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    optional: bool = False,
) -> Any:
    """`value` if it is a number in [low, high], or None where that is allowed (`optional`).

    `above` and `below` leave the ends out.  Raises UserError for anything else.
    """
    if value is None and optional:
        return None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not numeric
        or not low <= value <= high
        or (above and value == low)
        or (below and value == high)
    ):
        raise UserError(
            f"{name} must be a number {_range(low, high, above, below)}, not {_word(value)}"
        )
    return value


def check_whole(
    name: str, value: Any, low: int, high: int = MAX_WHOLE, *, optional: bool = False
) -> Any:
    """`value` if it is an int in [low, high], or None where that is allowed (`optional`)."""
    if value is None and optional:
        return None
    if type(value) is not int or not low <= value <= high:
        top = "" if high == MAX_WHOLE else f" to {high}"
        raise UserError(f"{name} must be a whole number from {low}{top}, not {_word(value)}")
    return value


def check_bool(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, not {_word(value)}")
    return value


def check_option(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value` if it is one of the `allowed` ones, of which None is not named in the error."""
    options = list(allowed)
    if value not in options:
        raise unknown(name, value, [option for option in options if option is not None])
    return value


def _range(low: float, high: float, above: bool, below: bool) -> str:
    if high == math.inf:
        return f"above {low:g}" if above else f"from {low:g}"
    return f"{'above' if above else 'from'} {low:g} {'to below' if below else 'to'} {high:g}"


def _word(value: Any) -> str:
    """A value as one writes it in a setting: null, true, 1.5, 'text'."""
    words: dict[Any, str] = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)
