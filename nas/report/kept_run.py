"""A search's run folder, read back from its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.serialization import load
from nas.core.errors import UserError
from nas.core.files import parse_yaml
from nas.report.frames import PICK, front_of, read_frame
from nas.report.notation import arch_of

TABLES = ("trials", "trained", "pareto", "random")


@dataclass(frozen=True)
class KeptRun:
    """What the files of a run folder say; what a file lacks, or an older run, is empty.

    folder       as it was given
    label        what it is called beside other runs
    summary, config, environment   of summary.json, config.yaml and environment.json
    tables       trials.csv, trained.csv, pareto.csv and random.csv, by name (`frames`)
    blocks       blocks.csv, of a search that inherits weights
    """

    folder: Path
    label: str
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    blocks: pd.DataFrame

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.folder.resolve().name

    @property
    def ranked_by(self) -> str:
        """The column by which its front is ranked beside latency."""
        by_score = self.summary.get("accuracy") == "inherited" and "metric" not in self.summary
        of_older_runs = "score" if by_score else "accuracy"
        return str(self.summary.get("ranked_by", of_older_runs))

    @cached_property
    def evaluated(self) -> pd.DataFrame:
        """The networks that have an accuracy of their own, and those that failed on the way."""
        known = [self.tables[name] for name in ("trained", "trials", "pareto")]
        rows = next((rows for rows in known if rows["accuracy"].notna().any()), known[1])
        if "trained" in self.summary:  # trials were only scored; a supernet has accuracies too
            rows = known[0]
        also = self.tables["trials"]
        also = also[also["state"].isin(["infeasible", "pruned", "failed"])]
        both = pd.concat([rows, also[~also["id"].isin(rows["id"])]]) if len(also) else rows
        return both[both["state"] != "duplicate"].reset_index(drop=True)

    @cached_property
    def trained(self) -> pd.DataFrame:
        """Those with an accuracy of their own."""
        rows = self.evaluated
        return rows[(rows["state"] == "complete") & rows["accuracy"].notna()]

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Every trial that has a score, each network once."""
        rows = self.tables["trials"]
        rows = rows[(rows["state"] == "complete") & rows["score"].notna()]
        return rows.drop_duplicates("id")

    @cached_property
    def sampled(self) -> pd.DataFrame:
        """Random networks that were judged alike, with their choices; else those of the search."""
        rows = self.tables["random"]
        rows = rows[(rows["state"] == "complete") & rows["score"].notna()]
        return rows if any(str(c).startswith(PICK) for c in rows) else self.judged

    @cached_property
    def files(self) -> dict[str, str]:
        """The file of each network of the front, by id: front/01.yaml, ..."""
        ids = front_of(self.trained, self.ranked_by)["id"]
        names = {key: f"front/{i:02d}.yaml" for i, key in enumerate(ids, 1)}
        return {key: name for key, name in names.items() if self._file(name, key)}

    @cached_property
    def _examples(self) -> list[Arch]:
        """Networks of the run in files of their own: the winner, or else one of the front."""
        paths = [self.folder / "winner.yaml", *sorted((self.folder / "front").glob("*.yaml"))]
        return [load(path) for path in paths[:2] if path.is_file()]

    def _file(self, name: str, key: str) -> Arch | None:
        path = self.folder / name
        arch = load(path) if path.is_file() else None
        return arch if arch and network_id(arch) == key else None

    def arch(self, key: str, notation: str) -> Arch | None:
        """The network of that id; None where the files do not tell it for certain."""
        kept = self._file(self.files[key], key) if key in self.files else None
        return kept or arch_of(notation, key, self._examples)


def metric_of(runs: Sequence[KeptRun]) -> str:
    """What the "accuracy" of the runs is: mAP of boxes, mIoU of masks, or accuracy."""
    named = {str(run.summary.get("metric", "accuracy")) for run in runs}
    return named.pop() if len(named) == 1 else "accuracy"


def origin_of(runs: Sequence[KeptRun]) -> str:
    """Where the networks with an accuracy of their own come from: they were trained, or solved."""
    inherited = all(run.summary.get("accuracy") == "inherited" for run in runs)
    return "solved in closed form" if inherited else "trained"


def read_runs(folders: Sequence[Path]) -> list[KeptRun]:
    """Runs that are called by their names, or by their folders where two names are alike."""
    names = [folder.resolve().name for folder in folders]
    labels = names if len(set(names)) == len(names) else map(str, folders)
    return [read_run(folder, label) for folder, label in zip(folders, labels, strict=True)]


def read_run(folder: Path, label: str = "") -> KeptRun:
    """The run in `folder`; UserError where there is none, or where it did not end yet."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: give the folder of a search's run")
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    if not any(path.is_file() for path in paths.values()):
        raise UserError(
            f"{folder} holds no trials.csv: give the folder of a search that ended (the search "
            "writes it at its end, also after Ctrl-C; the same command goes on)"
        )
    blocks = folder / "blocks.csv"
    return KeptRun(
        folder,
        label or folder.resolve().name,
        _mapping(folder / "summary.json", json.loads),
        _mapping(folder / "config.yaml", parse_yaml),
        _mapping(folder / "environment.json", json.loads),
        {name: read_frame(path) for name, path in paths.items()},
        pd.read_csv(blocks) if blocks.is_file() else pd.DataFrame(),
    )


def _mapping(path: Path, parse: Callable[[str], Any]) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is damaged ({reason}): delete it, or give another run") from None
    return data if isinstance(data, dict) else {}
