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
