"""Checks of single settings, each with a UserError of one line."""

from __future__ import annotations

import json
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
    """`value` if it is a number in [low, high]; `above` and `below` leave the ends out."""
    if value is None and optional:
        return None
    number = value if isinstance(value, int | float) and type(value) is not bool else math.nan
    at_end = (above and number == low) or (below and number == high)
    if low <= number <= high and not at_end:
        return value
    start = f"{'above' if above else 'from'} {low:g}"
    end = "" if high == math.inf else f" {'to below' if below else 'to'} {high:g}"
    raise UserError(f"{name} must be a number {start}{end}, not {_word(value)}")


def check_whole(
    name: str, value: Any, low: int, high: int = MAX_WHOLE, *, optional: bool = False
) -> Any:
    """`value` if it is an int in [low, high]."""
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
    if value in options:
        return value
    raise unknown(name, value, [option for option in options if option is not None])


def _word(value: Any) -> str:
    """A value as one writes it in a setting: null, true, 1.5, 'text'."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
