"""The latency table, built on a device whose true times are known."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nas.arch.cost import layers_cost
from nas.arch.layers import Conv, SqueezeExcite
from nas.arch.operators import operators
from nas.core.errors import UserError
from nas.latency.build import build_table, choose_blocks, choose_networks
from nas.latency.lookup import Lookup
from nas.latency.model import column_names, fit_blocks, matrix, row_counts
from nas.latency.range import latency_range
from nas.latency.store import LatencySource, open_latencies, saved_table, table_folder
from nas.latency.table import LatencyTable, MeasurementEffort
from nas.latency.timing import Timing
from nas.latency.timing_journal import TimingJournal
from nas.space.choices import choices, fill
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import PUBLISHED
from search_spaces.mbconv import mbconv

SPACE = mbconv(
    kernels=(3, 5), acts=("relu", "hswish"), depths=(0, 1, 2), width=0.25, resolution=32,
    heads=(160, 320), classes=10,
)  # fmt: skip
EFFORT = MeasurementEffort(blocks=80, calibrate=20, validate=40, repeat=4)
SILENT = Console(quiet=True)


def true_ms(rows) -> float:
    """A device whose times are no sum of our counts: roots, steps, and cold caches inside."""
    total = 0.0
    for row in rows:
        macs, params, _ = layers_cost(row.layers)
        total += 2e-3 + 1e-8 * macs**1.02 + 3e-7 * math.sqrt(params)
        total += sum(4e-3 for layer in row.layers if isinstance(layer, SqueezeExcite))
        odd = [x for x in row.layers if isinstance(x, Conv) and x.cout % 16]
        total += 1e-3 * len(odd)
    return total * (1.0 if len(rows) == 1 else 1.1)


class Device:
    """Counts what it is asked; it is killed after `fails_after` timings."""

    name = "device"

    def __init__(self, noise=0.005, fails_after=math.inf, speed=1.0):
        self.noise, self.fails_after, self.speed, self.asked = noise, fails_after, speed, []
        self.rng = np.random.default_rng(0)

    def measure_rows(self, parts, padding="symmetric", on_timing=None):
        timings = []
        for i, rows in enumerate(parts):
            ms = (true_ms(rows) * self.speed + 0.005) * math.exp(self.rng.normal(0, self.noise))
            timings.append(Timing(ms, 0.1 * ms, 0.99 * ms, 1.01 * ms, 10, False))
            self.asked.append(rows)
            if len(self.asked) > self.fails_after:
                raise KeyboardInterrupt
            if on_timing:
                on_timing(i, timings[-1])
        return timings

    def measure_many(self, archs, on_timing=None):
        return self.measure_rows([operators(arch) for arch in archs], on_timing=on_timing)

    def identity(self):
        return {"backend": self.name, "speed": self.speed}

    def describe(self):
        return self.identity()


@pytest.fixture(scope="module")
def trellis():
    return Trellis(SPACE)


@pytest.fixture(scope="module")
def built(trellis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    device = Device()
    found = open_latencies(trellis, device, EFFORT, folder, SILENT)
    return folder, device, found.source


def test_the_table_tells_the_latency_of_networks_it_never_saw(built):
    _, _, table = built
    assert table.validation["num_networks"] == 40
    assert table.validation["mape"] < 0.02
    assert table.validation["within_10"] > 0.97
    assert table.validation["spearman"] > 0.98
    for name, (low, high) in table.validation["intervals"].items():
        assert low <= table.validation[name] <= high
    assert len(table.blocks) == 80 < table.num_keys


def test_it_learns_what_a_block_adds_to_a_network(built, trellis):
    _, _, table = built
    assert all(value >= 0 for value in table.model.coefficients.values())
    inside = np.array([1.1 * true_ms([row]) for row in trellis.rows])  # caches are colder there
    shares = np.array([table.row_ms(row) for row in trellis.rows])
    heavy = inside > np.median(inside)
    assert np.abs(shares / inside - 1)[heavy].mean() < 0.1


def test_100_000_networks_at_once_are_what_they_are_one_by_one(built, trellis):
    _, _, table = built
    values = np.array([table.row_ms(row) for row in trellis.rows])
    genomes = trellis.random(300, np.random.default_rng(1))
    together = table.whole_ms(trellis.totals(values, genomes))
    archs = [fill(SPACE, picks) for picks in trellis.decode(genomes)]
    assert [t.median_ms for t in table.measure_many(archs)] == together.tolist()


def test_the_written_csv_is_the_table(built, trellis):
    folder, _, table = built
    lookup = Lookup(str(folder / "table.csv"))
    genomes = trellis.random(50, np.random.default_rng(2))
    archs = [fill(SPACE, picks) for picks in trellis.decode(genomes)]
    ours, read = ([t.median_ms for t in x.measure_many(archs)] for x in (table, lookup))
    assert read == pytest.approx(ours, rel=1e-12)


def test_a_saved_table_is_read_back_and_nothing_is_measured_again(built, trellis):
    folder, _, table = built
    assert saved_table(folder) == table
    device = Device(fails_after=0)
    again = open_latencies(trellis, device, EFFORT, folder, SILENT)
    assert again.source == table
    assert not device.asked


def test_killed_in_the_middle_it_goes_on_where_it_was(built, trellis, tmp_path):
    _, whole, _ = built
    for calls in (30, 90, 125):
        folder = tmp_path / str(calls)
        folder.mkdir()
        killed = Device(noise=0, fails_after=calls)
        with pytest.raises(KeyboardInterrupt):
            open_latencies(trellis, killed, EFFORT, folder, SILENT)
        journal = folder / "measured.jsonl"
        journal.write_bytes(journal.read_bytes()[:-7])  # cut in the middle of its last line
        rest = Device(noise=0)
        found = open_latencies(trellis, rest, EFFORT, folder, SILENT)
        assert len(rest.asked) == len(whole.asked) - calls + 1
        assert found.source.validation["num_networks"] == 40


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "table.json").write_text('{"model": 3')
    with pytest.raises(UserError, match=r"table\.json is damaged: delete it"):
        saved_table(tmp_path)


@pytest.mark.parametrize("odd", ["x", [3]])
@pytest.mark.parametrize("key", ["", "model", "validation", "num_keys", "seconds", "blocks",
    "model.overhead_ms", "model.alone", "model.coefficients", "model.curve", "validation.mape",
    "validation.intervals"])  # fmt: skip
def test_a_table_of_odd_json_is_damaged(built, tmp_path, key, odd):
    data = json.loads(json.dumps(built[2].to_json()))
    *outer, last = key.split(".")
    place = data
    for name in outer:
        place = place[name]
    place[last] = odd
    (tmp_path / "table.json").write_text(json.dumps(data if key else odd))
    with pytest.raises(UserError, match=r"table\.json is damaged: delete it"):
        saved_table(tmp_path)


def test_a_table_without_an_overhead_is_damaged(built, tmp_path):
    data = json.loads(json.dumps(built[2].to_json()))
    for odd in (math.nan, math.inf, -1, None, "3"):
        data["model"]["overhead_ms"] = odd
        (tmp_path / "table.json").write_text(json.dumps(data))
        with pytest.raises(UserError, match=r"table\.json is damaged"):
            saved_table(tmp_path)


def test_below_a_bar_it_warns_and_strict_refuses(trellis, tmp_path):
    console = Console(width=300, file=io.StringIO())
    open_latencies(trellis, Device(noise=0.2), EFFORT, tmp_path, console)
    said = console.file.getvalue()
    assert "not to be relied on: its mean error is" in said
    with pytest.raises(UserError, match="refused") as refused:
        open_latencies(trellis, Device(), EFFORT, tmp_path, SILENT, strict=True)
    assert "\n" not in str(refused.value)


def test_strict_refuses_a_table_that_nothing_tested(trellis, tmp_path):
    (tmp_path / "t.csv").write_text("op,ms\nstem,1\n")
    table = Lookup(str(tmp_path / "t.csv"))
    assert open_latencies(trellis, table, EFFORT, tmp_path, SILENT).source is table
    with pytest.raises(UserError, match=r"strict=true .*t\.csv is: leave strict") as refused:
        open_latencies(trellis, table, EFFORT, tmp_path, SILENT, strict=True)
    assert "\n" not in str(refused.value)


def test_equal_devices_share_a_folder_and_others_do_not(trellis):
    def folder(space=SPACE, device=None, effort=EFFORT):
        return table_folder("results", "mbconv", space, device or Device(), effort)

    assert folder() == folder()
    others = [folder(device=Device(speed=2.0)), folder(effort=MeasurementEffort()),
              folder(space=mbconv(width=0.5, resolution=32))]  # fmt: skip
    assert len({folder(), *others}) == 4


def test_blocks_to_time_are_all_where_there_are_few_and_telling_where_there_are_many(trellis):
    rng = np.random.default_rng(0)
    assert set(choose_blocks(trellis.rows, 10**6, rng)) == set(trellis.rows)
    chosen = choose_blocks(trellis.rows, 60, rng)
    assert len(set(chosen)) == 60
    assert column_names(chosen) == column_names(trellis.rows)


def test_networks_are_spread_evenly_over_the_range_and_hold_its_ends(trellis):
    values = np.array([true_ms([row]) for row in trellis.rows])
    genomes = choose_networks(trellis, values, 60, np.random.default_rng(0))
    ms = trellis.totals(values, genomes)
    ends = [trellis.extreme(values, most=most)[0] for most in (False, True)]
    assert ms[-2:].tolist() == pytest.approx(ends)
    assert len({tuple(row) for row in trellis.row_ids(genomes)}) == 60
    shares = np.diff(np.sort(np.log(ms))) / np.log(ends[1] / ends[0])
    assert shares.max() < 0.12


def test_a_network_outside_the_space_is_measured_whole(built, trellis):
    _, device, table = built
    foreign = PUBLISHED["mobilenet_v2"]
    with pytest.raises(UserError, match="knows no relu6"):
        table.measure_many([foreign])
    both = LatencySource(table, device, trellis)
    inside = fill(SPACE, {k: v[0] for k, v in choices(SPACE).items()})
    wider = replace(inside, stem=replace(inside.stem, width=16))  # layers of known kinds
    timings = both.measure_many([foreign, inside, wider])
    assert [timing.runs for timing in timings] == [10, 0, 10]


def test_too_few_blocks_for_the_kinds_of_layer_are_refused_before_anything_is_timed(
    trellis, tmp_path
):
    device = Device()
    with pytest.raises(UserError, match=r"table\.blocks=5 is too few .*: \d+ or more are enough"):
        open_latencies(trellis, device, MeasurementEffort(blocks=5), tmp_path, SILENT)
    assert not device.asked


def test_a_space_of_few_networks_keeps_some_for_the_test(tmp_path):
    few = mbconv(
        kernels=[3], expands=[3], se=[0], acts=["relu"], depths=[1], widths=[1.0],
        heads=[160, 320, 480, 640, 800], width=0.25, resolution=32,
    )  # fmt: skip
    folder, trellis = tmp_path, Trellis(few)
    for _ in range(2):  # built, then read: figures that are not known are no reason to fail
        found = open_latencies(trellis, Device(), EFFORT, folder, SILENT)
        assert 1 <= found.source.validation["num_networks"] < 5
    for uneven in ({"calibrate": 4, "validate": 100}, {"calibrate": 100, "validate": 4}):
        effort, folder = replace(EFFORT, **uneven), tmp_path / str(uneven["calibrate"])
        found = open_latencies(trellis, Device(), effort, folder, SILENT)
        assert 1 <= found.source.validation["num_networks"] < 5
    fewer = mbconv(
        kernels=[3], expands=[3], se=[0], acts=["relu"], depths=[1], widths=[1.0],
        heads=[160, 320], width=0.25, resolution=32,
    )  # fmt: skip
    with pytest.raises(UserError, match="the space has only 2 networks"):
        open_latencies(Trellis(fewer), Device(), EFFORT, tmp_path / "fewer", SILENT)


def test_a_damaged_journal_costs_only_its_damaged_lines(trellis, tmp_path):
    journal = tmp_path / "measured.jsonl"
    open_latencies(trellis, Device(noise=0), EFFORT, tmp_path, SILENT)
    (tmp_path / "table.json").unlink()
    lines = journal.read_bytes().splitlines()
    wrong = [b"garbage}}", b"\xff}}", b'{"key": "a", "seconds": 1, "timing": {"x": 1}}', b"[]",
             lines[3].replace(b'"median_ms": ', b'"median_ms": -')]  # fmt: skip
    journal.write_bytes(b"\n".join(lines[:3] + wrong + lines[4:]))
    device = Device(noise=0)
    found = open_latencies(trellis, device, EFFORT, tmp_path, SILENT)
    assert len(device.asked) == 1
    assert found.source.seconds > 0


def test_the_survey_is_exact_and_refuses_what_cannot_be_reached(built, trellis):
    _, _, table = built
    found = latency_range(LatencySource(table, None, trellis))
    assert found.fastest[0] <= found.ms.min()
    assert found.slowest[0] >= found.ms.max()
    (fastest,) = table.measure_many([fill(SPACE, found.fastest[1])])
    assert fastest.median_ms == pytest.approx(found.fastest[0])
    found.require(found.fastest[0] * 1.01)
    words = r"is out of reach: the fastest network of the space takes.*\(data\.resolution=\)"
    with pytest.raises(UserError, match=words):
        found.require(found.fastest[0] * 0.99)
    assert found.share_within(math.inf) == 1


@pytest.mark.parametrize("field", ["blocks", "calibrate", "validate", "repeat"])
def test_effort_out_of_range_is_named(field):
    with pytest.raises(UserError, match=rf"table\.{field} must be a whole number"):
        MeasurementEffort(**{field: -1})


def test_counts_add_up(trellis):
    row = max(trellis.rows, key=lambda row: len(row.layers))
    counts = row_counts(row)
    conv_macs = sum(v for k, v in counts.items() if k.endswith("conv1.macs"))
    dense = [x for x in row.layers if isinstance(x, Conv) and x.groups == 1]
    assert conv_macs == sum(layers_cost((x,))[0] for x in dense)
    names = column_names([row])
    assert matrix([[row, row]], names)[0].tolist() == [2 * counts[n] for n in names]


def test_a_linear_device_is_learnt_exactly(trellis):
    rng = np.random.default_rng(0)
    names = column_names(trellis.rows)
    truth = dict(zip(names, rng.uniform(0, 1e-6, len(names)), strict=True))
    blocks = choose_blocks(trellis.rows, 200, rng)
    ms = [0.01 + sum(truth[k] * v for k, v in row_counts(row).items()) for row in blocks]
    model = fit_blocks(blocks, ms)
    rest = [row for row in trellis.rows if row not in set(blocks)][:200]
    predicted = [model.row_ms(row) for row in rest]
    assert predicted == pytest.approx(
        [sum(truth[k] * v for k, v in row_counts(row).items()) for row in rest], rel=1e-3
    )


def test_json_round_trip(built):
    _, _, table = built
    text = json.dumps(table.to_json())
    assert LatencyTable.from_json(json.loads(text)) == table


def test_build_says_how_far_it_is(trellis, tmp_path):
    said = []
    journal = TimingJournal(tmp_path / "measured.jsonl", Device(), SPACE.padding)
    journal.on_progress = lambda n, what: said.append((n, what))
    build_table(trellis, journal, EFFORT)
    assert [n for n, _ in said] == sorted(n for n, _ in said)
    assert said[-1] == (80 + 20 + 40 + 4, "again")
