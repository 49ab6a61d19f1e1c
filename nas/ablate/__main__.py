"""`python -m nas.ablate`: what each idea of a network is worth, on your data and device."""

from nas.core.cli import main

ABOUT = """\
Train a network and variants of it that differ in one idea each (no residuals, ReLU everywhere,
kernels of 5x5, ...), all alike and with several seeds: differences in accuracy with intervals, and
how many times the latency, multiply-adds and parameters each variant has."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.ablate.run import ablate
    from nas.ablate.settings import AblateSettings
    from nas.core.config import show_if_asked

    show_if_asked("ablate", AblateSettings, arguments)
    ablate(AblateSettings.of(*arguments))


if __name__ == "__main__":
    main("ablate", ABOUT, run)
