"""Accuracy of smaller networks that inherit a trained one's weights in closed form.

A network with published weights is trained on at each side of the input; what each of its blocks
can be replaced by is solved and scored once; then a network of the space takes seconds and no
gradient.  `InheritanceWorker` does one such step at a time in a process of its own, and keeps what
it made in the run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.accuracy.judge import Estimates, JudgeContext, JudgeSettings, Thresholds
from nas.accuracy.pool import Pool
from nas.arch.arch import Arch
from nas.inheritance.files import read_replacements
from nas.inheritance.ladder import Ladder, RowMs
from nas.space.choices import Label
from nas.training.first_weights import FirstWeights, first_weights
from search_spaces.inherited import sides_of
from search_spaces.lookup import plain_name

RANGE = 5  # from the whole network's latency down to this part of it


@dataclass(frozen=True)
class InheritedSettings(JudgeSettings):
    """Whose weights are inherited: those in the file `path`, or (None) published for `arch`.

    key   where in the file they are; None for what fits.
    """

    arch: str | None
    path: str | None = None
    key: str | None = None

    @property
    def trains_each(self) -> bool:
        """Each network has weights and an accuracy of its own."""
        return True

    @property
    def weights(self) -> FirstWeights:
        """The weights to begin with."""
        return first_weights(plain_name(str(self.arch)), self.path, self.key)

    def open(self, context: JudgeContext) -> Inherited:
        """The judge of networks whose blocks `context.train` has studied."""
        assert isinstance(context.train, Pool)
        assert context.checkpoint
        return Inherited(context.train, context.space, context.checkpoint.parent)


@dataclass(frozen=True)
class Inherited:
    """Networks of the space with inherited weights, one in the time of some scorings."""

    pool: Pool
    space: Arch
    folder: Path

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """Minus the cross-entropy on the validation images, of the network as it was solved."""
        return self.pool.run([(arch, "inherit") for arch in archs])

    def scores(self, side: int) -> dict[str, dict[Label, float]]:
        """What each replacement by itself costs in answers, in nats, by choice and label."""
        return {
            key: {label: float(kept["score"]) for label, kept in known.items()}
            for key, known in read_replacements(self.folder, self.space, side).items()
        }

    def ladders(self, row_ms: RowMs) -> list[Ladder]:
        """The exact choices of each side, the largest side first."""
        return [
            Ladder.of(self.space, side, self.scores(side), row_ms) for side in sides_of(self.space)
        ]

    def propose(self, row_ms: RowMs, number: int) -> list[dict[str, Label]]:
        """Picks of `number` networks, the best by sums of scores, evenly over their latencies.

        Each side of the input has an equal part, from the whole network down to a fifth of the
        largest's latency, as far as its blocks shrink.
        """
        ladders = self.ladders(row_ms)
        least, found = ladders[0].ms[-1] / RANGE, []
        for i, ladder in enumerate(ladders):
            share = number // len(ladders) + (i < number % len(ladders))
            found += ladder.evenly(share, least)
        return found
