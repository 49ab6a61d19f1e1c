"""model.md: what was shipped, how good and how fast it is, how it is loaded, what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from nas.arch.cost import cost
from nas.export.code import examples
from nas.export.setup import ExportRun
from nas.network.pretrained import PRETRAINED
from search_spaces.lookup import plain_name

CHANGED = "They are not those of the training any more: some may have been trained on"
FEW = 20  # test images of a class: with fewer its accuracy is known to 20 points and more
WEAK = 0.5  # of a class's test images
MANY = 30  # classes, above which only the weakest are listed


def model_card(
    run: ExportRun,
    summary: Mapping[str, Any],
    by_class: pd.DataFrame,
    where: Mapping[str, Any],
) -> str:
    """Markdown."""
    metric = run.task.metric if run.task else "accuracy"
    parts = [
        f"# {run.files.name}",
        "\n".join(_what(run, summary)),
        "## Files",
        _table(
            ("file", "precision", "size", "runtime", f"test {metric}",
             "same as float32" if run.task else "same class as float32", "latency"),
            (_file(row) for row in summary["rows"]),
        ),
        f"Latency: one image, `threads={run.settings.threads}`, all files in the same rounds, on "
        f"{where['cpu']} ({where['platform']}). It holds for that machine alone.",
        f"## {metric[0].upper()}{metric[1:]} by class",
        _table(("class", "test images", metric, "95 % interval"), _classes(by_class)),
        "## How to use it",
        *examples(run, summary["rows"]),
        "## What it is not for",
        "\n".join(f"- {text}" for text in _limits(run, by_class)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _what(run: ExportRun, summary: Mapping[str, Any]) -> Iterator[str]:
    trained = run.trained_on
    low, high = (f"{end:.1%}" for end in summary["accuracy_interval"])
    unseen = "images that no decision saw" if run.is_same_data else f"images. {CHANGED}"
    costs, side = cost(run.arch), run.arch.resolution
    task, metric = run.task, "accuracy"
    if task:
        metric = task.metric
        what = f"A network for {task.name}: {side} x {side} pixels to {task.answer}"
        yield f"{what}, of {len(run.classes)} classes."
    else:
        yield f"An image classifier: {side} x {side} pixels to one of {len(run.classes)} classes."
    yield ""
    yield (
        f"- Test {metric} in float32: {summary['accuracy']:.1%} (95 % interval {low} to {high}), "
        f"{summary['images']['test']:,} {unseen}."
    )
    yield (
        f"- Trained on {trained['train']:,} images of {run.data.name}; {trained['val']:,} more "
        "chose among networks."
    )
    yield f"- {costs.macs / 1e6:.3g} M multiply-adds, {costs.params / 1e6:.3g} M parameters."
    yield f"- Architecture `{summary['arch']}` (id {summary['id']})."
    yield f"- First weights: {_origin(run)}"


def _origin(run: ExportRun) -> str:
    """What the training began with, and its licence."""
    known = PRETRAINED.get(plain_name(str(run.config.get("arch"))))
    given = (run.config.get("weights") or {}).get("path")
    of_search = "pretrained" if known and not given else "file"  # whose folder holds no others
    choice = run.config.get("choices", {}).get("weights", of_search)
    if choice == "pretrained" and known:
        return f"{known.library}'s `{known.file}`, trained on ImageNet; licence {known.licence}."
    if choice == "none":
        return "none, it was trained from scratch."
    return "a file of yours: its licence holds for these files too."


def _file(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"`{row['file']}`",
        row["precision"],
        f"{row['bytes'] / 1e6:.3g} MB",
        row["runtime"],
        f"{row['accuracy']:.1%} ± {row['accuracy_se']:.1%}",
        f"{row['agreement']:.1%}",
        f"{row['latency_ms']:.3g} ms",
    )


def _classes(by_class: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    shown = by_class if len(by_class) <= MANY else by_class.nsmallest(MANY, "accuracy")
    for name, images, accuracy, low, high in shown.itertuples(index=False):
        known = images > 0 and accuracy == accuracy
        share = f"{accuracy:.0%}" if known else "unknown"
        ends = f"{low:.0%} to {high:.0%}" if known and low == low else ""
        yield str(name), str(images), share, ends


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cleaned = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cleaned)


def _limits(run: ExportRun, by_class: pd.DataFrame) -> Iterator[str]:
    what = "it was never shown what else there is"
    if run.task is None:
        what = "it gives one of them to every picture, and was never asked to say that it is none"
    yield f"Pictures of anything but its {len(run.classes)} classes: {what}."
    yield "Pictures taken otherwise than those it was trained on: no figure here is about them."
    few = by_class[by_class["images"] < FEW]["class"].astype(str).tolist()
    if few:
        yield f"Relying on classes with fewer than {FEW} test images: {', '.join(few[:MANY])}."
    weak = by_class[by_class["accuracy"] < WEAK]["class"].astype(str).tolist()
    if weak and run.task is None:
        yield f"Classes that it gets wrong more often than right: {', '.join(weak[:MANY])}."
    yield "Decisions about people's lives, health or safety without a person who checks."
