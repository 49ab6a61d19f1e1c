"""A CSV of block latencies, a line for each row of a network, under a header with these columns:

    op          a kind of block (mbconv, fused, uib, separable, conv, identity, maxpool, shuffle;
                with kernel 0 the last is only what moves channels there), or a place: stem, head
                (the 1x1 convolution), pool, hidden (the layer between pool and classifier),
                classifier; a head for boxes or masks: ssdlite, lraspp, deeplabv3; or network:
                a constant added once per network.  The names in once-for-all's and
                ProxylessNAS's tables, which are YAML, are known too.
    in_hw, in_c, out_hw, out_c   sides in pixels and channels of input and output.
    kernel      side of the largest kernel, but for that of first_kernel; 0 without convolution.
    first_kernel   side of the depthwise kernel before the expansion (op uib); 0 for none.
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
    curve       of op network: from the sum, which has the constant in it, to the whole network's
                milliseconds: bend, low_ms and high_ms of `nas.latency.curve`, blanks between them.

op and ms are needed.  Another column that is absent, or a cell that is empty, matches anything.  Of
several lines that match, the one with the most filled cells counts.  0 and 1 stand for false and
true.  A line of op network has nothing but ms, curve and device.  Read as well: mean_ms (ms),
idskip (residual), net_resolution (resolution), and expand_or_mid (hidden, or where it is smaller
than in_c the expansion ratio).  A column unit must say ms.  Other columns are passed over, but not
where their name is nearly one of these.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nas.arch.blocks import BLOCKS
from nas.arch.dense import DENSE_HEADS
from nas.arch.fields import ACTIVATIONS, GATES
from nas.core.errors import UserError, unknown
from nas.latency.curve import Curve

COLUMNS = (
    "op", "in_hw", "in_c", "out_hw", "out_c", "kernel", "first_kernel", "stride", "hidden",
    "squeeze", "se", "act", "hs", "se_act", "se_gate", "residual", "linear", "ms", "device",
    "resolution",
)  # fmt: skip
PLACES = ("stem", "head", "pool", "hidden", "classifier")  # rows that are known by their place
# of once-for-all's and ProxylessNAS's tables, converted to a CSV
_OP_ALIASES = {
    "Conv": "stem", "Conv_1": "head", "Conv_2": "hidden", "Logits": "classifier",
    "AvgPool2D": "pool", "expanded_conv": "mbconv",
}  # fmt: skip
_COLUMN_ALIASES = {"mean_ms": "ms", "idskip": "residual", "net_resolution": "resolution"}
END = 1e9  # milliseconds that no block takes, so that no sum of them is endless
_KNOWN = (*COLUMNS, *_COLUMN_ALIASES, "expand_or_mid", "curve")
_DECIMAL = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", re.IGNORECASE)


def words(column: str) -> tuple[str, ...]:
    """The words that may be in a cell of the column; () for one of numbers or of any text."""
    match column:
        case "op":
            return (*PLACES, *BLOCKS, *DENSE_HEADS, "network")
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
        _check_header(reader.fieldnames or (), path)
        lines = [_line(row, reader.line_num, path) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.reader.line_num}: not CSV, {error}") from None
    if not lines:
        raise UserError(f"{path} has a header but no lines; give a table with some")
    return lines


def _check_header(columns: Sequence[str], path: str) -> None:
    for name in columns:
        plain = name.strip().casefold()
        near = [c for c in COLUMNS if plain and c.startswith(plain)]
        near += [c for c in _KNOWN if c == plain] + get_close_matches(plain, COLUMNS, 1, 0.7)
        if near and name not in _KNOWN:
            raise UserError(
                f"{path}: the column {name!r} is nearly {near[0]}: write {near[0]}, or take it out "
                "if it is something else"
            )
    names = [_COLUMN_ALIASES.get(name, name) for name in columns]
    if missing := sorted({"op", "ms"} - set(names)):
        raise UserError(f"{path} lacks the column {' and '.join(missing)} of a latency table")
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        same = [name for name in columns if _COLUMN_ALIASES.get(name, name) == twice[0]]
        raise UserError(f"{path} has {twice[0]} in two columns, {', '.join(same)}: leave one")


def _line(row: Mapping[str | Any, Any], number: int, path: str) -> Line:
    where = f"{path} line {number}"
    if None in row or None in row.values():
        raise UserError(f"{where} must have as many cells as the header")
    named = {_COLUMN_ALIASES.get(key, key): text.strip() for key, text in row.items()}
    filled = {key: text for key, text in named.items() if text}
    for key in ("op", "ms"):
        if key not in filled:
            raise UserError(f"{where}: {key} must be given")
    if (unit := named.get("unit", "ms")) != "ms":
        raise UserError(f"{where}: unit must be ms, not {unit!r}; give the times in milliseconds")
    cells = {key: _cell(key, filled[key], where) for key in COLUMNS if key in filled}
    if cells["op"] == "network" and (more := cells.keys() - {"op", "ms", "device"}):
        raise UserError(
            f"{where}: network is one time for all networks: leave {', '.join(sorted(more))} empty"
        )
    if "curve" in filled:
        if cells["op"] != "network":
            raise UserError(f"{where}: a curve is of op network: leave it empty elsewhere")
        cells["curve"] = _curve(filled["curve"], where)
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


def curve_cell(curve: Curve) -> dict[str, str]:
    """The cell by which a line of op network tells the curve; {} where it bends nothing."""
    if not curve.bend:
        return {}
    return {"curve": f"{curve.bend!r} {curve.low_ms!r} {curve.high_ms!r}"}


def _curve(text: str, where: str) -> Curve:
    try:
        bend, low_ms, high_ms = map(float, text.split())
        return Curve(bend, low_ms, high_ms)
    except ValueError:
        raise UserError(
            f"{where}: curve must be three numbers, bend low_ms high_ms, that make a curve which "
            f"rises everywhere, not {text!r}"
        ) from None


def _number(column: str, text: str, where: str) -> float:
    found = _DECIMAL.fullmatch(text)
    value = float(text) if found else math.nan
    rounded_to_0 = found and not value and float(found[1])
    if not 0 <= value < END or rounded_to_0:
        raise UserError(f"{where}: {column} must be a number from 0 to {END:g}, not {text!r}")
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
