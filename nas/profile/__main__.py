"""`python -m nas.profile`: a network as its paper would print it, and what it costs."""

from nas.core.cli import main

ABOUT = """\
Print a network row by row as its paper would, with multiply-adds, parameters and memory, thop's
count beside ours, and the latency measured here.  Several networks, arch=a,b,c, side by side:
latency, measured in the same rounds, against multiply-adds."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.profile.run import profile
    from nas.profile.settings import ProfileSettings

    show_if_asked("profile", ProfileSettings, arguments)
    profile(ProfileSettings.of(*arguments))


if __name__ == "__main__":
    main("profile", ABOUT, run)
