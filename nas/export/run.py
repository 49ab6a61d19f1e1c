"""Export one trained network: write its files, open each with its runtime, compare, describe.

From Python it is what the command line does:

    from nas.export.run import export
    from nas.export.settings import ExportSettings

    summary = export(ExportSettings.of("arch=results/train/mine", "to=[onnx,onnx_int8]"))
    print([(row["file"], row["accuracy"], row["latency_ms"]) for row in summary["rows"]])
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from rich.console import Console

from nas.arch.cost import describe_network
from nas.core.errors import UserError
from nas.core.files import write_bytes
from nas.core.progress import ProgressBar, open_console
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.export.answers import (
    answering,
    compare_found,
    figures_of,
    found_by_file,
    found_by_network,
    open_answers,
    whole_of,
)
from nas.export.comparison import (
    Images,
    Whole,
    answers_of_file,
    answers_of_network,
    calibration_images,
    class_table,
    compare,
    test_images,
    time_together,
)
from nas.export.formats.format import Format, Image, Opened, Source
from nas.export.formats.onnx import float_model
from nas.export.formats.registry import FORMATS
from nas.export.report import TABLE_WIDTH, print_outcome, write_results
from nas.export.settings import ExportSettings
from nas.export.setup import ExportRun, open_run
from nas.export.training_on import TRAINED, train_on
from nas.network.activation_ranges import activation_ranges
from nas.network.modules import Network
from nas.stats.correlation import share_interval

WRITTEN = (  # beside the models
    *("classes.csv", "config.yaml", "environment.json", "facts.json", "network.yaml"),
    *("summary.json", TRAINED),
)
FLOAT = "onnx"  # what all others are compared with, and always written


@dataclass(frozen=True)
class Written:
    """A file on disk, in its runtime; `name` as in to=, with _qat where it was trained on."""

    name: str
    format: Format
    file: str
    num_bytes: int
    opened: Opened


def export(settings: ExportSettings) -> dict[str, Any]:
    """Write and compare what `settings` name; returns what summary.json holds."""
    console = open_console(TABLE_WIDTH)
    try:
        with open_run(settings) as run:
            console.print(f"network   {describe_network(run.arch, str(run.files.network))}")
            console.print(f"data      {run.data.described()}")
            return _export(run, console)
    except KeyboardInterrupt:
        console.print("stopped   the same command begins again; epochs trained on are kept")
        raise


def _export(run: ExportRun, console: Console) -> dict[str, Any]:
    with replacing(run):
        summary = _write(run, console)
    print_outcome(console, run, summary["rows"], summary["missing"])
    return summary


def _write(run: ExportRun, console: Console) -> dict[str, Any]:
    """Write, open and compare all files; returns the summary."""
    kinds, missing = kinds_here(run.settings)
    check_given(run)
    calibration = calibration_images(run)
    source = source_of(run, run.net, calibration)
    written = list(write_files(run, source, kinds, console))
    if run.settings.qat:
        source = source_of(run, train_on(run, calibration, console), calibration)
        kinds = [kind for kind in kinds if kind.precision == "int8"]
        written += write_files(run, source, kinds, console, "_qat")
    rows, whole = compare_files(run, source, written, console)
    return write_results(run, rows, missing, whole)


def kinds_here(settings: ExportSettings) -> tuple[list[Format], dict[str, str]]:
    """The kinds of files whose packages are here, and what pip installs the others by.

    UserError where qat=true is left without an 8-bit one.
    """
    asked = [FORMATS[name] for name in dict.fromkeys((FLOAT, *settings.to))]
    missing = {kind.name: kind.install for kind in asked if find_spec(kind.package) is None}
    kinds = [kind for kind in asked if kind.name not in missing]
    if settings.qat and not any(kind.precision == "int8" for kind in kinds):
        names = {kind.install for kind in asked if kind.precision == "int8"}
        raise UserError(
            "qat=true trains on for 8-bit files, and no runtime of those in to= is here: pip "
            f"install {' '.join(sorted(names))} first, or add onnx_int8"
        )
    return kinds, missing


def check_given(run: ExportRun) -> None:
    """UserError where what qat=true trains would take the place of the weights that were given."""
    trained = run.folder / TRAINED
    if run.settings.qat and trained.resolve() == run.files.weights.resolve():
        raise UserError(
            f"qat=true writes to {trained}, the weights that it would begin with: give another run="
        )


@contextmanager
def replacing(run: ExportRun) -> Iterator[None]:
    """A folder for new files, which in the end take the place of an earlier export's.

    Never files of two networks lie together, and what fails leaves the earlier ones.
    """
    shutil.rmtree(run.new, ignore_errors=True)  # of an export that was killed
    run.new.mkdir()
    try:
        yield
        remove_earlier(run)
        for path in run.new.iterdir():
            path.replace(run.folder / path.name)
    finally:
        shutil.rmtree(run.new, ignore_errors=True)


def remove_earlier(run: ExportRun) -> None:
    """Remove what an earlier export left, but never the weights that were given."""
    for path in run.folder.iterdir():
        is_ours = path.name in WRITTEN or path.stem.startswith("model")
        if is_ours and path.resolve() != run.files.weights.resolve():
            path.unlink()


def source_of(run: ExportRun, net: Network, calibration: Image) -> Source:
    """The network with the ranges of its activations on the calibration images."""
    source = Source(
        arch=run.arch,
        net=net,
        facts=run.facts,
        ranges={},
        images=calibration,
        free_batch=run.settings.batch == "free",
        preprocess=run.settings.preprocess,
    )
    model = float_model(source).SerializeToString()
    return replace(source, ranges=activation_ranges(model, calibration))


def write_files(
    run: ExportRun, source: Source, kinds: Sequence[Format], console: Console, mark: str = ""
) -> Iterator[Written]:
    """Write and open each kind of file; `mark` goes into its name."""
    with ProgressBar(console, "write", len(kinds)) as bar:
        for done, kind in enumerate(kinds, 1):
            bar(done - 1, kind.name)
            stem = f"model{'_int8' * (kind.precision == 'int8')}{mark}"
            contents = kind.write(source)
            if run.task:
                contents = (answering(contents[0], run.task),)
            for suffix, content in zip(kind.suffixes, contents, strict=True):
                write_bytes(run.new / f"{stem}{suffix}", content)
            path = run.new / f"{stem}{kind.suffixes[0]}"
            opener = open_answers if run.task else kind.open
            opened = opener(path, source, run.settings.threads)
            size = sum(map(len, contents))
            yield Written(f"{kind.name}{mark}", kind, path.name, size, opened)
            bar(done, kind.name)


def compare_files(
    run: ExportRun, source: Source, written: Sequence[Written], console: Console
) -> tuple[list[dict[str, Any]], Whole]:
    """A row a file: its size, answers and accuracy on the test images, latency here.

    With it how good the float32 network is in torch.
    """
    images = partial(test_images, run, source)
    whole, compared = comparison_of(run, images)
    rows, number_of_images = [], len(run.data.test)
    with ProgressBar(console, "check", len(written) * number_of_images) as bar:
        for number, one in enumerate(written):

            def on_image(done: int, number: int = number, name: str = one.name) -> None:
                bar(number * number_of_images + done, f"test images · {name}")

            rows.append(_described(one) | compared(one.opened, on_image))
    console.print(f"timing    {len(written)} files in the same rounds")
    timings = time_together({one.name: one.opened for one in written}, next(images())[:1])
    for row in rows:
        timing = timings[row["name"]]
        row["latency_ms"], row["noisy"] = timing.median_ms, timing.noisy
        row["latency_interval_ms"] = [timing.ci_low_ms, timing.ci_high_ms]
        row["times_float"] = timing.median_ms / timings[FLOAT].median_ms
    return rows, whole


def comparison_of(
    run: ExportRun, images: Callable[[], Images]
) -> tuple[Whole, Callable[[Opened, Callable[[int], None]], dict[str, Any]]]:
    """How good the network is in torch; what compares a file with it, telling how far it is."""
    if task := run.task:
        assert isinstance(run.data, DenseData)
        found = found_by_network(run.net, task, images())
        what = (found, figures_of(found, task, run.data), task, run.data)

        def by_figure(opened: Opened, on_image: Callable[[int], None]) -> dict[str, Any]:
            return compare_found(found_by_file(opened, task, images(), on_image), *what)

        return whole_of(*what), by_figure
    assert isinstance(run.data, ImageData)
    labels, ours = run.data.test.labels.numpy(), answers_of_network(run.net, images())
    right = ours.argmax(1) == labels
    known = share_interval(float(right.mean()), len(right))
    table = class_table(run.classes, right, labels)

    def by_class(opened: Opened, on_image: Callable[[int], None]) -> dict[str, Any]:
        return asdict(compare(answers_of_file(opened, images(), on_image), ours, labels))

    return Whole(known.value, (known.low, known.high), table), by_class


def _described(one: Written) -> dict[str, Any]:
    return {
        "name": one.name,
        "file": one.file,
        "precision": one.format.precision,
        "runtime": f"{one.format.install} {version(one.format.install)}",
        "bytes": one.num_bytes,
    }
