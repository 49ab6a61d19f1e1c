"""Shapes on paper as SVG, or as pixels by Pillow: what a figure for a paper is drawn with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from math import cos, pi, sin

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
SHARP = 3  # pixels of a PNG for each unit
FINER = 2  # times as many in each direction while it is drawn, for smooth edges
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}  # of a text, in SVG's words and Pillow's
LETTER = 0.55  # width of a letter, of the size of its font, about


class Svg:
    """Paper of `width` x `height` units, (0, 0) at its upper left corner; text stays text."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif" '
            f'role="img"><title>{escape(title)}</title>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>'
        ]

    def line(self, points: Sequence[Point], colour: str, width: float = 1, dash: float = 0) -> None:
        """A line through `points`, with dashes of that length, or none."""
        dashes = f' stroke-dasharray="{dash:g}"' if dash else ""
        self.parts.append(
            f'<polyline points="{_joined(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:g}"{dashes}/>'
        )

    def polygon(self, points: Sequence[Point], fill: str, edge: str = "") -> None:
        """A filled polygon."""
        self.parts.append(
            f'<polygon points="{_joined(points)}" fill="{fill}" stroke="{edge or "none"}"/>'
        )

    def circle(self, centre: Point, radius: float, fill: str, edge: str = "") -> None:
        """A circle; `fill` may be "" for a ring."""
        x, y = centre
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill or "none"}" '
            f'stroke="{edge or "none"}" stroke-width="1.5"/>'
        )

    def text(
        self, at: Point, words: str, size: float = 11, anchor: str = "start", turned: bool = False
    ) -> None:
        """Words on a line that begins, has its middle or ends at a point; turned: upwards."""
        x, y = at
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="#222"{turn}>{escape(words)}</text>'
        )

    def data(self) -> bytes:
        """The file."""
        return "\n".join([*self.parts, "</svg>\n"]).encode()


class Png:
    """As `Svg`, in pixels, with the letters that come with Pillow."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size = (SHARP * width, SHARP * height)
        self.scale = SHARP * FINER
        self.image = Image.new("RGB", (self.scale * width, self.scale * height), "white")
        self.pen = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[Point], colour: str, width: float = 1, dash: float = 0) -> None:
        """A line through `points`, with dashes of that length, or none."""
        lines = [list(points)] if not dash else _dashes(points, dash)
        for part in lines:
            self.pen.line(self._scaled(part), colour, round(width * self.scale), joint="curve")

    def polygon(self, points: Sequence[Point], fill: str, edge: str = "") -> None:
        """A filled polygon."""
        self.pen.polygon(self._scaled(points), fill, edge or None, self.scale if edge else 0)

    def circle(self, centre: Point, radius: float, fill: str, edge: str = "") -> None:
        """A circle; `fill` may be "" for a ring."""
        x, y = centre
        box = self._scaled([(x - radius, y - radius), (x + radius, y + radius)])
        self.pen.ellipse(box, fill or None, edge or None, round(1.5 * self.scale) if edge else 0)

    def text(
        self, at: Point, words: str, size: float = 11, anchor: str = "start", turned: bool = False
    ) -> None:
        """Words on a line that begins, has its middle or ends at a point; turned: upwards."""
        font = ImageFont.load_default(size * self.scale)
        (place,) = self._scaled([at])
        if not turned:
            self.pen.text(place, words, "#222", font, ANCHORS[anchor])
            return
        left, top, right, bottom = (round(x) for x in font.getbbox(words, anchor=ANCHORS[anchor]))
        paper = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(paper).text((-left, -top), words, 255, font, ANCHORS[anchor])
        paper = paper.transpose(Image.Transpose.ROTATE_90)
        self.image.paste("#222", (round(place[0]) + top, round(place[1]) - right), paper)

    def data(self) -> bytes:
        """The file."""
        file = io.BytesIO()
        self.image.resize(self.size, Image.Resampling.LANCZOS).save(file, "png", optimize=True)
        return file.getvalue()

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]


Canvas = Svg | Png


def _joined(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _dashes(points: Sequence[Point], length: float) -> list[list[Point]]:
    """A straight line from the first to the last point, in dashes."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    number = max(1, round(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 / length))
    ends = [(x0 + (x1 - x0) * i / number, y0 + (y1 - y0) * i / number) for i in range(number + 1)]
    return [[ends[i], ends[i + 1]] for i in range(0, number, 2)]


def star(centre: Point, radius: float) -> list[Point]:
    """The corners of a star of five points."""
    x, y = centre
    arms = [(radius if i % 2 == 0 else 0.45 * radius, pi * (i / 5 - 0.5)) for i in range(10)]
    return [(x + r * cos(a), y + r * sin(a)) for r, a in arms]


def diamond(centre: Point, radius: float) -> list[Point]:
    """The corners of a square on its tip."""
    x, y = centre
    return [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)]
