"""Accuracy looked up: any CSV of architectures and their accuracies."""

from __future__ import annotations

import csv
import gzip
import math
import statistics
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nas.accuracy.estimate import Estimate
from nas.accuracy.judge import Estimates, JudgeContext, JudgeSettings, Thresholds, one_by_one
from nas.arch.arch import Arch
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.errors import UserError, unknown
from nas.core.files import user_path
from nas.core.typed import Among, check_fields
from nas.space.choices import choices, fill

UNITS = {"percent": 100.0, "fraction": 1.0}
Entry = tuple[float, float]  # accuracy and its standard error, both fractions


@dataclass(frozen=True)
class TabularSettings(JudgeSettings):
    """A CSV (also .gz); where several lines name one network, their mean counts.

    The column `arch` holds `network_id`s, or, `named_by="code"`, the labels of the space's
    choices in order, one character each, as NAS-Bench-Macro writes them.  Of several columns
    `accuracy` the mean counts, and the standard error that they show.
    """

    path: str | Path
    arch: str = "arch"
    named_by: Annotated[str, Among(("id", "code"))] = "id"
    accuracy: str | Sequence[str] = "accuracy"
    se: str | None = None
    unit: Annotated[str, Among(UNITS)] = "fraction"

    def __post_init__(self) -> None:
        check_fields(self, "accuracy")
        if not user_path(self.path).is_file():
            raise UserError(f"there is no file accuracy.path={self.path}: give a CSV of accuracies")
        if not self.columns or (self.se is not None and len(self.columns) > 1):
            raise UserError(
                f"accuracy.accuracy={self.accuracy!r} with accuracy.se={self.se!r}: give one "
                "column and its standard error, or several columns and no standard error"
            )

    @property
    def columns(self) -> list[str]:
        """The columns of accuracies."""
        return [self.accuracy] if isinstance(self.accuracy, str) else list(self.accuracy)

    def infeasible_score(self, num_classes: int) -> float:
        """The accuracy of guessing."""
        return 1 / num_classes

    def open(self, context: JudgeContext) -> Tabular:
        """Read the file; UserError for what cannot be read."""
        entries: dict[str, list[Entry]] = {}
        wanted = [self.arch, *self.columns, *([self.se] if self.se else [])]
        for where, (name, *texts) in _lines(user_path(self.path), wanted):
            key = name if self.named_by == "id" else _id_of_code(context.space, name, where)
            figures = [_fraction(text, UNITS[self.unit], where) for text in texts]
            entries.setdefault(key, []).append(_entry(figures, len(self.columns)))
        return Tabular({key: _mean(rows) for key, rows in entries.items()}, str(self.path))


@dataclass(frozen=True)
class Tabular:
    """Accuracies and their standard errors by id; `judge(arch)` looks one up."""

    entries: Mapping[str, Entry]
    source: str

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """A UserError where the table has no line of a network."""
        return one_by_one(self, archs)

    def __call__(self, arch: Arch) -> Estimate:
        """The accuracy of `arch` and its standard error, NaN where the table does not tell."""
        start, key = time.perf_counter(), network_id(arch)
        if key not in self.entries:
            raise UserError(
                f"{self.source} has no accuracy for the network {key} ({arch_string(arch)}); it "
                f"holds {len(self.entries)} networks: add a line, or search a space that it covers"
            )
        value, error = self.entries[key]
        return Estimate(value, error, time.perf_counter() - start, "table")


def _lines(path: Path, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(where, the texts in these columns) of every line of a CSV with a header."""
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for column in columns:
                if column not in (reader.fieldnames or []):
                    raise unknown(f"column of {path}", column, reader.fieldnames or [])
            rows = [(f"{path}:{reader.line_num}", [r[c] or "" for c in columns]) for r in reader]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a CSV file"
        raise UserError(f"cannot read the accuracies {path}: {reason}") from None
    if not rows:
        raise UserError(f"{path} has a header and no line: give one line a network")
    return rows


def _id_of_code(space: Arch, code: str, where: str) -> str:
    labels = {key: {str(label): label for label in of} for key, of in choices(space).items()}
    try:
        picks = {key: of[c] for c, (key, of) in zip(code, labels.items(), strict=True)}
    except (KeyError, ValueError):
        raise UserError(
            f"{where}: {code!r} is no code of the space (allowed: {len(labels)} characters, labels "
            "of its choices in order); see accuracy.arch and accuracy.named_by"
        ) from None
    return network_id(fill(space, picks))


def _fraction(text: str, unit: float, where: str) -> float:
    try:
        value = float(text) / unit
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UserError(
            f"{where}: {text!r} is no accuracy from 0 to {unit:g} (accuracy.unit may be "
            f"{' or '.join(UNITS)})"
        )
    return value


def _entry(figures: list[float], num: int) -> Entry:
    """The accuracy and its standard error of one line: `num` accuracies, or one and its error."""
    if num > 1:
        return statistics.fmean(figures), statistics.stdev(figures) / math.sqrt(num)
    return figures[0], figures[1] if len(figures) > 1 else math.nan


def _mean(rows: list[Entry]) -> Entry:
    """Lines of one network are copies of one figure: their errors do not shrink."""
    return statistics.fmean(r[0] for r in rows), statistics.fmean(r[1] for r in rows)
