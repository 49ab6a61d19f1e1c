"""Which study of a storage a search may take up: one that it, or a call before it, made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.core.run_folder import differences, without_password
from nas.search.metrics import Metrics
from nas.search.settings import SearchSettings
from nas.search.storage import DIRECTIONS, TrialStore
from nas.search.study import distributions_of


def check_study(
    settings: SearchSettings, config: Mapping[str, Any], store: TrialStore, space: Arch
) -> None:
    """Raise UserError for a study of other settings, or one that no search of `space` made.

    Nothing is written.
    """
    kept, trials = store.notes().get("config"), store.study.get_trials(deepcopy=False)
    if isinstance(kept, dict) and (found := differences(config, kept)):
        why = f"of other settings ({found})"
    elif found := _strange(store, trials, distributions_of(space)):
        why = f"that no search of this space made ({found})"
    elif trials and settings.storage and not isinstance(kept, dict):
        why = "that no search made (it does not hold the settings of one)"
    else:
        return
    url = settings.storage
    where = f"storage={without_password(url)}" if url else "the run's journal.log"
    raise UserError(f"{where} has a study {settings.run!r} {why}: give another run=")


def _strange(
    store: TrialStore, trials: list[FrozenTrial], ours: Mapping[str, BaseDistribution]
) -> str:
    """What of a study cannot be a search's; "" where all can."""
    if tuple(store.study.directions) != DIRECTIONS:
        here, there = (
            " and ".join(d.name.lower() for d in directions)
            for directions in (DIRECTIONS, store.study.directions)
        )
        return f"its objectives are to {there}, a search's to {here}"
    return next((f"its trial {t.number} {why}" for t in trials if (why := _why(t, ours))), "")


def _why(trial: FrozenTrial, ours: Mapping[str, BaseDistribution]) -> str:
    """Why a trial cannot be a search's; "" where it can.

    One that version 0.1 was stopped at may lack parameters, and have no answer.
    """
    asked = trial.system_attrs.get("fixed_params", {}).keys() | trial.distributions.keys()
    if other := sorted(asked - ours.keys()):
        return f"has the parameter {other[0]!r}, which is no choice of the space"
    if other := [name for name, found in trial.distributions.items() if found != ours[name]]:
        return f"has other options of {other[0]!r}"
    if "metrics" not in trial.user_attrs:
        told = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        return "does not hold the metrics of a network" if told else ""
    if len(trial.distributions) < len(ours):
        return "lacks choices of the space"
    try:
        Metrics.from_json(trial.user_attrs["metrics"])
    except (AttributeError, TypeError):
        return "holds other metrics than a network's"
    return ""
