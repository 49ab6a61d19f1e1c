"""What is refused before anything is spent: parts that do not go together, weights that miss."""

from __future__ import annotations

from typing import Any

from nas.accuracy.inherited import InheritedSettings
from nas.accuracy.judge import JudgeSettings
from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.network.modules import build
from nas.network.pretrained import PRETRAINED, fetch_pretrained
from nas.search.samplers.for_space import KnownCost
from nas.search.settings import SearchSettings
from nas.tasks.start import load_backbone
from nas.training.first_weights import FirstWeights
from search_spaces.lookup import plain_name


def check_parts(settings: SearchSettings, sampler: Any, judge: JudgeSettings) -> None:
    """Raise UserError where these do not go together, or weights are missing."""
    check_sampler(sampler, settings.warm_start)
    if isinstance(sampler, KnownCost):
        sampler.check_scores(settings.accuracy.name, judge.infeasible_score(2) == 0)
    if isinstance(judge, InheritedSettings):
        judge.weights.file()  # looked for before anything is measured
        check_references(settings)
    else:
        settings.budget.make().check_from_scratch()


def check_references(settings: SearchSettings) -> None:
    """Raise UserError where a network to compare with has no published weights to begin with.

    The file of each is looked for, and else downloaded, now: they are trained last of all.
    """
    own = plain_name(str(settings.arch))
    for name in (plain_name(name) for name in settings.references):
        if name != own and name not in PRETRAINED:
            raise UserError(
                f"no weights are published for {name} in references=, which are trained from "
                f"theirs: leave it out, or give one of {', '.join(PRETRAINED)}"
            )
        if name != own:
            fetch_pretrained(name)


def check_sampler(sampler: Any, warm_start: str | None) -> None:
    """Refuse settings that the sampler does not take; ours needs a table to be made at all."""
    if isinstance(sampler, KnownCost):
        return
    if warm_start:
        raise UserError(f"warm_start={warm_start} is for sampler=known_cost: choose it, or null")
    try:
        sampler(seed=0)
    except (TypeError, ValueError) as error:
        raise UserError(f"wrong settings for the sampler: {' '.join(str(error).split())}") from None


def whose(weights: FirstWeights, whole: Arch) -> str:
    """Whose weights they are; UserError where they do not fit the network."""
    net = build(whole)
    return load_backbone(weights, net, whole, 0) if whole.dense else weights.load_into(net)[0]
