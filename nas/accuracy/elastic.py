"""One elastic network for all the ways in which a baseline is scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.accuracy.judge import Estimates, Judge, JudgeContext
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.space.choices import fill, one_of
from nas.space.trellis.trellis import Trellis


def common_space(archs: Sequence[Arch]) -> Arch:
    """A space of three choices, depth, width and resolution, that holds all of `archs`.

    They are one network scaled in different ways; a choice is among the depths of all stages, or
    the widths of stem, stages and head, that one of `archs` has together.
    """
    base = archs[0]
    depths = _tied("depth", [[s.depth for s in arch.stages] for arch in archs])
    stem, *widths, head = _tied(
        "width", [[a.stem.width, *(s.width for s in a.stages), a.head.width] for a in archs]
    )
    sizes = zip(base.stages, depths, widths, strict=True)
    return replace(
        base,
        name="",
        stem=replace(base.stem, width=stem),
        stages=tuple(replace(stage, depth=depth, width=width) for stage, depth, width in sizes),
        head=replace(base.head, width=head),
        resolution=one_of(*sorted({arch.resolution for arch in archs}), name="resolution"),
    )


def _tied(name: str, rows: Sequence[list[int]]) -> list[Any]:
    """A choice for each place in the rows, all of one name: together they give one of the rows."""
    columns = zip(*sorted(set(map(tuple, rows))), strict=True)
    return [one_of({str(i): value for i, value in enumerate(c)}, name=name) for c in columns]


def elastic(
    open_judge: Callable[[JudgeContext], Judge], archs: Sequence[Arch], context: JudgeContext
) -> Callable[[Sequence[tuple[Arch, int, int]]], Estimates]:
    """A judge of `archs` alone, for a fit: a supernet that is trained when it is first asked.

    `open_judge` is that of `OneShotSettings`; the epochs and seeds of a job have no meaning.  What
    counts is the plain cross-entropy (`val`): weighed by what tells these networks apart it was
    mostly how far an input's side is from the others.
    """
    space = common_space(archs)
    trellis, ids = Trellis(space), {network_id(arch) for arch in archs}

    def feasible(genomes: NDArray[np.int64]) -> NDArray[np.bool_]:
        unique, places = np.unique(genomes, axis=0, return_inverse=True)
        wanted = [network_id(fill(space, picks)) in ids for picks in trellis.decode(unique)]
        return np.array(wanted)[places.ravel()]

    def judge(jobs: Sequence[tuple[Arch, int, int]]) -> Estimates:
        oneshot = open_judge(replace(context, space=space, feasible=feasible))
        yield from oneshot.estimate([arch for arch, _, _ in jobs])

    return judge
