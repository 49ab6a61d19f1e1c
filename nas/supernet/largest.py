"""The ends of a space: the largest layers it can ask for, its largest and smallest networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import BLOCKS, Block
from nas.arch.cost import cost, layer_cost
from nas.arch.layers import Layer, Operator, layer_role
from nas.arch.operators import operators
from nas.space.choices import Label, OneOf, Picks, choices, fill
from nas.space.trellis.trellis import Trellis

Largest = dict[tuple[str, str], dict[str, Layer]]  # by place and kind of block, then by role
_SIZES = "cin", "cout", "kernel", "groups", "channels", "squeeze"
_SIDE = 8  # pixels; the weights do not depend on it


def largest_layers(space: Arch) -> Largest:
    """Layers with each size the largest in `space`; those without weights are left out.

    Sorted, so that seeds mean the same everywhere.
    """
    found: Largest = {}
    inputs: set[int] = set()
    for stem in _alternatives(space.stem):
        inputs.add(stem.width)
        row = _end_rows(space, stem, Head())[0]
        _merge(found, (row.place, row.op), row.layers)
    for s, hole in enumerate(space.stages, 1):
        outputs: set[int] = set()
        for stage in options(hole):
            widths, depths = set(options(stage.width)), options(stage.depth)
            for slot in range(max(depths)):
                first = slot == 0  # a skipped stage may leave its stride to it
                pairs = itertools.product(inputs, widths) if first else ((w, w) for w in widths)
                sizes = itertools.product(pairs, (1, 2) if first else (1,))
                for block, ((cin, cout), stride) in itertools.product(_slot(stage, slot), sizes):
                    layers = BLOCKS[block.op].layers(block, cin, cout, stride, _SIDE)
                    _merge(found, (f"stage{s}_block{slot + 1}", block.op), layers)
            outputs |= widths if max(depths) else set()
            outputs |= set() if min(depths) else inputs
        inputs = outputs
    for head, cin in itertools.product(_alternatives(space.head), inputs):
        for row in _end_rows(space, Stem(cin, stride=1), head)[1:]:
            _merge(found, (row.place, row.op), row.layers)
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def options(hole: Any) -> tuple[Any, ...]:
    """What a field may be."""
    return hole.options if isinstance(hole, OneOf) else (hole,)


def _alternatives(node: Any) -> Iterator[Any]:
    """Every stem, head or block that the hole or the node with holes can become."""
    for option in options(node):
        values = [options(getattr(option, f.name)) for f in fields(option)]
        yield from (type(option)(*combination) for combination in itertools.product(*values))


def _end_rows(space: Arch, stem: Stem, head: Head) -> tuple[Operator, ...]:
    channels, classes = max(options(space.channels)), max(options(space.classes))
    body = (Stage(stem.width, blocks=Block(op="identity")),)
    return operators(Arch(body, stem, head, resolution=_SIDE, channels=channels, classes=classes))


def _slot(stage: Stage, slot: int) -> set[Block]:
    """The blocks that may be there, one for each way to size its layers."""
    found = set()
    for blocks in options(stage.blocks):
        hole = blocks[min(slot, len(blocks) - 1)] if isinstance(blocks, tuple) else blocks
        for block in options(hole):
            plain = replace(block, kernel=max(options(block.kernel)), act="relu", se_act="")
            found |= set(_alternatives(replace(plain, se_gate="sigmoid", skip=True, linear=True)))
    return found


def _merge(found: Largest, key: tuple[str, str], layers: tuple[Layer, ...]) -> None:
    for layer in layers:
        _, num_weights, _ = layer_cost(layer)
        if num_weights:
            roles, role = found.setdefault(key, {}), layer_role(layer)
            other = roles.get(role, layer)
            sizes = [name for name in _SIZES if hasattr(layer, name)]
            larger: Any = {name: max(getattr(layer, name), getattr(other, name)) for name in sizes}
            roles[role] = replace(layer, **larger)


def extreme_picks(trellis: Trellis, *, largest: bool) -> dict[str, Label]:
    """Picks of the network with the most parameters, of those most MACs; or with the fewest MACs.

    By MACs the largest may skip stages, whose weights would then never learn from labels.
    """
    macs, params = trellis.row_costs.macs, trellis.row_costs.params
    if not largest:
        return trellis.extreme(macs)[1]
    most, _ = trellis.extreme(macs, most=True)
    return trellis.extreme(params + macs / (1 + most), most=True)[1]


def free_choices(space: Arch, picks: Picks) -> list[str]:
    """Choices that change neither MACs nor parameters of the network that `picks` gives."""
    return [
        key
        for key, labels in choices(space).items()
        if len({_size(space, {**picks, key: label}) for label in labels}) == 1
    ]


def _size(space: Arch, picks: Picks) -> tuple[int, int]:
    counts = cost(fill(space, picks))
    return counts.macs, counts.params
