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
    depths = sorted({tuple(s.depth for s in arch.stages) for arch in archs})
    widths = sorted({_widths(arch) for arch in archs})
    stages = tuple(
        replace(
            stage,
            depth=_tied([d[i] for d in depths], "depth"),
            width=_tied([w[i + 1] for w in widths], "width"),
        )
        for i, stage in enumerate(archs[0].stages)
    )
    return replace(
        archs[0],
        name="",
        stem=replace(archs[0].stem, width=_tied([w[0] for w in widths], "width")),
        stages=stages,
        head=replace(archs[0].head, width=_tied([w[-1] for w in widths], "width")),
        resolution=one_of(*sorted({arch.resolution for arch in archs}), name="resolution"),
    )


def _widths(arch: Arch) -> tuple[int, ...]:
    return (arch.stem.width, *(stage.width for stage in arch.stages), arch.head.width)


def _tied(values: Sequence[int], name: str) -> Any:
    """One choice with every other of that name: the first value goes with the first of those."""
    return one_of({str(i): value for i, value in enumerate(values)}, name=name)


def elastic(
    open_judge: Callable[[JudgeContext], Judge], archs: Sequence[Arch], context: JudgeContext
) -> Callable[[Sequence[tuple[Arch, int, int]]], Estimates]:
    """A judge of `archs` alone, for a fit: a supernet that is trained when it is first asked.

    `open_judge` is that of `OneShotSettings`; space and feasible networks of `context` are set
    here.  Other combinations of their depths, widths and resolutions are not trained; epochs and
    seeds that are asked for have no meaning, there is one training for all.  What counts is the
    plain cross-entropy (`val`), in the same nats as that of trainings: weighed by what tells these
    networks apart it was mostly how far an input's side is from the others.
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
