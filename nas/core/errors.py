"""The one exception that means: the user can mend this."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

UNPRINTABLE = "[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"  # control, line ends, undecoded bytes


def one_line(text: str) -> str:
    """`text`, where it would break a line or is no UTF-8 (names of files), as Python's escapes."""
    return re.sub(UNPRINTABLE, lambda c: c[0].encode("unicode_escape").decode(), text)


class UserError(ValueError):
    """A mistake of the caller's: what was received, what is allowed, what to do, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def unknown(kind: str, name: object, allowed: Iterable[object]) -> UserError:
    """An error for a `name` that is not `allowed`, with the nearest that is."""
    names = [str(option) for option in allowed]
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(names)})")
