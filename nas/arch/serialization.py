"""An `Arch` as YAML and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.dense import Dense
from nas.core.errors import UserError, unknown
from nas.core.files import parse_yaml

_NODES: dict[str, type] = {
    "stem": Stem,
    "head": Head,
    "stages": Stage,
    "blocks": Block,
    "dense": Dense,
}


def to_dict(node: Any) -> dict[str, Any]:
    """Plain dicts, lists and numbers, without fields that hold their defaults."""
    values = ((f, getattr(node, f.name)) for f in fields(node))
    return {f.name: _plain(value) for f, value in values if value != f.default}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_dict(value) if is_dataclass(value) else value


def from_dict(data: Mapping[str, Any], kind: type = Arch, where: str = "arch") -> Any:
    """The inverse of `to_dict`; a UserError names the key that is unknown, missing or wrong."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where} must be a mapping of fields, not {data!r:.60}")
    known = {f.name: f for f in fields(kind)}
    for key in data:
        if key not in known:
            raise unknown(f"field of {where}", key, known)
    for name, f in known.items():
        if f.default is MISSING and name not in data:
            raise UserError(f"{where} lacks the field {name!r}")
    try:
        return kind(**{key: _node(key, value, f"{where}.{key}") for key, value in data.items()})
    except UserError as error:
        raise error if where in str(error) else UserError(f"{where}: {error}") from None


def _node(key: str, value: Any, where: str) -> Any:
    kind = _NODES.get(key)
    if kind is None:
        return value
    if isinstance(value, list | tuple) and key in ("stages", "blocks"):
        return tuple(from_dict(v, kind, f"{where}.{i}") for i, v in enumerate(value))
    if key == "stages":
        raise UserError(f"{where} must be a list of stages, not {value!r:.60}")
    return from_dict(value, kind, where)


def dumps(arch: Arch) -> str:
    """YAML text of `arch`, one line a stage or block."""

    def line(value: Any) -> str:
        text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        return text.removesuffix("...\n").strip()

    values = to_dict(arch)
    stages = [f"- {line(stage)}" for stage in values.pop("stages")]
    lines = [f"{key}: {line(value)}" for key, value in values.items()]
    return "\n".join([*lines, "stages:", *stages]) + "\n"


def loads(text: str, source: str = "arch") -> Arch:
    """The network that YAML (or JSON) `text` describes; `source` is named in errors."""
    try:
        data = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{source} is not valid YAML: {error}") from None
    arch: Arch = from_dict(data, Arch, source)
    return arch


def is_file(name: object) -> bool:
    """Whether what `arch=` says is a file and not the name of a published network."""
    return str(name).endswith((".yaml", ".yml", ".json"))


def load(path: str | Path) -> Arch:
    """Read a network from a YAML or JSON file."""
    path = Path(path)
    try:
        return loads(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"cannot read the network {path}: {reason}") from None
