"""Networks of a search as tables: one row a network, one column a metric and a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nas.core.errors import UserError
from nas.stats.pareto import non_dominated

PICK = "pick."  # begins the columns of choices
# Columns of a network in summary.json.
SHOWN = ("name", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se", "float_accuracy",
         "latency_ms", "measured_ms", "macs", "params", "peak_memory_bytes", "fidelity", "arch",
         "id")  # fmt: skip
COMPARED = ("name", "id", "latency_ms", "accuracy", "test_accuracy", "seconds")
COLUMNS = ("number", "id", "state", *SHOWN[:-3], "cross_entropy", "score", "score_se", "fidelity",
           "seconds", "reason", "arch")  # fmt: skip
SOMETIMES = ("measured_ms", "float_accuracy")  # None where that was not asked for
WHOLE = ("macs", "params", "peak_memory_bytes")  # known of every network: they are arithmetic
TEXTS = ("id", "state", "name", "reason", "arch", "fidelity")


def trial_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table; unknown numbers are NaN, and so is the number of what is no trial."""
    picks = sorted({k for row in rows for k in row if k.startswith(PICK)})
    frame = pd.DataFrame(list(rows), columns=[*COLUMNS, *picks])
    kinds = dict.fromkeys(COLUMNS, "float64") | dict.fromkeys(TEXTS, "object")
    return frame.astype(kinds | dict.fromkeys(WHOLE, "int64") | {"number": "Int64"})


def front_of(trials: pd.DataFrame, ranked_by: str = "accuracy") -> pd.DataFrame:
    """The networks that no other beats in both accuracy (or score) and latency, fastest first."""
    trained = trials[trials["state"] == "complete"]
    mask = non_dominated(trained[[ranked_by, "latency_ms"]].to_numpy(float), (True, False))
    return trained[mask].sort_values(["latency_ms", "number"], kind="stable")


def published_rows(trials: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """The published networks, each once, whether they were trials or not.

    One that was over a limit as a trial counts as the reference that it was trained as.
    """
    both = pd.concat([trials[trials["name"] != ""], references])
    first = both.sort_values("state", key=lambda states: states != "complete", kind="stable")
    return first.drop_duplicates("name").sort_index(kind="stable")


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of summary.json."""
    shown = frame.reindex(columns=SHOWN).astype(dict.fromkeys(SOMETIMES, object))
    shown["fidelity"] = shown["fidelity"].fillna("")
    for name in SOMETIMES:
        shown[name] = shown[name].where(shown[name].notna(), None)
    return [dict(zip(SHOWN, row, strict=True)) for row in shown.itertuples(index=False, name=None)]


def read_frame(path: Path) -> pd.DataFrame:
    """A CSV of a run as `trial_frame` had it, empty where there is none.

    UserError where it is no such table.
    """
    if not path.exists():
        return trial_frame([])
    try:
        # ids may look like numbers, and 1e5 is none
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str))
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        texts = [{name: row.get(name) or "" for name in TEXTS} for row in rows]
        plain = [{str(key): value for key, value in row.items()} for row in rows]
        return trial_frame([row | text for row, text in zip(plain, texts, strict=True)])
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is no table of networks: {reason}") from None
