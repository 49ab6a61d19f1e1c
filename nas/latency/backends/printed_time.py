"""The milliseconds that a command of the user's prints: read where they are clear, else refused."""

from __future__ import annotations

import math
import re

from nas.core.errors import UserError

UNITS = {
    "s sec secs seconds": 1e3,  # not second, which comes after the first
    "ms msec msecs millisecond milliseconds millis": 1.0,
    "us usec usecs μs μsec microsecond microseconds micros": 1e-3,  # mu as casefold() makes it
    "ns nsec nsecs nanosecond nanoseconds nanos": 1e-6,
}
IN_MS = {word: factor for words, factor in UNITS.items() for word in words.split()}
# What may be said of a time.  Not first, min, std or total: those are other times than is asked.
LABELS = {
    *("latency", "lat", "time", "elapsed", "duration", "inference", "one", "run", "took", "in"),
    *("mean", "average", "avg", "median", "unit"),
}
SIGNS = frozenset(" \t\xa0\ufeff()[]{},;.:!|\"'`*=_-~≈")  # what may be beside them
PER = re.compile(r"(?:/|\bper )(?:image|img|frame|inference|run|sample)\b", re.IGNORECASE)
# What a terminal obeys and does not show: colours, movements of the cursor, titles.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
WORD = re.compile(r"(?<![^\W\d_])(?<![^\W\d_]['’])[^\W\d_]+")  # the s of it's is none
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # between the words of latencyUs
NOT_FINITE = r"\b(?:nan|inf(?:inity)?)\b"
EXPONENT = r"(?:e[-+]?[0-9]+)?"
HAS_NUMBER = re.compile(rf"[0-9]|{NOT_FINITE}", re.IGNORECASE)
NUMBER = re.compile(
    rf"(?<![\w.])[-+−]?(?:{NOT_FINITE}|[.,]?[0-9](?:[0-9.,]*[0-9])?\.?{EXPONENT})", re.IGNORECASE
)
PLAIN = re.compile(rf"(?:\d+\.?\d*|\.\d+){EXPONENT}|{NOT_FINITE}", re.IGNORECASE)
COMMA_GROUPS = re.compile(r"[1-9]\d{0,2}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})")  # 1,234.5
DECIMAL_COMMA = re.compile(rf"(?:\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+),\d+{EXPONENT}", re.IGNORECASE)
EITHER = re.compile(r"[1-9]\d{0,2},\d{3}")  # 1,234 may be 1234 or 1.234
MAX_SHOWN = 80  # characters of a command's own words in an error


def printed_ms(output: bytes) -> float:
    """The only number of the last line that has one, in milliseconds, above 0.

    They are its unit unless one of `UNITS` is in that line.  Beside both only `LABELS` may be
    there.  Raises UserError for all else.
    """
    text = shown_text(output)
    line = next((x for x in reversed(text.split("\n")) if HAS_NUMBER.search(x)), None)
    if line is None:
        raise UserError(f"it printed no number: {last_line(output) or 'nothing'}")
    found = NUMBER.search(line)
    rest = PER.sub(" ", f"{line[: found.start()]} {line[found.end() :]}" if found else line)
    words, number = _words(rest), _number(found[0]) if found else None
    units = words & IN_MS.keys()
    odd = words - LABELS - units or {sign for sign in rest if not sign.isalpha()} - SIGNS
    others = set() if units else {word for word in _words(text) if IN_MS.get(word, 1) != 1}
    if not found or number is None:
        why = f"{found[0] if found else 'it'} can be read in several ways, or in none"
    elif HAS_NUMBER.search(rest):
        why = "there is more than one number"
    elif odd:
        why = f"what is {', '.join(sorted(odd))} beside {found[0]}?"
    elif len({IN_MS[unit] for unit in units}) > 1:
        why = f"it has the units {' and '.join(sorted(units))}"
    elif others:
        why = f"{found[0]} has no unit, but {', '.join(sorted(others))} is there too"
    elif not 0 < (ms := number * IN_MS[min(units, default="ms")]) < math.inf:
        raise UserError(f"its last number must be milliseconds, not {found[0]}")
    else:
        return ms
    shown = line.strip()[-MAX_SHOWN:]
    raise UserError(f"its time is unclear in {shown!r}: {why}; end with the time, as in 12.5 ms")


def shown_text(output: bytes) -> str:
    """What a terminal would show of `output`: UTF-8 or else Windows' Latin letters."""
    try:
        text = output.decode()
    except UnicodeDecodeError:
        text = output.decode("cp1252", errors="replace")
    return "\n".join(ESCAPES.sub("", text).splitlines())


def last_line(output: bytes) -> str:
    """The last line that is not blank, shortened; "" where there is none."""
    return shown_text(output).strip().rpartition("\n")[2].strip()[:MAX_SHOWN]


def _number(text: str) -> float | None:
    """The value of a number as people write it; None where it is unclear."""
    digits = text.lstrip("-+−").rstrip(".")
    sign = -1 if text[0] in "-−" else 1
    if PLAIN.fullmatch(digits):
        return sign * float(digits)
    if COMMA_GROUPS.fullmatch(digits):
        return sign * float(digits.replace(",", ""))
    if DECIMAL_COMMA.fullmatch(digits) and not EITHER.fullmatch(digits):
        return sign * float(digits.replace(".", "").replace(",", "."))
    return None


def _words(text: str) -> set[str]:
    return {word.casefold() for word in WORD.findall(HUMP.sub(" ", text))}
