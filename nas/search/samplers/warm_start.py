"""The networks of an earlier run, and what they scored there."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.core.errors import UserError
from nas.space.choices import Label

PICK = "pick."  # begins the columns of trials.csv that hold choices


def earlier_run(
    folder: str | Path, choices: Mapping[str, Sequence[Label]]
) -> list[tuple[dict[str, Label], float]]:
    """(picks, score) of the complete trials in `folder`, a run of `python -m nas.search`.

    Only networks that the space with these `choices` holds are taken.  UserError where there is
    no such run, where its space has other choices, or where it shares no network with this one.
    """
    path = Path(folder) / "trials.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"warm_start={folder} is no folder of an earlier run ({type(error).__name__} at "
            f"{path.name}): give one that holds a trials.csv, or null"
        ) from None
    names = {key.removeprefix(PICK) for row in rows[:1] for key in row if key.startswith(PICK)}
    if rows and names != set(choices):
        other = sorted(names ^ set(choices))
        raise UserError(
            f"warm_start={folder} is a run of another space ({len(other)} choices differ, such as "
            f"{other[0]}): give a run of this one, or null"
        )
    known = {key: {_text(label): label for label in labels} for key, labels in choices.items()}
    networks = []
    for row in rows:
        texts = {key: _text(row[PICK + key]) for key in choices}
        score = _number(row.get("score"))
        complete = row.get("state") == "complete" and math.isfinite(score)
        if complete and all(text in known[key] for key, text in texts.items()):
            networks.append(({key: known[key][text] for key, text in texts.items()}, score))
    if not networks:
        raise UserError(
            f"warm_start={folder} has no complete trial of a network of this space: give another "
            "run, or null"
        )
    return networks


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return math.nan


def _text(label: object) -> str:
    """One text for a label and for what a CSV file makes of it: 3, 3.0 and "3" are one."""
    number = _number(label)
    return str(label) if math.isnan(number) else repr(number)
