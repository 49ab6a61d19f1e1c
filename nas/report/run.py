"""The report of a search, or of several, from their folders.

from nas.report.run import report
from nas.report.settings import ReportSettings

report(ReportSettings.of("results/search/mbconv", "format=svg"))
"""

from __future__ import annotations

from pathlib import Path

from nas.core.errors import UserError
from nas.core.progress import open_console
from nas.report.figure import write_figure
from nas.report.kept_run import read_runs
from nas.report.page import write_page
from nas.report.settings import ReportSettings


def report(settings: ReportSettings) -> Path:
    """Write the report or the picture, and return its path; UserError for a folder that is none."""
    runs = read_runs(settings.folders)
    path = settings.path
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}: make it, or give another out=")
    if settings.format == "html":
        write_page(runs, path)
    else:
        write_figure(runs, path)
    open_console().print(f"wrote     {path}", soft_wrap=True)
    return path
