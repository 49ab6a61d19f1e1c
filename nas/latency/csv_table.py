"""A CSV of block latencies, a line for each row of a network, under a header with these columns:

    op          a kind of block (mbconv, fused, separable, conv, identity), or a place: stem, head
                (the 1x1 convolution), pool, hidden (the layer between pool and classifier),
                classifier; or network: a constant added once per network.  The names in
                once-for-all's and ProxylessNAS's tables are known too.
    in_hw, in_c, out_hw, out_c   sides in pixels and channels of input and output.
    kernel      side of the (depthwise, or with op fused: the first) kernel; 0 without convolution.
    stride      1 or 2; 0 without convolution.
    hidden      channels between expansion and projection; 0 for an op without projection.
    squeeze     channels inside squeeze-and-excitation (SE), 0 without;  se   whether it is there.
    act         relu, relu6, hswish, swish, or none;  hs   whether it is hswish.
    se_act, se_gate   activation between SE's two layers, and its gate; none without SE.
    residual    whether the input is added to the output.
    linear      whether its last layer is a convolution without activation.
    ms          milliseconds, 0 or more.
    device      whose times these are; a file of several devices needs `latency.device=`.
    resolution  input side of the network that the row was measured in.

op and ms are needed.  Another column that is absent, or a cell that is empty, matches anything.  Of
several lines that match, the one with the most filled cells counts.  0 and 1 stand for false and
true.  Read as well: mean_ms (ms), idskip (residual), net_resolution (resolution), and expand_or_mid
(hidden, or where it is smaller than in_c the expansion ratio).  Other columns are passed over.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.arch.blocks import BLOCKS
from nas.arch.fields import ACTIVATIONS, GATES
from nas.core.errors import UserError, unknown

COLUMNS = (
    "op", "in_hw", "in_c", "out_hw", "out_c", "kernel", "stride", "hidden", "squeeze", "se",
    "act", "hs", "se_act", "se_gate", "residual", "linear", "ms", "device", "resolution",
)  # fmt: skip
PLACES = ("stem", "head", "pool", "hidden", "classifier")  # rows that are known by their place
# of once-for-all's and ProxylessNAS's tables
_OP_ALIASES = {
    "Conv": "stem", "Conv_1": "head", "Conv_2": "hidden", "Logits": "classifier",
    "AvgPool2D": "pool", "expanded_conv": "mbconv",
}  # fmt: skip
_COLUMN_ALIASES = {"mean_ms": "ms", "idskip": "residual", "net_resolution": "resolution"}


def words(column: str) -> tuple[str, ...]:
    """The words that may be in a cell of the column; () for one of numbers or of any text."""
    match column:
        case "op":
            return (*PLACES, *BLOCKS, "network")
        case "act" | "se_act":
            return (*ACTIVATIONS, "none")
        case "se_gate":
            return (*GATES, "none")
    return ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: its number in the file, its filled cells but ms, and ms."""

    number: int
    cells: dict[str, Any]
    ms: float


def read_text(path: Path) -> str:
    """What is in the file; UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a CSV file"
        raise UserError(f"cannot read the latency table {path}: {reason}") from None


def parse_table(text: str, path: str) -> list[Line]:
    """The lines of a table; empty cells are left out."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = {_COLUMN_ALIASES.get(name, name) for name in reader.fieldnames or ()}
        missing = sorted({"op", "ms"} - names)
        if missing:
            raise UserError(f"{path} lacks the column {' and '.join(missing)} of a latency table")
        lines = [_line(row, reader.line_num, path) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.reader.line_num}: not CSV, {error}") from None
    if not lines:
        raise UserError(f"{path} has a header but no lines; give a table with some")
    return lines


def _line(row: Mapping[str | Any, Any], number: int, path: str) -> Line:
    where = f"{path} line {number}"
    if None in row or None in row.values():
        raise UserError(f"{where} must have as many cells as the header")
    named = {_COLUMN_ALIASES.get(key, key): text.strip() for key, text in row.items()}
    filled = {key: text for key, text in named.items() if text}
    for key in ("op", "ms"):
        if key not in filled:
            raise UserError(f"{where}: {key} must be given")
    cells = {key: _cell(key, filled[key], where) for key in COLUMNS if key in filled}
    if "expand_or_mid" in filled and "hidden" not in cells and "in_c" in cells:
        value = _number("expand_or_mid", filled["expand_or_mid"], where)
        cells["hidden"] = round(value * cells["in_c"] if value < cells["in_c"] else value)
    return Line(number, cells, cells.pop("ms"))


def _cell(column: str, text: str, where: str) -> Any:
    if column == "device":
        return text
    if allowed := words(column):
        word = _OP_ALIASES.get(text, text) if column == "op" else text
        if word not in allowed:
            raise UserError(f"{where}: {unknown(column, text, allowed)}")
        return word
    value = _number(column, text, where)
    if column == "ms":
        return value
    if value != int(value):
        raise UserError(f"{where}: {column} must be a whole number, not {text!r}")
    return int(value)


def _number(column: str, text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f"{where}: {column} must be a number, 0 or more, not {text!r}")
    return value


def of_device(lines: list[Line], device: str | None, path: str) -> list[Line]:
    """The lines of `device`, and those that say none."""
    devices = sorted({line.cells["device"] for line in lines if "device" in line.cells})
    if device is None:
        if len(devices) > 1:
            raise UserError(
                f"{path} has several devices; choose one with latency.device= "
                f"(there is: {', '.join(devices)})"
            )
        return lines
    if device not in devices:
        raise UserError(f"{path}: {unknown('latency.device', device, devices or ['none'])}")
    return [line for line in lines if line.cells.get("device", device) == device]
