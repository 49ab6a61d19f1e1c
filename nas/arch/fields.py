"""What the fields of an architecture may hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, is_dataclass
from typing import Any

from nas.core.checks import check_bool, check_number, check_option, check_whole
from nas.core.errors import UserError

ACTIVATIONS = ("relu", "relu6", "hswish", "swish")
GATES = ("sigmoid", "hsigmoid")
PADDINGS = ("symmetric", "same")
_OPTIONS = {
    "act": ACTIVATIONS,
    "hidden_layer": ("linear", "conv"),
    "padding": PADDINGS,
    "se_act": ("", *ACTIVATIONS),
    "se_from": ("input", "expanded"),
    "se_gate": GATES,
}
_NUMBERS = {
    "bn_eps": (1e-9, 1.0),
    "bn_momentum": (0.0, 1.0),
    "drop_path": (0.0, 0.99),
    "dropout": (0.0, 0.99),
    "expand": (0.1, 64.0),
    "se": (0.0, 1.0),
}
_WHOLE_NUMBERS = {
    "channels": (1, 4096),
    "classes": (1, 1_000_000),
    "depth": (0, 1000),
    "hidden": (0, 1_000_000),
    "kernel": (1, 31),
    "resolution": (1, 8192),
    "stride": (1, 2),
    "width": (1, 1_000_000),
}


def check_fields(node: Any, *, min_width: int = 1, ops: Collection[str] = ()) -> None:
    """Refuse a field of `node` that holds neither an allowed value nor a hole for some."""
    for f in fields(node):
        value = getattr(node, f.name)
        for option in getattr(value, "options", (value,)):
            if not (is_dataclass(option) or isinstance(option, tuple)):
                _check_value(f.name, option, min_width, ops)


def _check_value(name: str, value: Any, min_width: int, ops: Collection[str]) -> None:
    if name == "name":
        if not isinstance(value, str):
            raise UserError(f"name must be text, not {value!r}")
    elif name in {"skip", "linear"}:
        check_bool(name, value)
    elif name == "op":
        check_option(name, value, ops)
    elif name in _OPTIONS:
        check_option(name, value, _OPTIONS[name])
    elif name in _NUMBERS:
        check_number(name, value, *_NUMBERS[name])
    else:
        low, high = _WHOLE_NUMBERS[name]
        check_whole(name, value, min_width if name == "width" else low, high)
        if name == "kernel" and value % 2 == 0:
            raise UserError(f"kernel must be odd, not {value}")
