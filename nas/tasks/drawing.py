"""Pictures of answers: the best and the worst of a split, beside what was wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageDraw

from nas.data.dense import DenseSplit

# Colours that stay apart for people who see few of them (Okabe and Ito 2008), then lighter ones
PALETTE = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167), (86, 180, 233),
    (240, 228, 66), (120, 94, 240), (100, 60, 30), (0, 90, 60), (250, 170, 170), (150, 150, 150),
)  # fmt: skip
GAP, LINE = 6, 16  # pixels between pictures, and of a line of text


def colour(label: int) -> tuple[int, int, int]:
    """The colour of a class; after twelve they come again."""
    return PALETTE[label % len(PALETTE)]


def side_by_side(rows: Sequence[tuple[str, Image.Image, Image.Image]]) -> Image.Image:
    """One picture of rows: a line of text, and below it what was wanted and what was answered."""
    width = max(left.width + GAP + right.width for _, left, right in rows)
    height = sum(LINE + max(left.height, right.height) + GAP for _, left, right in rows)
    sheet = Image.new("RGB", (width, height), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for text, left, right in rows:
        pen.text((2, top + 2), text, fill="black")
        sheet.paste(left, (0, top + LINE))
        sheet.paste(right, (left.width + GAP, top + LINE))
        top += LINE + max(left.height, right.height) + GAP
    return sheet


def legend(classes: Sequence[str]) -> Image.Image:
    """The classes with their colours."""
    sheet = Image.new("RGB", (220, LINE * len(classes) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(classes):
        top = i * LINE + 3
        pen.rectangle((2, top, 14, top + 12), fill=colour(i))
        pen.text((20, top), name.encode("ascii", "replace").decode(), fill="black")
    return sheet


def best_and_worst(
    draw: Callable[[int, Any], Image.Image],
    split: DenseSplit,
    found: Sequence[Any],
    scores: Sequence[float],
    number: int,
    classes: Sequence[str],
) -> Image.Image:
    """The `number` worst and best pictures, what was wanted and what was found on them.

    `draw(i, found)` shows it on picture i, the truth for None.
    """
    order = sorted(range(len(found)), key=lambda i: scores[i])
    worst, best = order[:number], order[::-1][: min(number, max(0, len(order) - number))]
    rows = [
        (f"{what} {scores[i]:.0%} {split.names[i]}", draw(i, None), draw(i, found[i]))
        for what, which in (("worst", worst), ("best", best))
        for i in which
    ]
    return _below(legend(classes), side_by_side(rows))


def _below(first: Image.Image, second: Image.Image) -> Image.Image:
    sheet = Image.new(
        "RGB", (max(first.width, second.width), first.height + second.height), "white"
    )
    sheet.paste(first, (0, 0))
    sheet.paste(second, (0, first.height))
    return sheet
