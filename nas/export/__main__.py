"""`python -m nas.export`: a trained network as the files that phones run, each checked."""

from nas.core.cli import main

ABOUT = """\
Write a trained network as the files that devices run (ONNX, LiteRT, ExecuTorch, OpenVINO; float32
or 8 bits), open each with its own runtime, and say how its answers, its accuracy on the test
images, its latency here and its size compare with the float32 network's.  A model card lies beside
them."""


def run(arguments: list[str]) -> None:
    """Read the settings and do it; imported only now, so that `--help` answers at once."""
    from nas.core.config import show_if_asked
    from nas.export.run import export
    from nas.export.settings import ExportSettings

    show_if_asked("export", ExportSettings, arguments)
    export(ExportSettings.of(*arguments))


if __name__ == "__main__":
    main("export", ABOUT, run)
