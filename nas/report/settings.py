"""The settings of `nas.report`, typed and checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nas.core.config import compose
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.core.typed import Among, check_fields

FORMATS = ("html", "svg", "png")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """conf/report.yaml; UserError for what is out of range."""

    runs: Sequence[str]
    out: str | None
    format: Annotated[str, Among(FORMATS)]

    @classmethod
    def of(cls, *words: str) -> ReportSettings:
        """The settings that such words on the command line make: folders, and name=value."""
        return cls(**compose("report", cls, completed(words)))

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.runs:
            raise UserError(
                "no run is given: name the folders of searches, such as python -m nas.report "
                "results/search/mbconv"
            )
        if self.out is not None and self.path.suffix != f".{self.format}":
            raise UserError(
                f"out={self.out} must end in .{self.format}, as format={self.format} does: give "
                "another name, or format= too"
            )

    @property
    def folders(self) -> list[Path]:
        """The runs' folders."""
        return [user_path(run) for run in self.runs]

    @property
    def path(self) -> Path:
        """The file to write."""
        if self.out is not None:
            return user_path(self.out)
        folder = self.folders[0] if len(self.runs) == 1 else Path()
        return folder / ("report.html" if self.format == "html" else f"front.{self.format}")


def completed(words: Sequence[str]) -> list[str]:
    """`words`, with those that name folders as the setting that they stand for."""
    folders = [word for word in words if "=" not in word and not word.startswith("--")]
    rest = [word for word in words if word not in folders]
    if folders and any(word.startswith("runs=") for word in rest):
        raise UserError("give the runs as words or as runs=[...], not both")
    return [*([f"runs={json.dumps(folders, ensure_ascii=False)}"] if folders else []), *rest]
