"""`python -m nas.search`: a Pareto front of accuracy and latency, on your data and your device."""

from nas.core.cli import main

ABOUT = """\
Search a space of mobile networks for the front of accuracy and latency.  Published networks that
the space contains are tried first; the same command again goes on where it stopped."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import read_settings
    from nas.search.run import search

    search(read_settings("search", arguments))


if __name__ == "__main__":
    main("search", ABOUT, run)
