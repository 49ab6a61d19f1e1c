"""`python -m nas.train`: one network, trained to the end, scored and exported."""

from nas.core.cli import main
from nas.core.one_voice import one_voice

ABOUT = """\
Train one network on your images, from scratch or from published ImageNet weights, and leave it
ready to use: weights, an ONNX model, its accuracy, and its latency measured here."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.train.run import train
    from nas.train.settings import TrainSettings, completed

    with one_voice():
        show_if_asked("train", TrainSettings, completed(arguments))
        train(TrainSettings.of(*arguments))


if __name__ == "__main__":
    main("train", ABOUT, run, together=True)
