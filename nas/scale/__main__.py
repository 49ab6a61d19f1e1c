"""`python -m nas.scale`: a baseline grown into a family, by a rule that is fitted or given."""

from nas.core.cli import main

ABOUT = """\
Scale a network in depth, width and resolution by one number.  How much of each is fitted to your
baseline, your data and your device, or given by coefficients= or rule=."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.scale.run import scale
    from nas.scale.settings import ScaleSettings

    show_if_asked("scale", ScaleSettings, arguments)
    scale(ScaleSettings.of(*arguments))


if __name__ == "__main__":
    main("scale", ABOUT, run)
