"""NetAdapt: how a network is shrunk step by step until it is as fast as a target.

Yang et al. 2018, Algorithm 1, with the proposals of MobileNetV3 (Howard et al. 2019, section 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from nas.arch.arch import Arch
from nas.arch.blocks import BLOCKS
from nas.arch.layers import Operator, layer_role
from nas.arch.operators import operators
from nas.arch.scaling import scaled
from nas.core.errors import UserError
from nas.core.typed import Count, Range, check_fields
from nas.inheritance.narrowing import writes
from nas.inheritance.surgery import hidden_channels
from nas.search.problem import Problem
from nas.space.choices import fill
from nas.supernet.largest import extreme_picks

CHANNELS = 8  # of a step; all widths of mobile networks are multiples of it
FASTER = 0.02  # by how much of the target the last step may be faster than it
MAX_EXPAND = 64  # expansion ratio that a block can have (nas.arch.fields)
SIZES = ("cin", "cout", "channels", "squeeze")  # of layers

Price = Callable[[Arch], float]  # milliseconds of a network


@dataclass(frozen=True)
class NetAdapt:
    """Settings of the refinement.

    start    the network to shrink is at most so many times as slow as the target
    step     part of its latency that each step cuts at least; MobileNetV3 took 0.01
    batches  that a proposal is trained on before it is scored
    """

    start: Annotated[float, Range(1, above=True)] = 1.2
    step: Annotated[float, Range(0, 1, above=True, below=True)] = 0.03
    batches: Count = 40

    def __post_init__(self) -> None:
        check_fields(self, "refine")


class Proposal(NamedTuple):
    """A smaller network, its latency in milliseconds, and what of it is smaller, in words."""

    arch: Arch
    ms: float
    what: str


def proposals(arch: Arch, price: Price, cut_ms: float, target_ms: float) -> list[Proposal]:
    """The networks that a step may lead to, each with one size of `arch` smaller.

    Of each size the largest that takes `cut_ms` off the latency, or reaches the target.  None is
    faster than the target by over FASTER: where all were, sizes are cut by less than asked for, and
    where that cannot be either, the proposal nearest to the target is alone.  [] where nothing can
    be smaller.
    """
    ms = price(arch)
    goal = max(ms - cut_ms, target_ms)
    enough, less = [], []
    for what, smaller in reductions(arch):
        passed = []
        for channels, network in smaller:
            found = Proposal(network, price(network), f"{what} {channels}")
            if found.ms <= goal:
                enough.append(found)
                break
            passed.append(found)
        less += [p for p in sorted(passed, key=lambda p: p.ms)[:1] if p.ms < ms]
    within = [p for p in enough if p.ms >= (1 - FASTER) * target_ms]
    return within or less or sorted(enough, key=lambda p: -p.ms)[:1]


Smaller = Iterator[tuple[int, Arch]]  # channels, and the network that has them, most first


def reductions(arch: Arch) -> Iterator[tuple[str, Smaller]]:
    """(what, sizes below its own) of each expansion and each bottleneck of the network.

    An expansion stays wider than what it expands, a bottleneck has CHANNELS at least.
    """
    for row in operators(arch):
        if is_expanded(row):
            yield f"{row.place} expansion {hidden_channels(row)} to", _expansions(arch, row)
    for group in bottlenecks(arch):
        name = "+".join(f"stage{i}" if i else "stem" for i in group)
        yield f"{name} width {widths_of(arch)[group[0]]} to", _widths(arch, group)


def is_expanded(row: Operator) -> bool:
    """Whether the block has more channels inside than it reads."""
    kind = BLOCKS.get(row.op)
    return kind is not None and kind.expands and hidden_channels(row) > row.cin


def _expansions(arch: Arch, row: Operator) -> Smaller:
    stage, block = (int(number) - 1 for number in re.findall(r"\d+", row.place))
    for size in range(_below(hidden_channels(row)), row.cin, -CHANNELS):
        network = with_expansion(arch, stage, block, size / row.cin)
        if fits(network, arch):
            yield size, network


def _widths(arch: Arch, group: Sequence[int]) -> Smaller:
    widths = widths_of(arch)
    for size in range(_below(widths[group[0]]), 0, -CHANNELS):
        network = with_widths(arch, [size if i in group else w for i, w in enumerate(widths)])
        if fits(network, arch):
            yield size, network


def _below(channels: int) -> int:
    return (channels - 1) // CHANNELS * CHANNELS


def fits(new: Arch, arch: Arch) -> bool:
    """Whether it has the rows of `arch`, none of them larger, so that it can take their weights.

    It has others where, say, an equal width makes a residual.
    """
    rows, given = operators(new), operators(arch)
    if [*map(_form, rows)] != [*map(_form, given)]:
        return False
    return all(size <= most for size, most in zip(_sizes(rows), _sizes(given), strict=True))


def _form(row: Operator) -> tuple[str, bool, list[str]]:
    return row.place, row.residual, [*map(layer_role, row.layers)]


def _sizes(rows: Sequence[Operator]) -> list[int]:
    layers = [layer for row in rows for layer in row.layers]
    return [getattr(x, name) for x in layers for name in SIZES if hasattr(x, name)]


def bottlenecks(arch: Arch) -> list[list[int]]:
    """The stages, from 1, that share a bottleneck each; 0, the stem, among those that it joins.

    Stages share it where the first block of the later one adds to its input, or has no convolution
    of all channels ("all blocks that share the same bottleneck size", Howard et al. 2019).
    """
    rows = {row.place: row for row in operators(arch)}
    groups = [[0]]
    for s, stage in enumerate(arch.stages, 1):
        row = rows.get(f"stage{s}_block1")
        if row and not row.residual and writes(row):
            groups.append([])
        groups[-1] += [s] if stage.depth else []
    return [group for group in groups if group != [0]]


def widths_of(arch: Arch) -> list[int]:
    """The channels of the stem and of each stage."""
    return [arch.stem.width, *(stage.width for stage in arch.stages)]


def with_expansion(arch: Arch, stage: int, block: int, expand: float) -> Arch:
    """The network with another expansion ratio of one block; stage and block from 0."""
    blocks = list(arch.stages[stage].slots())
    blocks[block] = replace(blocks[block], expand=expand)
    stages = list(arch.stages)
    stages[stage] = replace(stages[stage], blocks=tuple(blocks))
    return replace(arch, stages=tuple(stages))


def with_widths(arch: Arch, widths: Sequence[int]) -> Arch:
    """The network with other `widths_of`; expansions keep their channels."""
    rows = {row.place: row for row in operators(arch)}
    stages, cin = [], widths[0]
    for s, (stage, width) in enumerate(zip(arch.stages, widths[1:], strict=True), 1):
        blocks = list(stage.slots())
        for b, block in enumerate(blocks):
            row = rows.get(f"stage{s}_block{b + 1}")
            if row and is_expanded(row):
                expand = min(hidden_channels(row) / cin, MAX_EXPAND)
                blocks[b] = replace(block, expand=expand)
            cin = width
        stages.append(replace(stage, width=width, blocks=tuple(blocks) or stage.blocks))
    return replace(arch, stages=tuple(stages), stem=replace(arch.stem, width=widths[0]))


class Scored(NamedTuple):
    """A proposal and the cross-entropy on validation images that it has, in nats."""

    proposal: Proposal
    cross_entropy: float


def best(hand: Scored, found: Sequence[Scored]) -> Scored:
    """That of the largest change in accuracy for each millisecond (Howard et al. 2019, 4.2).

    The change in accuracy is that of minus the cross-entropy, which tells apart what the share of
    right answers cannot.
    """

    def gain(other: Scored) -> float:
        change = hand.cross_entropy - other.cross_entropy
        return change / (hand.proposal.ms - other.proposal.ms)

    return max(found, key=gain)


def uniform_width(arch: Arch, price: Price, target_ms: float) -> tuple[float, Arch] | None:
    """(multiplier, network) of the slowest within the target that has all widths times one number.

    That is MobileNet's width multiplier (Howard et al. 2017, section 3.3), here in hundredths.
    """
    made = {m / 100: scaled(arch, width=m / 100) for m in range(100, 0, -1)}
    within = {m: price(network) for m, network in made.items()}
    within = {m: ms for m, ms in within.items() if ms <= target_ms}
    if not within:
        return None
    multiplier = max(within, key=lambda m: within[m])
    return multiplier, made[multiplier]


def price_of(problem: Problem) -> Price:
    """Milliseconds by the search's latency table, also of networks outside of its space."""
    return lambda arch: problem.latency.source.measure_many([arch])[0].median_ms


def check_refinable(problem: Problem, settings: NetAdapt) -> None:
    """UserError for a search that can have nothing to shrink, or cannot tell how fast that is."""
    most = settings.start * problem.target_ms
    if most > problem.max_ms * (1 + 1e-9):
        raise UserError(
            f"refine.start={settings.start:g} is for networks of up to {most:.3g} ms, and none "
            f"over {problem.max_ms:.3g} ms is trained: give limit.latency_ms={most:.3g} too"
        )
    if any(row.op == "shuffle" for row in problem.latency.trellis.rows):
        raise UserError("refine=netadapt shrinks no shuffle blocks: leave them out of the space")
    largest = fill(problem.space, extreme_picks(problem.latency.trellis, largest=True))
    proposals(largest, price_of(problem), 0.0, 0.0)  # a table of single blocks may lack theirs
