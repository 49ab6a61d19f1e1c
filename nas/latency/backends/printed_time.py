"""The milliseconds that a command of the user's prints: its last number, by the unit beside it."""

from __future__ import annotations

import math
import re

from nas.core.errors import UserError

UNITS = {
    "s sec secs second seconds": 1e3,
    "ms msec msecs millisecond milliseconds millis": 1.0,
    "us usec usecs μs μsec microsecond microseconds micros": 1e-3,  # mu as casefold() makes it
    "ns nsec nsecs nanosecond nanoseconds nanos": 1e-6,
}
IN_MS = {word: factor for words, factor in UNITS.items() for word in words.split()}
# What a terminal obeys and does not show: colours, movements of the cursor, titles.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
# A number and all digits that are joined to it: 1,234.5 and 1 234,5, but also 1.2.3 and 10:23:45.
# Not after a letter, a digit or a point: neither `v1.2.3`, `conv2d` nor `resnet-50` holds one.
NUMBER = re.compile(
    r"(?<![\w.])(?<![^\W\d]-)[-+−]?(?:nan\b|inf(?:inity)?\b|"
    r"(?:[0-9]{1,3}(?:[ \xa0\u2009\u202f][0-9]{3})+(?![0-9])|[.,]?[0-9]+)"
    r"(?:[.,:/'’_^*×][0-9]+)*\.?(?:e[-+]?[0-9]+)?)",
    re.IGNORECASE,
)
EXPONENT = r"(?:e[-+]?\d+)?"
PLAIN = re.compile(rf"(?:\d+\.?\d*|\.\d+){EXPONENT}|nan|inf(?:inity)?", re.IGNORECASE)
COMMA_GROUPS = re.compile(r"[1-9]\d{0,2}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})")  # 1,234.5
DECIMAL_COMMA = re.compile(rf"(?:\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+),\d+{EXPONENT}", re.IGNORECASE)
EITHER = re.compile(r"[1-9]\d{0,2},\d{3}")  # 1,234 may be 1234 or 1.234
WORD = r"(?<![^\W\d_])(?<![^\W\d_]['’])([^\W\d_]+)"  # the s of it's is none
LABEL = re.compile(rf"(?<!/)(?<!per[ _])(?:(?<=_){WORD}\s*|{WORD}[\])\"']*\s*[\])\"':=]\s*)$")
SPREAD = re.compile(r"(?:±|\+/?-)\s*$")
AROUND = "()[]{}<>,;.:!|\"'`*="  # what may stand between a number and its unit, or end a line
MAX_SHOWN = 80  # characters of a command's own words in an error


def printed_ms(output: bytes) -> float:
    """The last number of `output`, in milliseconds, above 0.

    They are its unit unless one of `UNITS` stands after it or names it (`latency_us: 12500`).
    Raises UserError for what is no time, or could be read in two ways.
    """
    text = shown_text(output)
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        raise UserError(f"it printed no number: {last_line(output) or 'nothing'}")
    last = numbers[-1]
    before = text[text.rfind("\n", 0, last.start()) + 1 : last.start()]
    line = before + text[last.start() :].partition("\n")[0]
    number, unit = _number(last[0]), _unit(text, last, before)
    if number is None:
        why = f"{last[0]} can be read in several ways, or in none"
    elif SPREAD.search(before):
        why = f"{last[0]} is how far its times spread"
    elif unit and unit not in IN_MS:
        why = f"{unit!r} beside {last[0]} is no unit of time"
    elif not unit and (others := _other_units(text, numbers, alone=line.strip() == last[0])):
        why = f"{last[0]} has no unit, but {', '.join(sorted(others))} is there too"
    elif not 0 < (ms := number * IN_MS[unit or "ms"]) < math.inf:
        raise UserError(f"its last number must be milliseconds, not {last[0]}")
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


def _unit(text: str, number: re.Match[str], before: str = "") -> str:
    """The word after a number, `ms` of `ms/image` too, else the unit that names it, else ""."""
    after = text[number.end() :].partition("\n")[0].split(maxsplit=1)
    word = after[0].strip(AROUND).casefold() if after else ""
    if word:
        return word.partition("/")[0] or word
    label = LABEL.search(before)
    named = (label[1] or label[2]).casefold() if label else ""
    return named if named in IN_MS and named != "second" else ""  # after the first


def _other_units(text: str, numbers: list[re.Match[str]], alone: bool) -> set[str]:
    """Units of time that put a number without one in doubt, less so `alone` on its line."""
    named = {word.casefold() for word in re.findall(WORD, text)}
    doubtful = {word for word in named if IN_MS.get(word, 1) != 1}
    return doubtful if alone else doubtful | {_unit(text, n) for n in numbers} & IN_MS.keys()
