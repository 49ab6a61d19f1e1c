"""What the fields of an architecture may hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from nas.core.checks import check_bool, check_number, check_option, check_whole
from nas.core.errors import UserError

ACTIVATIONS = ("relu", "relu6", "hswish", "swish")
GATES = ("sigmoid", "hsigmoid")
PADDINGS = ("symmetric", "same")
_OPTIONS = {
    "act": ACTIVATIONS,
    "hidden_layer": ("linear", "conv", "conv_norm"),
    "output_stride": (0, 8, 16, 32),
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
    "max_scale": (0.0, 1.0),
    "min_scale": (0.0, 1.0),
    "own_eps": (0.0, 1.0),
    "se": (0.0, 1.0),
}
_WHOLE_NUMBERS = {
    "channels": (1, 4096),
    "classes": (1, 1_000_000),
    "depth": (0, 1000),
    "first_kernel": (0, 31),
    "finer_maps": (0, 3),
    "first_anchors": (3, 6),
    "hidden": (0, 1_000_000),
    "kernel": (1, 31),
    "rate": (1, 64),
    "resolution": (1, 8192),
    "stride": (1, 2),
    "width": (1, 1_000_000),
}
# fields that hold nodes, of which class
_PARTS = {
    "blocks": ("Block", "a Block or a tuple of Block"),
    "dense": ("Dense", "a head for boxes or masks, or none"),
    "head": ("Head", "a Head"),
    "stages": ("Stage", "a tuple of Stage"),
    "stem": ("Stem", "a Stem"),
}


def shown(node: Any) -> str:
    """The repr of a dataclass: all fields but those with repr=False that hold their defaults.

    Networks, spaces and runs are known by it, also those made before there were such fields.
    """
    held = [f for f in fields(node) if f.repr or getattr(node, f.name) != f.default]
    texts = (f"{f.name}={getattr(node, f.name)!r}" for f in held)
    return f"{type(node).__qualname__}({', '.join(texts)})"


def check_fields(
    node: Any, *, min_width: int = 1, min_kernel: int = 1, ops: Collection[str] = ()
) -> None:
    """Refuse a field of `node` that holds neither an allowed value nor a hole for some."""
    least = {"width": min_width, "kernel": min_kernel}
    for f in fields(node):
        value = getattr(node, f.name)
        for option in getattr(value, "options", (value,)):
            if f.name in _PARTS:
                _check_part(f.name, option)
            else:
                _check_value(f.name, option, least, ops)


def _check_part(name: str, value: Any) -> None:
    """Refuse what stands where a node of a network, or a tuple of some, must be."""
    kind, words = _PARTS[name]
    listed = isinstance(value, tuple) and name in {"stages", "blocks"}
    for item in value if listed else (value,):
        for option in getattr(item, "options", (item,)):
            known = type(option).__name__ == kind or (name == "dense" and option is None)
            if not known or (name == "stages" and not listed):
                got = "a list" if isinstance(option, list) else f"{option!r:.60}"
                raise UserError(f"{name} must be {words}, not {got}")


def _check_value(name: str, value: Any, least: Mapping[str, int], ops: Collection[str]) -> None:
    if name == "name":
        if not isinstance(value, str):
            raise UserError(f"name must be text, not {value!r}")
    elif name in {"skip", "linear", "separable"}:
        check_bool(name, value)
    elif name == "op":
        check_option(name, value, ops)
    elif name in _OPTIONS:
        check_option(name, value, _OPTIONS[name])
    elif name in _NUMBERS:
        check_number(name, value, *_NUMBERS[name])
    else:
        low, high = _WHOLE_NUMBERS[name]
        check_whole(name, value, least.get(name, low), high)
        if name in {"kernel", "first_kernel"} and value and value % 2 == 0:
            raise UserError(f"{name} must be odd, not {value}")
