"""`python -m nas.search`: a Pareto front of accuracy and latency, on your data and your device."""

import os

from nas.core.cli import main
from nas.core.one_voice import one_voice

ABOUT = """\
Search a space of mobile networks for the front of accuracy and latency.  Published networks that
the space contains are tried first; the same command again goes on where it stopped."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    # matrices as small as a search's are slower on several threads; workers decide for themselves
    if unset := "OPENBLAS_NUM_THREADS" not in os.environ:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from nas.core.config import show_if_asked
    from nas.search.run import search
    from nas.search.settings import SearchSettings, completed

    if unset:
        del os.environ["OPENBLAS_NUM_THREADS"]
    with one_voice():
        show_if_asked("search", SearchSettings, completed(arguments))
        search(SearchSettings.of(*arguments))


if __name__ == "__main__":
    main("search", ABOUT, run, together=True)
