"""`python -m nas.report`: the report of a search again, or of several in one picture."""

from nas.core.cli import main

ABOUT = """\
Write the report of a search again from what its folder holds, or that of several searches, say on
several devices, in one picture; with format=svg or png the picture alone, for a paper."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.report.run import report
    from nas.report.settings import ReportSettings, completed

    show_if_asked("report", ReportSettings, completed(arguments))
    report(ReportSettings.of(*arguments))


if __name__ == "__main__":
    main("report", ABOUT, run, words="RUN [RUN ...]")
