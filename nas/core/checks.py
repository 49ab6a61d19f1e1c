"""Checks of single values, each with a UserError of one line; of settings, see typed.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from nas.core.errors import UserError, unknown

MAX_WHOLE = 2**31  # of seeds and counts


def check_number(name: str, value: Any, low: float, high: float) -> Any:
    """`value` if it is a number in [low, high]."""
    number = value if isinstance(value, int | float) and type(value) is not bool else math.nan
    if low <= number <= high:
        return value
    raise UserError(f"{name} must be a number from {low:g} to {high:g}, not {word(value)}")


def check_whole(name: str, value: Any, low: int, high: int = MAX_WHOLE) -> Any:
    """`value` if it is an int in [low, high]."""
    if type(value) is not int or not low <= value <= high:
        top = "" if high == MAX_WHOLE else f" to {high}"
        raise UserError(f"{name} must be a whole number from {low}{top}, not {word(value)}")
    return value


def check_bool(name: str, value: Any) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, not {word(value)}")
    return value


def check_option(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value` if it is one of the `allowed` ones, of which None is not named in the error."""
    options = list(allowed)
    if value in options:
        return value
    raise unknown(name, value, [option for option in options if option is not None])


def word(value: Any) -> str:
    """A value as one writes it in a setting: null, true, 1.5, 'text'."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
