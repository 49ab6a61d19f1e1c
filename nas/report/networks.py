"""The networks of a report as plain data: figures, choices, rows, and commands that go on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from nas.arch.arch import Arch
from nas.arch.serialization import dumps
from nas.core.cli import CONF
from nas.core.files import parse_yaml
from nas.report.frames import PICK
from nas.report.fronts import front, published
from nas.report.kept_run import KeptRun
from nas.report.metrics import AXES
from nas.report.prices import Table, rows_of, tables_of

FIGURES = ("accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se", "float_accuracy",
           "score", "latency_ms", "measured_ms", "macs", "params", "peak_memory_bytes",
           "seconds")  # fmt: skip
TEXTS = ("id", "name", "arch", "reason", "fidelity")


def networks(runs: Sequence[KeptRun]) -> list[dict[str, Any]]:
    """Every network that the chart shows, a mapping each.

    run      the index of its run
    kind     trained, rejected (not trained to its end) or published
    places   on the front of each axis where it is there, from 1
    picks    the options of its choices, by name
    rows, constant   of `prices.rows_of`; None where only its notation is known
    file, yaml       its file in the run folder; else its text
    commands         that train and export it: what each is for, and its words
    """
    return [row for index, run in enumerate(runs) for row in _of_run(index, run)]


def _of_run(index: int, run: KeptRun) -> list[dict[str, Any]]:
    tables, winner = tables_of(run), (run.summary.get("winner") or {}).get("id")
    places: dict[str, dict[str, int]] = {}
    for axis in AXES:
        for place, key in enumerate(front(run, axis)["id"], 1):
            places.setdefault(key, {})[axis.column] = place
    kinds = {True: "trained", False: "rejected"}
    trained = run.evaluated.index.isin(run.trained.index)
    found = [
        _network(run, row, tables) | {"kind": kinds[done], "places": places.get(row["id"], {})}
        for done, row in zip(trained.tolist(), _records(run.evaluated), strict=True)
    ]
    found += [
        _network(run, row, tables) | {"kind": "published", "places": {}}
        for row in _records(published(run))
    ]
    return [row | {"run": index, "winner": row["id"] == winner} for row in found]


def _network(run: KeptRun, row: Mapping[str, Any], tables: list[Table]) -> dict[str, Any]:
    arch = run.arch(row["id"], row["arch"])
    rows, constant = rows_of(arch, row["latency_ms"], tables) if arch else (None, float("nan"))
    file = run.files.get(row["id"], "")
    return {
        **{name: known(row[name]) or "" for name in TEXTS},
        "figures": {name: known(row.get(name)) for name in FIGURES},
        "picks": {
            name.removeprefix(PICK): label
            for name, label in row.items()
            if name.startswith(PICK) and known(label) is not None
        },
        "rows": rows,
        "constant": known(constant),
        "file": file,
        "yaml": dumps(arch) if arch and not file else "",
        "commands": commands(run, row["id"], arch, file) if arch else [],
    }


def commands(run: KeptRun, key: str, arch: Arch, file: str) -> list[tuple[str, str]]:
    """The command lines that train and export a network: what each is for, and its words."""
    results = run.folder.parent.parent
    place = file.removeprefix("front/").removesuffix(".yaml")
    name = f"{run.name}-{place or key}"
    given = str(run.folder / file) if file else f"{key}.yaml"
    data = [*_data(run), *own_side(arch, run.config.get("data") or {})]
    words = [*_task(run), f"arch={given}", *_weights(run, file), *data, f"run={name}"]
    own = run.folder.parent.name == "search" and str(results) != "results"
    folder = str(results) if own else "results"
    train = ["python", "-m", "nas.train", *words, *([f"results={folder}"] if own else [])]
    export = ["python", "-m", "nas.export", f"arch={folder}/train/{name}"]
    return [("train it to the end", shlex.join(train)), ("then export it", shlex.join(export))]


def _task(run: KeptRun) -> list[str]:
    """What the search was for and its settings, where that is not classes by default."""
    given = dict(run.config.get("task") or {})
    name = given.pop("name", None)
    return [] if name is None else [f"task={name}", *_changed("task", name, given)]


def _changed(group: str, name: str, given: Mapping[str, Any]) -> list[str]:
    """The settings that a group's option has otherwise, as words of a command line."""
    path = CONF / group / f"{name}.yaml"
    usual = parse_yaml(path.read_text(encoding="utf-8")) if path.is_file() else {}
    asked = {key: value for key, value in given.items() if key in usual and key[0] != "_"}
    return [f"{group}.{k}={_word(v)}" for k, v in asked.items() if v != usual[k]]


def _word(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _weights(run: KeptRun, file: str) -> list[str]:
    """The weights that lie beside a network of a search that inherits them."""
    path = (run.folder / file).with_suffix(".pt") if file else run.folder
    return ["weights=file", f"weights.path={path}"] if path.is_file() else []


def _data(run: KeptRun) -> list[str]:
    """The settings of the data set, limits too, so that no split holds images of another's."""
    data = run.config.get("data") or {}
    if not (name := data.get("name")):
        return []
    named = [] if name == "embedded" else [f"data={name}"]
    return [*named, *_changed("data", name, data)]


def own_side(arch: Arch, data: Mapping[str, Any]) -> list[str]:
    """The word for a network's side, where that of the data, which would win, is another."""
    other = data.get("resolution") not in (None, arch.resolution)
    return [f"resolution={arch.resolution}"] if other else []


def known(value: Any) -> Any:
    """A plain value; None for NaN, an unknown text or an infinite number."""
    if isinstance(value, float) and not isfinite(value):
        return None
    if value is None or value is pd.NA:
        return None
    return value.item() if hasattr(value, "item") else value


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
