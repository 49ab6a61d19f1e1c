"""`python -m nas.latency`: build, validate and save the latency table of a space on a device."""

from nas.core.cli import main

ABOUT = """\
Build the latency table of a search space on your device: blocks are timed alone, whole networks
correct their sum, and others that the table never saw say how wrong it is.  The search uses the
table by itself; the same command again reads it, or goes on where it was stopped."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.latency.run import latency
    from nas.latency.settings import LatencySettings

    show_if_asked("latency", LatencySettings, arguments)
    latency(LatencySettings.of(*arguments))


if __name__ == "__main__":
    main("latency", ABOUT, run)
