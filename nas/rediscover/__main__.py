"""`python -m nas.rediscover`: does a search find what MobileNetV3's authors found?"""

from nas.core.cli import main

ABOUT = """\
Search the space around MobileNetV3 several times, each time with a judge of its own, and compare
what is found with random networks of the same latency and with published ones: where
squeeze-and-excitation, large kernels, h-swish and large expansion ratios are, how sure that is, and
whether the networks found are better."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.rediscover.run import rediscover
    from nas.rediscover.settings import RediscoverSettings

    show_if_asked("rediscover", RediscoverSettings, arguments)
    rediscover(RediscoverSettings.of(*arguments))


if __name__ == "__main__":
    main("rediscover", ABOUT, run)
