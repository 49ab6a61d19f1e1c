"""A search space is an `Arch` with holes; `fill` gives a network, `picks_of` finds one in it.

    space = Arch(stages=(Stage(40, depth=one_of(2, 3), blocks=Block(kernel=one_of(3, 5))), ...))
    choices(space)                  {"stages.0.depth": (2, 3), "stages.0.blocks.kernel": (3, 5)}
    fill(space, {"stages.0.depth": 3, "stages.0.blocks.kernel": 5})

A hole is known by its path, or by its name, and holes of one name are one choice.  Choices without
effect (of a slot beyond the depth) still have a value.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from nas.arch.arch import Arch, Stage
from nas.arch.blocks import BLOCKS, Block
from nas.arch.notation import arch_string
from nas.arch.operators import operators
from nas.core.errors import UserError, unknown

Label = str | int | float | bool
Picks = Mapping[str, Any]

# What training or the data decide: a space gives its own value and not the network's.
_NOT_STRUCTURE = frozenset(
    ("name", "resolution", "channels", "classes", "bn_eps", "bn_momentum", "drop_path", "dropout")
)


@dataclass(frozen=True, slots=True)
class OneOf:
    """A hole: one of `options`, each known to a sampler by its label."""

    options: tuple[Any, ...]
    labels: tuple[Label, ...]
    name: str = ""

    def pick(self, label: Any, key: str) -> Any:
        """The option with this label, or a UserError that names the choice `key`."""
        if label not in self.labels:
            raise UserError(f"{key} cannot be {label!r} (allowed: {_listed(self.labels)})")
        return self.options[self.labels.index(label)]


def one_of(*options: Any, name: str = "") -> Any:
    """A hole for any field of an `Arch`; equal options count once, and a single one is no hole.

    Options are plain values, their own labels; or one mapping of labels to anything (say, to
    whole `Block`s).  Holes of one `name` are one choice and must have the same labels in the
    same order.
    """
    labelled = options[0] if len(options) == 1 and isinstance(options[0], Mapping) else None
    values = tuple(labelled.values()) if labelled else tuple(dict.fromkeys(options))
    if not values:
        raise UserError("a choice needs at least one option, not an empty list")
    return OneOf(values, tuple(labelled or values), name) if len(values) > 1 else values[0]


def _listed(labels: tuple[Label, ...]) -> str:
    return ", ".join(str(label) for label in labels)


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(node) and not isinstance(node, OneOf):
        yield from ((f.name, getattr(node, f.name)) for f in fields(node))
    elif isinstance(node, tuple):
        yield from ((str(i), child) for i, child in enumerate(node))


def holes(node: Any, path: str = "") -> Iterator[tuple[str, OneOf]]:
    """Every hole of a part of a space, with the key of its choice; `path` is where the part is."""
    if isinstance(node, OneOf):
        yield node.name or path, node
        return
    for key, child in _children(node):
        yield from holes(child, f"{path}.{key}" if path else key)


def choices(space: Arch) -> dict[str, tuple[Label, ...]]:
    """Every choice of the space and its labels, in the order of the network."""
    found: dict[str, tuple[Label, ...]] = {}
    for key, hole in holes(space):
        if found.setdefault(key, hole.labels) != hole.labels:
            raise UserError(
                f"holes named {key!r} must have the same labels, not {_listed(found[key])} "
                f"and {_listed(hole.labels)}"
            )
    return found


def size(space: Arch) -> int:
    """How many genomes the space has; distinct networks are fewer where genes have no effect."""
    return math.prod(len(labels) for labels in choices(space).values())


def fill(space: Arch, picks: Picks) -> Arch:
    """The network that `picks`, a label for every choice, makes of the space."""
    allowed = choices(space)
    for key in picks:
        if key not in allowed:
            raise unknown("choice", key, allowed)
    for key in allowed:
        if key not in picks:
            raise UserError(f"the choice {key} is missing (allowed: {_listed(allowed[key])})")
    arch = filled(space, picks, "")
    assert isinstance(arch, Arch)
    return arch


def filled(node: Any, picks: Picks, path: str) -> Any:
    """The part of a space at `path` with its holes filled, itself where it has none."""
    if isinstance(node, OneOf):
        key = node.name or path
        return node.pick(picks[key], key)
    changed = {}
    for key, child in _children(node):
        new = filled(child, picks, f"{path}.{key}" if path else key)
        if new is not child:
            changed[key] = new
    if not changed:
        return node
    if isinstance(node, tuple):
        return tuple(changed.get(str(i), child) for i, child in enumerate(node))
    return replace(node, **changed)


def first_picks(space: Arch, side: Label) -> dict[str, Label]:
    """The first label of every choice, but for the resolution, if it is one, that `side`."""
    first = {key: labels[0] for key, labels in choices(space).items()}
    return first | ({"resolution": side} if "resolution" in first else {})


def random_picks(space: Arch, rng: random.Random) -> dict[str, Label]:
    """A label for every choice, each uniformly at random."""
    return {key: rng.choice(labels) for key, labels in choices(space).items()}


def picks_of(space: Arch, arch: Arch) -> dict[str, Label]:
    """The picks that make `space` into `arch`; UserError names a field that the space cannot have.

    What the data or the training decide is compared only where the space has a hole for it.
    Choices without effect take their first label.
    """
    found = _Found()
    _match(space, arch, "", found)
    for hole, value, path in found.idle:
        with suppress(UserError):
            _match(hole, value, path, found)
    picks = {key: found.labels.get(key, labels)[0] for key, labels in choices(space).items()}
    made = fill(space, picks)
    if _structure(made) != _structure(replace(arch, resolution=made.resolution)):
        raise UserError(
            f"the space makes {arch_string(made)} of what should be {arch_string(arch)}"
        )
    return picks


def _structure(arch: Arch) -> list[tuple[object, ...]]:
    plain = replace(arch, channels=3, classes=1000, head=replace(arch.head, dropout=0.0))
    return [(row.layers, row.residual) for row in operators(plain)]


@dataclass
class _Found:
    """The labels that fit, by choice; and holes without effect, with their values and paths."""

    labels: dict[str, tuple[Label, ...]] = field(default_factory=dict)
    idle: list[tuple[OneOf, Any, str]] = field(default_factory=list)


def _match(space: Any, value: Any, path: str, found: _Found) -> None:
    if isinstance(space, OneOf):
        key, options = space.name or path, zip(space.labels, space.options, strict=True)
        # options may repeat under one name (widths that round alike): keep all labels that fit
        fitting = tuple(label for label, option in options if _alike(option, value))
        if not fitting:
            raise UserError(f"{key} cannot be {_short(value)} (allowed: {_listed(space.labels)})")
        known = found.labels.get(key, fitting)
        if not (both := tuple(label for label in known if label in fitting)):
            raise UserError(f"{key} cannot be both {known[0]} and {fitting[0]}")
        found.labels[key] = both
    elif isinstance(space, Stage):
        _match_stage(space, value, path, found)
    elif isinstance(space, Block):
        _match_fields(space, value, path, found, skip=_without_effect(value))
    elif isinstance(space, tuple):
        if len(space) != len(value):
            raise UserError(f"{path} has {len(value)} entries where the space has {len(space)}")
        for i, (s, v) in enumerate(zip(space, value, strict=True)):
            _match(s, v, f"{path}.{i}", found)
    elif is_dataclass(space) and type(space) is type(value):
        _match_fields(space, value, path, found)
    elif space != value:
        raise UserError(f"{path} cannot be {_short(value)} (allowed: {_short(space)})")


def _match_fields(
    space: Any, value: Any, path: str, found: _Found, skip: Set[str] = frozenset()
) -> None:
    for f in fields(space):
        child, own = getattr(space, f.name), getattr(value, f.name)
        key = f"{path}.{f.name}" if path else f.name
        if f.name in skip and isinstance(child, OneOf):
            found.idle.append((child, own, key))
        elif f.name not in _NOT_STRUCTURE | skip or isinstance(child, OneOf):
            _match(child, own, key, found)


def _match_stage(space: Stage, stage: Stage, path: str, found: _Found) -> None:
    for name in ("width", "depth", "stride"):
        _match(getattr(space, name), getattr(stage, name), f"{path}.{name}", found)
    blocks: Any = space.blocks
    if isinstance(blocks, OneOf):
        options = tuple(replace(stage, blocks=b).slots() for b in blocks.options)
        _match(replace(blocks, options=options), stage.slots(), f"{path}.blocks", found)
        return
    for i, block in enumerate(stage.slots()):
        if isinstance(space.blocks, tuple):
            slot = min(i, len(space.blocks) - 1)
            _match(space.blocks[slot], block, f"{path}.blocks.{slot}", found)
        else:
            _match(space.blocks, block, f"{path}.blocks", found)


def _alike(option: Any, value: Any) -> bool:
    """Whether a hole's option is the value, but for what has no effect in its blocks."""
    if isinstance(option, tuple) and isinstance(value, tuple):
        return len(option) == len(value) and all(map(_alike, option, value))
    if isinstance(option, Stage) and isinstance(value, Stage):
        same = replace(option, blocks=value.blocks) == value
        return same and _alike(option.slots(), value.slots())
    if isinstance(option, Block) and isinstance(value, Block):
        return _effective(option) == _effective(value)
    return bool(option == value)


def _effective(block: Block) -> dict[str, Any]:
    skip = _without_effect(block)
    held = {f.name: getattr(block, f.name) for f in fields(block) if f.name not in skip}
    return held | {"se_act": (block.se_act or block.act) if held.get("se") else ""}


def _without_effect(block: Block) -> Set[str]:
    """Fields that do not matter in this block, or (se_act) only through the layers they make."""
    skip = {"se_act"}
    if not BLOCKS[block.op].convolves:
        skip |= {"kernel", "act", "se"}
    if not block.se or "se" in skip:
        skip |= {"se_from", "se_gate"}
    if not BLOCKS[block.op].expands:
        skip |= {"expand"}
    if not BLOCKS[block.op].residual:
        skip |= {"skip", "linear"}
    if not BLOCKS[block.op].two_kernels:
        skip |= {"first_kernel"}
    return skip


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"these {len(value)}"
    return repr(value) if not is_dataclass(value) else type(value).__name__.lower()
