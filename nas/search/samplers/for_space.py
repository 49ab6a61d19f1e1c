"""The sampler for a search space whose latencies and costs are known row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from optuna.distributions import CategoricalDistribution

from nas.core.errors import UserError
from nas.core.typed import Among, Range, check_fields
from nas.search.samplers.known_cost import KnownCostSampler, Rule
from nas.space.constrained import ConstrainedSpace
from nas.stats.rewards import OBJECTIVES, Calibrated

AIMS = ("both", *OBJECTIVES)
# What the worth of the cost is called in the objectives that have a choice of it.
TRADES = {"mnas": "w", "tunas": "weight"}
REWARDS = (*TRADES, "mnas_hard")  # which are of a quality from 0 to 1


@dataclass(frozen=True)
class KnownCost:
    """What makes a `KnownCostSampler` of a space; its cost is the latency in milliseconds.

    objective   one of AIMS: a name of `OBJECTIVES`, of which all but pareto look at the target;
                or both, pareto and limit in turns: the front alone would spend most trials on its
                fast end, where a gain counts over all the latencies above.
    exponent    MnasNet's exponent or TuNAS's weight; None for the published one, "auto" for what
                the front of the run itself says.
    """

    objective: Annotated[str, Among(AIMS)] = "both"
    exponent: Annotated[float, Range(high=0)] | Annotated[str, Among(("auto",))] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "sampler")
        objective, exponent = self.objective, self.exponent
        if exponent is not None and objective not in TRADES:
            raise UserError(
                f"sampler.exponent={exponent} means nothing to objective={objective} (it is for "
                f"{' and '.join(TRADES)}): leave it null, or choose one of these"
            )

    def check_scores(self, judge: str, own_unit: bool) -> None:
        """UserError for a published reward of scores that have a unit of their own."""
        if own_unit and self.objective in REWARDS and self.exponent is None:
            raise UserError(
                f"sampler.objective={self.objective} is of accuracies, and accuracy={judge} says "
                "scores of its own unit: give sampler.exponent=auto with mnas or tunas, or another "
                "objective (both, pareto, limit)"
            )

    def for_space(
        self,
        space: ConstrainedSpace,
        *,
        target_ms: float = 1.0,
        seed: int = 0,
        earlier: Sequence[tuple[Mapping[str, Any], float]] = (),
        log_likelihood: bool = False,
    ) -> KnownCostSampler:
        """The sampler of `space`; `earlier` are networks and scores of another run.

        `log_likelihood`: scores are minus cross-entropies in nats.  The published rewards ask for
        a quality from 0 to 1, and get the likelihood; mnas would prefer slow networks among
        negative scores.
        """
        aims = ("pareto", "limit") if self.objective == "both" else (self.objective,)
        return KnownCostSampler(
            {key: CategoricalDistribution(labels) for key, labels in space.trellis.labels.items()},
            space.ms,
            lambda genomes: [ids.tobytes() for ids in space.trellis.networks(genomes)],
            limit=space.max_ms if np.isfinite(space.max_ms) else None,
            seed=seed,
            value_of=math.exp if log_likelihood and self.objective in REWARDS else None,
            objective=tuple(_rule(aim, self.exponent, target_ms) for aim in aims),
            earlier=earlier,
            takes_genomes=True,
        )


def _rule(aim: str, exponent: float | str | None, target_ms: float) -> Rule:
    if (rule := OBJECTIVES[aim]) is None:
        return None
    if exponent == "auto":
        return Calibrated(aim, target_ms)
    more = {} if exponent is None else {TRADES[aim]: exponent}
    return partial(rule, target=target_ms, **more)
