"""What the blocks of a network have in common with those of MobileNetV3, in numbers.

Stages are counted from 1, the first with a choice of expansion ratios; the stage before it, whose
block does not expand, is left out, as it is in the tables of searched networks.  The last two
stages are "late", those before them "early".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nas.arch.arch import Arch, strides

LARGE_KERNEL = 5  # and more
NUM_LATE = 2
SMOOTH = ("hswish", "swish")  # V3's h-swish stands for swish
SAME_EXPANSION = 1.0  # expansion ratios that differ by less are the same slot's choice


class Row(NamedTuple):
    """One block of a network; `place` counts from 0 within its stage."""

    stage: int
    place: int
    stride: int
    kernel: int
    expand: float
    se: bool
    smooth: bool

    @property
    def first(self) -> bool:
        """Whether it begins its stage."""
        return self.place == 0


Rows = Sequence[Row]


def rows_of(arch: Arch) -> list[Row]:
    """The blocks of a network without holes, from its second stage on."""
    return [
        Row(
            stage=i,
            place=j,
            stride=taken if j == 0 else 1,
            kernel=block.kernel,
            expand=float(block.expand),
            se=bool(block.se),
            smooth=block.act in SMOOTH,
        )
        for i, (stage, taken) in enumerate(zip(arch.stages, strides(arch), strict=True))
        if i
        for j, block in enumerate(stage.slots())
    ]


def rows_from(blocks: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The blocks of a network in a JSON file: stage, k, e, se, act, stride and first of each."""
    rows: list[Row] = []
    for block in blocks:
        if (stage := int(block["stage"])) < 1:
            continue
        place = 0 if block["first"] or not rows else rows[-1].place + 1
        smooth = str(block["act"]) in (*SMOOTH, "hs")
        numbers = int(block["stride"]), int(block["k"]), float(block["e"])
        if not isinstance(block["se"], bool):
            raise ValueError(f"se is true or false, not {block['se']!r}")
        rows.append(Row(stage, place, *numbers, block["se"], smooth))
    return rows


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")


def _difference(
    rows: Rows,
    value: Callable[[Row], float],
    of: Callable[[Row], bool],
    less: Callable[[Row], bool],
) -> float:
    """Mean `value` of some blocks less that of others; NaN where either has none."""
    return _mean(value(r) for r in rows if of(r)) - _mean(value(r) for r in rows if less(r))


def _late(rows: Rows) -> Callable[[Row], bool]:
    stages = sorted({row.stage for row in rows})
    return lambda row: row.stage in stages[-NUM_LATE:]


def _late_less_early(rows: Rows, value: Callable[[Row], float]) -> float:
    late = _late(rows)
    return _difference(rows, value, late, lambda row: not late(row))


def _se_last_less_first(rows: Rows) -> float:
    stages = [row.stage for row in rows]
    first, last = min(stages, default=0), max(stages, default=0)
    return _difference(rows, lambda r: r.se, lambda r: r.stage == last, lambda r: r.stage == first)


def _large(row: Row) -> float:
    return float(row.kernel >= LARGE_KERNEL)


@dataclass(frozen=True)
class Hypothesis:
    """What is said of searched networks, and the number of a network that tells it.

    The numbers are differences within one network, so that its size says nothing.  `two_sided`:
    reported with either sign.
    """

    words: str
    contrast: Callable[[Rows], float]
    two_sided: bool = False


# Fixed before any run was looked at.  The first three are what MobileNetV3's tables show (Howard et
# al. 2019, Tables 1 and 2); for the others published networks disagree.
HYPOTHESES = {
    "se_last": Hypothesis("SE: last stage less first", _se_last_less_first),
    "expand_first": Hypothesis(
        "expansion ratio: first blocks of stages less the others",
        lambda rows: _difference(
            rows, lambda r: r.expand, lambda r: r.first, lambda r: not r.first
        ),
    ),
    "expand_late": Hypothesis(
        "expansion ratio: last two stages less those before",
        lambda rows: _late_less_early(rows, lambda r: r.expand),
    ),
    "kernel_stride": Hypothesis(
        "kernels of 5 and more: stride 2 less stride 1",
        lambda rows: _difference(rows, _large, lambda r: r.stride > 1, lambda r: r.stride == 1),
        two_sided=True,
    ),
    "kernel_late": Hypothesis(
        "kernels of 5 and more: last two stages less those before",
        lambda rows: _late_less_early(rows, _large),
        two_sided=True,
    ),
    "smooth_late": Hypothesis(
        "h-swish: last two stages less those before",
        lambda rows: _late_less_early(rows, lambda r: r.smooth),
        two_sided=True,
    ),
}

Number = Callable[[Arch], float]


def _of_network(contrast: Callable[[Rows], float]) -> Number:
    return lambda arch: contrast(rows_of(arch))


# What trainings alone are asked: the same differences, and plain choices of the whole network.
TESTED = {h.words: _of_network(h.contrast) for h in HYPOTHESES.values()}
PLAIN: dict[str, Number] = {
    "h-swish in stem and head": lambda arch: arch.stem.act in SMOOTH,
    "share of h-swish in blocks": lambda arch: _mean(row.smooth for row in rows_of(arch)),
    "share of SE": lambda arch: _mean(row.se for row in rows_of(arch)),
    "share of kernels of 5 and more": lambda arch: _mean(map(_large, rows_of(arch))),
    "mean expansion ratio": lambda arch: _mean(row.expand for row in rows_of(arch)),
    "number of blocks": lambda arch: len(rows_of(arch)),
}

# Of each stage, over the blocks of all networks; what the heat map shows.
MEASURES: dict[str, Callable[[Row], float]] = {
    "kernel 5 and more": _large,
    "SE": lambda row: row.se,
    "h-swish": lambda row: row.smooth,
    "expansion ratio": lambda row: row.expand,
    "of first blocks": lambda row: row.expand if row.first else float("nan"),
}


def by_stage(networks: Sequence[Rows]) -> dict[str, dict[int, float]]:
    """The mean of each measure over the blocks of a stage, network by network, then over these."""
    stages = sorted({row.stage for rows in networks for row in rows})
    return {
        name: {stage: _over(networks, stage, value) for stage in stages}
        for name, value in MEASURES.items()
    }


def _over(networks: Sequence[Rows], stage: int, value: Callable[[Row], float]) -> float:
    values = ([value(row) for row in rows if row.stage == stage] for rows in networks)
    kept = ([v for v in found if v == v] for found in values)
    return _mean(_mean(found) for found in kept if found)


def agreement(rows: Rows, published: Rows) -> float:
    """The share of choices that two networks make alike, over the slots that both have.

    A slot is a place in a stage; its choices are kernel, SE, the kind of activation, and the
    expansion ratio, alike within SAME_EXPANSION.
    """
    theirs = {(row.stage, row.place): row for row in published}
    pairs = [(row, other) for row in rows if (other := theirs.get((row.stage, row.place)))]
    return _mean(
        _mean([
            ours.kernel == other.kernel,
            ours.se == other.se,
            ours.smooth == other.smooth,
            abs(ours.expand - other.expand) < SAME_EXPANSION,
        ])
        for ours, other in pairs
    )  # fmt: skip
