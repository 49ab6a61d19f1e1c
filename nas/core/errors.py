"""The one exception that means: the user can mend this."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake of the caller's: what was received, what is allowed, what to do, in one line."""


def unknown(kind: str, name: object, allowed: Iterable[object]) -> UserError:
    """An error for a `name` that is not `allowed`, with the nearest that is."""
    names = [str(option) for option in allowed]
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(names)})")
