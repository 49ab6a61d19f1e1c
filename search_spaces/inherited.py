"""What a trained network can shrink to: by block kernel, expansion ratio or nothing; resolution.

Every choice begins with what the network has, so the first labels are the network itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from nas.arch.arch import Arch, Stage
from nas.arch.blocks import BLOCKS, Block, block_row
from nas.arch.dense import Dense
from nas.arch.layers import Conv, Operator
from nas.arch.operators import operators
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.core.typed import Count, Range, Side, check, hints_of
from nas.space.choices import Label, OneOf, choices, fill, first_picks, one_of
from search_spaces.lookup import resolve_network
from search_spaces.ranges import Kernel, check_odd

LEAST_SIDE = 2  # pixels of the last map that published weights still answer on
# published momenta of 0.01 and below are for millions of steps: through a short training they would
# keep the statistics of other images
BN_MOMENTUM = 0.1
LEFT_OUT = "none"  # label of a block that is left out
MULTIPLE = 8  # of channels: what all published networks round to
LEAST_EXPAND = 0.1  # that a block can have


def inherited(
    arch: str,
    resolutions: Sequence[Side],
    parts: Sequence[Annotated[float, Range(0.01, 1)]],
    kernels: Sequence[Kernel],
    channels: Count = 3,
    classes: Count = 1000,
    dense: Dense | None = None,
) -> Arch:
    """The space of what the network `arch` can shrink to.

    arch          a published network, or the YAML file of one.
    resolutions   sides of the input, in pixels.
    parts         of each block's hidden channels, rounded to multiples of 8;  kernels: in pixels,
                  as far as they are smaller than the block's own.
    dense         the head for boxes or masks in the place of its classifier, if any; a block whose
                  expansion that head reads stays whole.
    A block whose input is added to its output can be left out.  Depth is not scaled, and nothing
    is dropped in training: stochastic depth is for longer ones.
    """
    given = {"resolutions": resolutions, "space.parts": parts, "space.kernels": kernels}
    for name, value in given.items():
        check(name, hints_of(inherited)[name.rpartition(".")[2]], value)
    check_odd("space.kernels", kernels)
    if not (sides := tuple(resolutions)):
        raise UserError("resolutions must hold a side in pixels at least, such as [96,64]")
    whole = whole_network(arch, max(sides), channels, classes, dense)
    rows = {row.place: row for row in operators(whole)}
    stages = tuple(
        _stage(i, stage, rows, parts, kernels) for i, stage in enumerate(whole.stages, 1)
    )
    return replace(whole, stages=stages, resolution=one_of(*sorted(sides, reverse=True)))


def whole_network(
    name: str, resolution: int, channels: int, classes: int, dense: Dense | None = None
) -> Arch:
    """The network `name` for these images, as its weights are: norms and padding included."""
    arch = for_resolution(resolve_network(name)[0], resolution, LEAST_SIDE)
    arch = replace(arch, bn_momentum=BN_MOMENTUM, drop_path=0.0, dense=dense)
    return replace(arch, channels=channels, classes=classes)


def at_resolution(space: Arch, resolution: int) -> Arch:
    """The network itself at so many pixels: the first labels of all other choices."""
    return fill(space, first_picks(space, resolution))


def sides_of(space: Arch) -> tuple[int, ...]:
    """The sides of the space's input, the largest first."""
    side: Any = space.resolution
    return side.options if isinstance(side, OneOf) else (side,)


@lru_cache(maxsize=8)
def replacement_rows(space: Arch, side: int) -> dict[str, dict[Label, Operator | None]]:
    """The row that each label makes in its place, by choice; None where the block is left out."""
    first = first_picks(space, side)
    found: dict[str, dict[Label, Operator | None]] = {}
    for key, labels in choices(space).items():
        if key == "resolution":
            continue
        for label in labels:
            rows = {row.place: row for row in operators(fill(space, first | {key: label}))}
            found.setdefault(key, {})[label] = rows.get(place_of(key))
    return found


def place_of(key: str) -> str:
    """The place of the row that the choice `stages.2.blocks.0` makes."""
    _, stage, _, block = key.split(".")
    return f"stage{int(stage) + 1}_block{int(block) + 1}"


def _stage(
    number: int,
    stage: Stage,
    rows: dict[str, Operator],
    parts: Sequence[float],
    kernels: Sequence[int],
) -> Stage:
    slots: list[Any] = []
    for slot, block in enumerate(stage.slots(), 1):
        row = rows.get(f"stage{number}_block{slot}")  # None where it is left out already
        slots.append(one_of(_options(block, row, parts, kernels)) if row else block)
    return replace(stage, blocks=tuple(slots)) if slots else stage


def _options(
    block: Block, row: Operator, parts: Sequence[float], kernels: Sequence[int]
) -> dict[str, Block]:
    """The block itself first, then what it can become, by label: k5 e6, k3 e2.25, none."""
    found = {_label(block): block}
    last = row.layers[-1]
    if not isinstance(last, Conv):  # several branches, or a pooling: it stays whole
        return found
    hidden, sizes = last.cin, [last.cin]
    if BLOCKS[block.op].expands and hidden != row.cin:
        rounded = (round(hidden * part / MULTIPLE) * MULTIPLE for part in parts)
        least = max(MULTIPLE, LEAST_EXPAND * row.cin)
        sizes += [size for size in rounded if least <= size < hidden and size != row.cin]
    for kernel in (block.kernel, *sorted((k for k in kernels if k < block.kernel), reverse=True)):
        for size in dict.fromkeys(sizes):
            own = block.expand if size == hidden else size / row.cin
            smaller = replace(block, kernel=kernel, expand=own)
            if _fits(smaller, row, size):
                found.setdefault(_label(smaller), smaller)
    if row.residual:
        found[LEFT_OUT] = Block("identity")
    return found


def _fits(block: Block, row: Operator, hidden: int) -> bool:
    """Whether the block has that many hidden channels: rounding may not have it so."""
    stride = -(-row.side // row.side_out)
    made = block_row(row.place, block, row.cin, row.cout, stride, row.side)
    last = made.layers[-1] if made else None
    same = made is not None and [type(x) for x in made.layers] == [type(x) for x in row.layers]
    return same and isinstance(last, Conv) and last.cin == hidden


def _label(block: Block) -> str:
    return f"k{block.kernel} e{block.expand:.4g}"
