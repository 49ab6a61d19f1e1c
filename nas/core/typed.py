"""Settings as their parameters ask for them: texts are read, values checked, by the annotations.

epochs: Count                                    a whole number from 1
lr: Annotated[float, Range(0, above=True)]       a number above 0
optimizer: Annotated[str, Among(("sgd", "adamw"))]
kernels: Sequence[int]                           a list of whole numbers
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, Unpack, get_args, get_origin, get_type_hints

import yaml

from nas.core.checks import MAX_WHOLE, word
from nas.core.errors import UserError, unknown

NULLS = ("null", "None")
BOOLS = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), False),
}
QUOTED = re.compile(r"""(['"])((?:(?!\1)[^\\]|\\.)*)\1""", re.DOTALL)
MAX_LISTS = 100  # in one setting
MAX_SHOWN = 80  # letters of a value in an error


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `above` and `below` leave the ends out."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        at_end = (self.above and number == self.low) or (self.below and number == self.high)
        return self.low <= number <= self.high and not at_end

    def __str__(self) -> str:
        start = f" {'above' if self.above else 'from'} {self.low:g}"
        end = f" {'to below' if self.below else 'to'} {self.high:g}"
        shown = (start * math.isfinite(self.low), end * math.isfinite(self.high))
        return "".join(shown)


@dataclass(frozen=True)
class Among:
    """One of the `options`."""

    options: Collection[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))  # hints are compared by hash


Count = Annotated[int, Range(1)]
Workers = Annotated[int, Range(1, 256)]  # processes
Natural = Annotated[int, Range(0)]  # of seeds and numbers that may be none
Side = Annotated[int, Range(1, 8192)]  # pixels
Multiplier = Annotated[float, Range(0.05, 16)]  # of widths
Milliseconds = Annotated[float, Range(0, above=True)]
Positive = Annotated[float, Range(0, above=True)]
Amount = Annotated[float, Range(0, below=True)]
Share = Annotated[float, Range(0, 1, below=True)]  # of a whole


class Given(str):
    """What a user gave for a setting, as a text that was not read yet."""

    __slots__ = ()


def typed(name: str, hint: Any, value: Any) -> Any:
    """`value` as `hint` asks for it, read where it is `Given`; UserError where it is another."""
    if not isinstance(value, Given):
        return check(name, hint, value)
    found = read(hint, value)
    return check(name, hint, found, word(found) if isinstance(found, str) else str(value))


def read(hint: Any, text: str) -> Any:
    """What `text` says where `hint` is asked for; the text itself where it says nothing such."""
    text, kinds = str(text), {_kind(member) for member in _members(hint)}
    if str not in kinds:
        text = _unquoted(text.strip())
    if text in NULLS:
        return None
    if bool in kinds and text.lower() in BOOLS:
        return BOOLS[text.lower()]
    if kinds & {int, float, Any} and (number := _number(text)) is not None:
        return number
    if Any in kinds and text.lower() in ("true", "false"):
        return BOOLS[text.lower()]
    if Sequence in kinds and not (str in kinds and text[:1] != "["):
        item = next(get_args(m)[0] for m in _members(hint) if _kind(m) is Sequence)
        return _list(item, text)
    return _unquoted(text) if QUOTED.fullmatch(text) else at_home(text)


def _unquoted(text: str) -> str:
    quoted = QUOTED.fullmatch(text)
    return re.sub(r"\\([\\'\"])", r"\1", quoted[2]) if quoted else text


def at_home(text: str) -> str:
    """A text that begins with "~/" with the home folder there, if there is one."""
    home = os.environ.get("HOME", "")
    return f"{home}{text[1:]}" if text.startswith("~/") and home else text


def _number(text: str) -> float | None:
    try:
        if not text.isascii() or "_" in text:
            return None
        return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else float(text)
    except ValueError:
        return None


def _list(item: Any, text: str) -> Any:
    """A list in YAML's brackets, or the one value that stands for a list of it."""
    try:
        nested = text[:1] == "[" and text.count("[") <= MAX_LISTS
        values = yaml.load(text, yaml.BaseLoader) if nested else text
    except yaml.YAMLError:
        return text
    if isinstance(values, str):
        one = read(item, text)
        return [one] if fits(item, one) and "," not in text else text
    return [_list_item(item, value) for value in values]


def _list_item(item: Any, value: Any) -> Any:
    if isinstance(value, list) and _kind(item) is Sequence:
        return [_list_item(get_args(item)[0], inner) for inner in value]
    return read(item, value) if isinstance(value, str) else value


def check(name: str, hint: Any, value: Any, shown: str | None = None) -> Any:
    """`value` if it is what `hint` asks for; an error says that it is not `shown`."""
    if fits(hint, value):
        return value
    lists = [get_args(m)[0] for m in _members(hint) if _kind(m) is Sequence]
    if lists and isinstance(value, list | tuple) and isinstance(_limit(lists[0]), Among):
        for item in value:
            check(name, lists[0], item)
    among = [m for m in _members(hint) if isinstance(_limit(m), Among)]
    if among and len(_members(hint)) == len(among) + (NoneType in _members(hint)):
        raise unknown(name, value, _limit(among[0]).options)
    shown = word(value) if shown is None else shown
    shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    comma = isinstance(value, str) and "," in value
    more = " (one value; a comma stands between values of a list in brackets)" if comma else ""
    if type(value) is int and value > MAX_WHOLE and fits(hint, MAX_WHOLE):
        more = f" (the largest is {MAX_WHOLE})"
    raise UserError(f"{name} must be {described(hint)}, not {shown}{more}")


def fits(hint: Any, value: Any) -> bool:
    """Whether `value` is what `hint` asks for; what is no setting (a judge) is anything."""
    return any(_fits(member, value) for member in _members(hint))


def _fits(member: Any, value: Any) -> bool:
    kind, limit = _kind(member), _limit(member)
    if isinstance(limit, Among):
        return value in limit.options
    if kind in (int, float):
        whole = type(value) is int and abs(value) <= MAX_WHOLE
        real = type(value) is float and value == value
        number = whole if kind is int else real or (type(value) is int and abs(value) < 2**1000)
        return number and (limit is None or value in limit)
    if kind is Sequence:
        items = get_args(member)[:1] or (Any,)
        return isinstance(value, list | tuple) and all(fits(items[0], item) for item in value)
    if kind is str:
        return isinstance(value, str | Path)
    return isinstance(value, kind) if kind in (bool, NoneType) else True


def described(hint: Any) -> str:
    """What a hint asks for, in words: "a whole number from 1 or null"."""
    return " or ".join(dict.fromkeys(_described(member) for member in _members(hint)))


def _described(member: Any) -> str:
    kind, limit = _kind(member), _limit(member)
    if isinstance(limit, Among):
        return ", ".join(limit.options)
    if kind is Sequence:
        item = described((get_args(member) or (Any,))[0])
        return "a list of " + re.sub(r"^a (whole number|number|list)", r"\1s", item)
    words = {bool: "true or false", NoneType: "null", str: "text", int: "a whole number"}
    return words.get(kind, "a number" if kind is float else "a value") + str(limit or "")


@cache
def _members(hint: Any) -> tuple[Any, ...]:
    """The hints of a union, null last; else the hint itself."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return tuple(sorted(members, key=lambda member: member is NoneType))


def _kind(member: Any) -> Any:
    """bool, int, float, str, NoneType, Sequence or Any; another type as it is."""
    base = get_args(member)[0] if get_origin(member) is Annotated else member
    if get_origin(base) in (list, tuple, Sequence):
        return Sequence
    return str if base is Path else base


def _limit(member: Any) -> Any:
    return member.__metadata__[0] if get_origin(member) is Annotated else None


@cache
def hints_of(call: Any) -> Mapping[str, Any]:
    """What each parameter of a function or class asks for; Any where that cannot be told.

    The keys of `**more: Unpack[SomeTypedDict]` are parameters too; "**" is among them where others
    are taken as well.
    """
    hints: dict[str, Any] = {}
    known = get_type_hints(call, include_extras=True) if is_dataclass(call) else {}
    try:
        signature = inspect.signature(call)
    except ValueError:  # of what is written in C
        return {"**": Any}
    for name, parameter in signature.parameters.items():
        hint = known.get(name) or _hint(parameter.annotation, inspect.getmodule(call))
        if parameter.kind is not parameter.VAR_KEYWORD:
            hints[name] = hint
        elif get_origin(hint) is Unpack:
            hints |= get_type_hints(get_args(hint)[0], include_extras=True)
        else:
            hints["**"] = Any
    return hints


def _hint(annotation: Any, module: Any) -> Any:
    """An annotation, evaluated where it was written as a text."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = type("", (), {"__annotations__": {"it": annotation}, "__module__": module.__name__})
    try:
        return get_type_hints(holder, include_extras=True)["it"]
    except (NameError, TypeError):  # of names that only a type checker imports
        return Any


def check_fields(settings: Any, group: str = "") -> None:
    """Check every field of a dataclass by its annotation; `group.` stands before its name."""
    hints = hints_of(type(settings))  # type: ignore[arg-type]  # a class can be hashed
    for name in (field.name for field in fields(settings) if field.init):
        check(f"{group}.{name}".lstrip("."), hints[name], getattr(settings, name))
