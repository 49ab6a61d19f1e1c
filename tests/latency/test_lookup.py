"""Latency from a CSV: published tables as they are, our own read back, bad files in one line."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SHARED, needs_shared, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import SPACES

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.dense import DENSE_HEADS
from nas.arch.layers import Dropout, Operator
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency import csv_table as table_file
from nas.latency.block_features import row_form, signature
from nas.latency.csv_table import COLUMNS
from nas.latency.lookup import Lookup
from nas.latency.range import latency_range
from nas.latency.store import LatencySource
from nas.space.choices import fill, random_picks
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import PUBLISHED

PHONES = SHARED / "data" / "mbconv_latency_lut_phones.csv"
NET = Arch((Stage(16, 2, 2, Block(kernel=5, se=0.25, act="hswish")),), Stem(8), Head(32), 32)
BLOCK = operators(NET)[2]


def write(path: Path, lines: Iterable[Mapping[str, Any]], columns: Iterable[str] = COLUMNS) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(lines)
    return str(path)


def timed(rows: Iterable[Operator]) -> list[dict[str, Any]]:
    """A line for each distinct row, with a time of its own."""
    lines = {str(signature(row)): signature(row) for row in rows}
    return [line | {"ms": 0.1 + i / 7} for i, line in enumerate(lines.values())]


# ---- the Samsung Note10's table, as once-for-all published it


def note10() -> Arch:
    """The network that was specialised for 30 ms on the Note10."""
    net = reference("note10_lat30")
    acts = {"relu": "relu", "h_swish": "hswish"}
    stages = tuple(
        Stage(
            b["cout"], 1, b["s"],
            Block("mbconv", b["k"], b["e"], 0.25 * b["se"], acts[b["act"]], "expanded", "hsigmoid",
                  "relu", bool(b["skip"])),
        )
        for b in net["blocks"]
    )  # fmt: skip
    head = Head(net["final_expand"], "hswish", net["feature_mix"], "conv")
    return Arch(stages, Stem(net["stem"], act=acts[net["stem_act"]]), head, net["resolution"])


@needs_shared
def test_the_note10s_table_knows_the_network_made_for_it():
    arch = note10()
    hidden = [signature(row)["hidden"] for row in operators(arch)[1:17]]
    assert hidden == [block["mid"] for block in reference("note10_lat30")["blocks"]]
    table = Lookup(str(PHONES), device="note10")
    found = table.measure(arch)
    assert found.median_ms == pytest.approx(29.97, abs=0.01)
    assert (found.runs, found.noisy, found.iqr_ms) == (0, False, 0)
    assert found.ci_low_ms == found.ci_high_ms == found.median_ms
    # the resolution decides: once-for-all's tables differ where the sides agree
    whole = table.measure_rows([operators(arch)])[0]
    assert whole == found
    with pytest.raises(UserError, match=r"two times for head .* in line \d+, .* in line \d+"):
        table.row_ms(operators(arch)[17])


@needs_shared
def test_a_file_of_several_phones_needs_one_named():
    with pytest.raises(UserError, match=r"latency\.device= \(there is: note10, pixel1\)"):
        Lookup(str(PHONES))
    with pytest.raises(UserError, match=r"device 'pixel2'; did you mean pixel1"):
        Lookup(str(PHONES), device="pixel2")


@needs_shared
def test_the_pixels_table_holds_ratios_and_lacks_what_it_lacks():
    pixel = Lookup(str(PHONES), device="pixel1")
    head = replace(Head(1280), act="relu6")
    blocks = Block(kernel=5, expand=6, act="relu6")
    arch = Arch((Stage(16, 1, 1, replace(blocks, expand=1)), Stage(24, 1, 2, blocks)), head=head)
    first, second = operators(arch)[1:3]
    assert pixel.row_ms(second) == pytest.approx(18.941261, abs=1e-6)
    assert pixel.row_ms(first, 224) == pytest.approx(6.818763, abs=1e-6)
    with pytest.raises(UserError) as caught:
        pixel.row_ms(operators(PUBLISHED["mobilenet_v2"])[-2])
    assert "no line for the block pool pool_c1280-1280_r7: looked for op=pool" in str(caught.value)
    assert str(PHONES) in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- tables of our own


@settings(max_examples=30)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 10_000))
def test_a_written_table_is_read_back_with_every_row(tmp_path_factory, name, seed):
    rng = random.Random(seed)
    archs = [fill(SPACES[name], random_picks(SPACES[name], rng)) for _ in range(3)]
    lines = timed(row for arch in archs for row in operators(arch))
    known = {str({k: v for k, v in line.items() if k != "ms"}): line["ms"] for line in lines}
    path = tmp_path_factory.mktemp("table") / "t.csv"
    table = Lookup(write(path, [*lines, {"op": "network", "ms": 0.5}]))
    for arch in archs:
        expected = [known[str(signature(row))] for row in operators(arch)]
        assert [table.row_ms(row) for row in operators(arch)] == expected
        total = 0.5
        for ms in expected:
            total += ms
        assert table.measure(arch).median_ms == total


@settings(max_examples=30)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 10_000))
def test_two_rows_share_a_line_exactly_when_they_compute_alike(name, seed):
    rng = random.Random(seed)
    space = SPACES[name]
    rows = [r for _ in range(3) for r in operators(fill(space, random_picks(space, rng)))]
    layers = {r: tuple(x for x in r.layers if not isinstance(x, Dropout)) for r in rows}
    computed = {(signature(r)["op"], layers[r], r.residual) for r in rows}
    assert len({str(signature(r)) for r in rows}) == len(computed)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v3_small", "efficientnet_b0", *(
    f"{head}_mobilenet_v3_large" for head in DENSE_HEADS
)])  # fmt: skip
def test_every_published_network_can_be_written(name, tmp_path):
    rows = operators(PUBLISHED[name])
    table = Lookup(write(tmp_path / "t.csv", timed(rows)))
    assert table.measure(PUBLISHED[name]).median_ms > 0
    assert all(set(signature(row)) < set(COLUMNS) for row in rows)


def test_what_a_signature_says():
    assert signature(BLOCK) == {
        "op": "mbconv", "in_hw": 8, "in_c": 16, "out_hw": 8, "out_c": 16, "kernel": 5,
        "first_kernel": 0, "stride": 1, "hidden": 96, "squeeze": 4, "se": 1, "act": "hswish",
        "hs": 1, "se_act": "hswish",
        "se_gate": "sigmoid", "residual": 1, "linear": 1,
    }  # fmt: skip
    assert row_form(BLOCK) == "stage1_block2 mbconv_k5_s1_c16-96-16_r8_se4_hswish"
    assert [signature(row)["op"] for row in operators(NET)] == [
        "stem", "mbconv", "mbconv", "head", "pool", "classifier"
    ]  # fmt: skip
    blocks = tuple(Block(op, act="relu6") for op in ("fused", "separable", "conv", "identity"))
    rows = operators(Arch((Stage(24, 4, 2, blocks),), Stem(8), Head(0, hidden=7), 32))
    seen = [(signature(r)["op"], signature(r)["hidden"], signature(r)["act"]) for r in rows]
    assert seen[1:4] == [("fused", 48, "relu6"), ("separable", 24, "relu6"), ("conv", 0, "relu6")]
    assert signature(rows[5])["op"] == "hidden"
    assert signature(rows[5])["kernel"] == 0


# ---- which line counts


def test_an_empty_cell_and_an_absent_column_match_anything(tmp_path):
    lines = [{"op": "mbconv", "kernel": 5, "stride": "", "ms": 2}, {"op": "stem", "ms": 1}]
    table = Lookup(write(tmp_path / "t.csv", lines, ("op", "kernel", "stride", "ms")))
    assert table.row_ms(BLOCK) == table.row_ms(operators(NET)[1]) == 2
    assert table.overhead_ms == 0


def test_of_two_lines_the_fuller_counts(tmp_path):
    lines = [{"op": "mbconv", "ms": 1}, {"op": "mbconv", "stride": 1, "ms": 2},
             {"op": "mbconv", "stride": 1, "se": 1, "ms": 3}]  # fmt: skip
    for order in (lines, lines[::-1]):
        table = Lookup(write(tmp_path / "t.csv", order))
        assert table.row_ms(BLOCK) == 3
        assert table.row_ms(operators(NET)[1]) == 1


@pytest.mark.parametrize("other", [{"se": 1}, {"kernel": 5}])
def test_a_tie_names_both_lines(tmp_path, other):
    lines = [{"op": "stem", "ms": 9}, {"op": "mbconv", "kernel": 5, "ms": 1}]
    path = write(tmp_path / "t.csv", [*lines, {"op": "mbconv", "ms": 2} | other])
    table = Lookup(path)
    with pytest.raises(
        UserError, match=r"two times for stage1_block2 .*: 1 ms in line 3, 2 ms in l"
    ):
        table.row_ms(BLOCK)
    assert table.row_ms(operators(NET)[0]) == 9
    same = write(tmp_path / "t.csv", [*lines, {"op": "mbconv", "ms": 1} | other])
    assert Lookup(same).row_ms(BLOCK) == 1


def test_the_resolution_decides_where_it_is_known(tmp_path):
    lines = [{"op": "mbconv", "ms": ms, "resolution": r} for ms, r in ((1, 32), (2, 64))]
    table = Lookup(write(tmp_path / "t.csv", lines))
    assert (table.row_ms(BLOCK, 32), table.row_ms(BLOCK, 64)) == (1, 2)
    with pytest.raises(UserError, match="two times"):
        table.row_ms(BLOCK)
    with pytest.raises(UserError, match="looked for op=mbconv resolution=96"):
        table.row_ms(BLOCK, 96)


def test_a_devices_own_lines_and_those_of_any(tmp_path):
    lines = [{"op": "mbconv", "ms": 1, "device": "a"}, {"op": "mbconv", "ms": 2, "device": "b"},
             {"op": "mbconv", "ms": 3}, {"op": "pool", "ms": 4}]  # fmt: skip
    path = write(tmp_path / "t.csv", lines)
    assert [Lookup(path, device=d).row_ms(BLOCK) for d in "ab"] == [1, 2]
    assert Lookup(path, device="b").row_ms(operators(NET)[4]) == 4
    one = write(tmp_path / "one.csv", lines[:1])
    assert Lookup(one).row_ms(BLOCK) == Lookup(one, device="a").row_ms(BLOCK) == 1
    with pytest.raises(UserError, match=r"unknown latency\.device 'c' \(allowed: none\)"):
        Lookup(write(tmp_path / "none.csv", lines[2:]), device="c")


def test_a_constant_is_added_to_networks_and_not_to_parts(tmp_path):
    lines = timed(operators(NET))
    path = write(tmp_path / "t.csv", [*lines, {"op": "network", "ms": 0.25}])
    table = Lookup(path)
    assert table.overhead_ms == 0.25
    whole = table.measure_rows([operators(NET)])[0].median_ms
    assert table.measure(NET).median_ms == pytest.approx(whole + 0.25)
    write(tmp_path / "t.csv", [*lines, *({"op": "network", "ms": ms} for ms in (1, 2))])
    with pytest.raises(
        UserError, match="two times for the network: 1 ms in line 8, 2 ms in line 9"
    ):
        Lookup(path)


def test_the_identity_follows_the_content(tmp_path):
    def identity(ms: float) -> dict[str, Any]:
        return Lookup(write(tmp_path / "t.csv", [{"op": "stem", "ms": ms}])).identity()

    assert identity(1) == identity(1) != identity(2)


# ---- files that are none


BAD = [
    ("op,kernel\nstem,3\n", "lacks the column ms"),
    ("kernel\n3\n", "lacks the column ms and op"),
    ("", "lacks the column ms and op"),
    ("op,ms\n", "has a header but no lines"),
    ("op,ms\nstem,1\nhead,fast\n", "line 3: ms must be a number from 0 to 1e+09, not 'fast'"),
    ("op,ms\nstem,-1\n", "line 2: ms must be a number from 0 to 1e+09, not '-1'"),
    ("op,ms\nstem,nan\n", "line 2: ms must be a number from 0 to 1e+09, not 'nan'"),
    ("op,ms\nstem,inf\n", "line 2: ms must be a number"),
    ("op,ms\nstem,\n", "line 2: ms must be given"),
    ("op,ms\n,1\n", "line 2: op must be given"),
    ("op,ms\nmbconf,1\n", "line 2: unknown op 'mbconf'; did you mean mbconv"),
    ("op,act,ms\nstem,gelu,1\n", "line 2: unknown act 'gelu'"),
    ("op,kernel,ms\nstem,2.5,1\n", "line 2: kernel must be a whole number, not '2.5'"),
    ("op,kernel,ms\nstem,big,1\n", "line 2: kernel must be a number"),
    ("op,ms\nstem,1,2\n", "line 2 must have as many cells as the header"),
    ("op,ms\nstem\n", "line 2 must have as many cells as the header"),
    ('op,ms\n"stem"x,1\n', "line 2: not CSV"),
    ("op,Kernel,ms\nstem,3,1\n", ": the column 'Kernel' is nearly kernel: write kernel"),
    ("op,kernel ,ms\nstem,3,1\n", ": the column 'kernel ' is nearly kernel"),
    ("op,k,ms\nstem,3,1\n", ": the column 'k' is nearly kernel"),
    ("op,kernel_size,ms\nstem,3,1\n", ": the column 'kernel_size' is nearly kernel"),
    ("op,out_ch,ms\nstem,3,1\n", ": the column 'out_ch' is nearly out_c"),
    ("op,IdSkip,ms\nstem,3,1\n", ": the column 'IdSkip' is nearly idskip"),
    ("OP,MS\nstem,3\n", ": the column 'OP' is nearly op"),
    ("op,ms,ms\nstem,3,1\n", " has ms in two columns, ms, ms: leave one"),
    ("op,ms,mean_ms\nstem,3,1\n", " has ms in two columns, ms, mean_ms: leave one"),
    ("op,ms,kernel,kernel\nstem,3,1,3\n", " has kernel in two columns"),
    ("op,ms,resolution\nnetwork,3,28\n", "line 2: network is one time for all networks: leave r"),
    ("op,ms,unit\nstem,3,ms\nhead,3,us\n", "line 3: unit must be ms, not 'us'"),
    ("op,ms\nstem,1e308\n", "line 2: ms must be a number from 0 to 1e+09, not '1e308'"),
    ("op,ms\nstem,1_0\n", "line 2: ms must be a number from 0 to 1e+09, not '1_0'"),
    ("op,ms\nstem,1e-400\n", "line 2: ms must be a number from 0 to 1e+09, not '1e-400'"),
    ("op,ms\nstem,\u0661\n", "line 2: ms must be a number"),
    ("op,in_c,expand_or_mid,ms\nmbconv,8,wide,1\n", "line 2: expand_or_mid must be a number"),
    ("op,ms,curve\nstem,1,0.1 1 9\n", "line 2: a curve is of op network: leave it empty elsewh"),
    ("op,ms,curve\nnetwork,1,0.1 1\n", "line 2: curve must be three numbers, bend low_ms high_"),
    ("op,ms,curve\nnetwork,1,9 1 9\n", "line 2: curve must be three numbers"),
    ("op,ms,curve\nnetwork,1,0 1 9\nnetwork,1,\n", " says two times for the network: 1 ms in"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_file_is_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        Lookup(str(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_columns_are_passed_over(tmp_path):
    line = {"op": "mbconv", "ms": 2, "std": 1, "count": 9, "median_ms": 2, "": 0, "unit": "ms"}
    assert Lookup(write(tmp_path / "t.csv", [line], line)).row_ms(BLOCK) == 2


def test_a_latency_of_no_time_is_refused_with_the_file(tmp_path):
    path = write(tmp_path / "t.csv", [line | {"ms": 0} for line in timed(operators(NET))])
    with pytest.raises(UserError, match=r"/t\.csv says that a whole network takes 0 ms"):
        Lookup(path).measure(NET)
    latencies = LatencySource(Lookup(path), None, Trellis(NET))
    with pytest.raises(UserError, match=r"/t\.csv says that a whole network takes 0 ms"):
        latency_range(latencies)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"absent\.csv: No such file"):
        Lookup(str(tmp_path / "absent.csv"))
    with pytest.raises(UserError, match="directory"):
        Lookup(str(tmp_path))
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a CSV file"):
        Lookup(str(tmp_path / "t.csv"))


def test_every_column_is_documented():
    assert table_file.__doc__
    assert all(f"{column}" in table_file.__doc__ for column in (*COLUMNS, *table_file.words("op")))
