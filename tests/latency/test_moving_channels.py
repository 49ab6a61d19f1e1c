"""The time of what only moves channels: no multiply-adds, and lines of its own in the table."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from nas.arch import Arch, Block, Head, Stage, Stem, operators
from nas.arch.blocks import block_row
from nas.arch.cost import layers_cost
from nas.arch.layers import Concat, MaxPool, Shuffle, Split
from nas.latency.lookup import Lookup
from nas.latency.model import fit_blocks, layer_counts, row_counts, with_movements
from nas.latency.store import open_latencies
from nas.latency.table import MeasurementEffort
from nas.latency.timing import Timing
from nas.space import one_of
from nas.space.trellis.trellis import Trellis

MOVES = Split | Concat | Shuffle


def stage(width: int, stride: int) -> Stage:
    blocks = tuple(Block("shuffle", kernel=one_of(3, 5)) for _ in range(3))
    widths = one_of(width, 2 * width)
    return Stage(widths, one_of(1, 2, 3), stride, blocks)


SPACE = Arch((stage(16, 2), stage(32, 2)), Stem(8), Head(64), resolution=32, classes=5)


def moved(row) -> int:
    """Elements that layers without multiply-adds write."""
    layers = [x for x in row.layers if isinstance(x, MOVES)]
    counts = [layer_counts(x) for x in layers]
    return sum(n for c in counts for name, n in c.items() if name.endswith("elements"))


def true_ms(row) -> float:
    return 1e-3 + 1e-8 * layers_cost(row.layers)[0] + 1e-6 * moved(row)


class Device:
    name = "device"

    def measure_rows(self, parts, padding="symmetric", on_timing=None):
        sums = [0.002 + sum(true_ms(row) for row in rows) for rows in parts]
        timings = [Timing(ms, 0.0, ms, ms, 10, False) for ms in sums]
        for i, timing in enumerate(timings):
            if on_timing:
                on_timing(i, timing)
        return timings

    def measure_many(self, archs, on_timing=None):
        return self.measure_rows([operators(arch) for arch in archs], on_timing=on_timing)

    def identity(self):
        return {"backend": self.name}

    describe = identity


def unit(cin: int, cout: int, stride: int, side: int = 9):
    row = block_row("stage1_block1", Block("shuffle"), cin, cout, stride, side)
    assert row
    return row


def test_what_moves_channels_is_counted_by_what_it_writes():
    found = [
        {k: v for k, v in row_counts(row).items() if k.startswith(("split", "concat", "shuffle"))}
        for row in (unit(16, 16, 1), unit(16, 24, 2))
    ]
    size, strided = 16 * 81, 24 * 25
    assert found[0] == {
        "split.calls": 2, "split.elements": size, "concat.calls": 1, "concat.elements": size,
        "shuffle.calls": 1, "shuffle.elements": size,
    }  # fmt: skip
    assert found[1] == {
        "concat.calls": 1, "concat.elements": strided,
        "shuffle.calls": 1, "shuffle.elements": strided,
    }  # fmt: skip
    assert layer_counts(MaxPool(8, 4)) == {"maxpool.calls": 1, "maxpool.elements": 128}


def test_what_moves_channels_is_a_row_of_its_own_once():
    rows = [unit(16, 16, 1), unit(16, 16, 1), unit(16, 24, 2), unit(16, 24, 1)]
    *same, moves = with_movements(rows)
    assert same == rows
    assert [type(x) for x in moves.layers] == [Split, Split, Concat, Shuffle]
    assert layers_cost(moves.layers) == (0, 0, 0)
    assert with_movements(operators(SPACE_OF_NONE)) == [*operators(SPACE_OF_NONE)]


SPACE_OF_NONE = Arch((Stage(8, 2, 2, Block(se=0.25)),), Stem(8), resolution=16)


def test_by_that_row_its_time_is_told_from_the_convolutions():
    rows = with_movements(Trellis(SPACE).rows)
    model = fit_blocks(rows, [true_ms(row) for row in rows])
    moves = [row for row in rows if all(isinstance(x, MOVES) for x in row.layers)]
    assert len(moves) == 4  # widths of two stages
    for row in moves:
        assert model.row_ms(row) + model.alone[1] == pytest.approx(true_ms(row), rel=0.05)


@pytest.mark.parametrize(("half", "blocked"), [(58, False), (56, True), (4, True), (6, False)])
def test_channels_that_fill_no_block_are_told_apart(half, blocked):
    """ShuffleNetV2's 58 channels take ONNX Runtime much longer than 56 or 60."""
    row = unit(2 * half, 2 * half, 1)
    odd = {name for name in row_counts(row) if "unblocked" in name}
    assert odd == (
        set()
        if blocked
        else {
            "conv1.unblocked.calls", "conv1.unblocked.macs",
            "depthwise3.stride1.unblocked", "depthwise.unblocked.calls",
        }
    )  # fmt: skip


def test_the_written_table_has_lines_of_it(tmp_path):
    trellis = Trellis(SPACE)
    effort = MeasurementEffort(blocks=60, calibrate=8, validate=8, repeat=0)
    said = [StringIO(), StringIO()]  # measured, and read back
    for text in said:
        open_latencies(trellis, Device(), effort, tmp_path, Console(file=text, width=500))
    assert said[0].getvalue() == said[1].getvalue() != ""
    assert "run to run" not in said[0].getvalue()  # since none was timed twice
    table = Lookup(str(tmp_path / "table.csv"))
    rows = with_movements(trellis.rows)
    times = {row.layers: table.row_ms(row, SPACE.resolution) for row in rows}
    whole, moves = with_movements([unit(16, 16, 1, 8)])
    assert 0 < times[moves.layers] < times[whole.layers]
