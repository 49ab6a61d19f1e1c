"""The one exception that means: the user can mend this."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake of the caller's: what was received, what is allowed, what to do, in one line.

    Command lines print it without a traceback and exit with 2.  Anything else that is raised is
    a defect of ours and keeps its traceback.
    """


def unknown(kind: str, name: object, allowed: Iterable[object]) -> UserError:
    """An error for a `name` that is not among the `allowed` ones, with the nearest of them."""
    names = [str(option) for option in allowed]
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(names)})")


def check_number(name: str, value: object, low: float, *, whole: bool = True) -> None:
    """Raise UserError where `value` is no (whole) number from `low` on; without `whole`, above."""
    kinds = int if whole else int | float
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not number or not (value >= low if whole else value > low):  # type: ignore[operator]  # a number
        kind = f"whole number from {low:g}" if whole else f"number above {low:g}"
        raise UserError(f"{name} must be a {kind}, not {value!r}")
