"""Two roads to every figure: all networks at once here, one by one there; extremes by force."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaces import SPACES

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.layers import Operator
from nas.arch.operators import network_id, operators
from nas.arch.scaling import for_resolution
from nas.core.errors import UserError
from nas.space.choices import choices, fill, one_of
from nas.space.trellis.trellis import Trellis
from search_spaces.lookup import members
from search_spaces.mbconv import mbconv

LARGE = {**SPACES, "mbconv_28_quarter": for_resolution(mbconv(width=0.25), 28)}
ACTS = ("relu", "hswish")
NAMES = ("0", "1", "2")
SMALL = {
    "one choice": Arch((Stage(16, one_of(1, 2), 2),), resolution=16),
    "no choice": Arch((Stage(16, 2, 2),), resolution=16),
    "owed strides": Arch(
        (
            Stage(one_of(8, 16), one_of(0, 1), 2, Block(kernel=one_of(3, 5))),
            Stage(16, one_of(0, 2), 2, Block(expand=one_of(1, 3))),
            Stage(one_of(8, 24), one_of(0, 1, 2)),
            Stage(24, one_of(0, 1)),
        ),
        Stem(8),
        resolution=20,
    ),
    "shared names": Arch(
        (
            Stage(one_of(8, 16, name="w"), 1, 2, Block(act=one_of(*ACTS, name="act"))),
            Stage(one_of(8, 24), one_of(0, 1)),
            Stage(one_of(8, 16, name="w"), 2, 1, (Block(kernel=one_of(3, 5, name="k")),) * 2),
            Stage(one_of({3: 16, 5: 32}, name="k"), 1),
        ),
        Stem(8, act=one_of(*ACTS, name="act")),
        resolution=16,
    ),
    "blocks by label": Arch(
        (
            Stage(
                16,
                one_of(1, 2, 4),
                one_of(1, 2),
                tuple(
                    one_of({"0": Block("identity"), "1": Block(), "2": Block("fused", skip=False)})
                    for _ in range(3)
                ),
            ),
        ),
        Stem(one_of(8, 16)),
        resolution=10,
    ),
    "whole nodes": Arch(
        (
            one_of({"a": Stage(8), "b": Stage(16, 3, 2, (Block(), Block(kernel=5)))}),
            Stage(24, 2, 1, one_of({"p": Block("conv"), "q": (Block(), Block(se=0.25))})),
        ),
        one_of({"s": Stem(8), "t": Stem(16, 5, 1)}),
        one_of({"h": Head(0), "i": Head(64, hidden=32), "j": Head(64, hidden_layer="conv")}),
        resolution=one_of(8, 12),
        classes=one_of(10, 20),
    ),
    "stages as one": Arch(
        one_of({"one": (Stage(8, 2, 2),), "two": (Stage(8, 1, 2), Stage(16, 1, 1, Block(se=0.5)))}),
        head=Head(one_of(32, 64), dropout=one_of(0.0, 0.5)),
        resolution=16,
    ),
    "fractional ratios": Arch(
        tuple(
            Stage(w, 2, 2, Block("mbconv", 3, one_of(1, 2.3, 88 / 24), one_of(0, 0.25), "relu", s))
            for w, s in ((16, "input"), (24, "expanded"))
        ),
        Stem(12),
        resolution=16,
        drop_path=0.2,
    ),
    "a peak past skipped stages": Arch(
        (
            Stage(8, one_of(2, 0), 2, Block(se=0.25)),
            Stage(one_of(8, 16), one_of(3, 0), blocks=(Block("identity"), Block(kernel=5))),
        ),
        Stem(16),
        Head(0),
        resolution=9,
    ),
    "some too small": Arch(
        (Stage(8, one_of(0, 1), 2), Stage(16, one_of(0, 1), 2), Stage(24, one_of(1, 2), 2)),
        Stem(8),
        resolution=one_of(4, 8, 12),
    ),
}  # fmt: skip


@cache
def trellis_of(name: str) -> Trellis:
    return Trellis(LARGE[name] if name in LARGE else SMALL[name])


def identity(row: Operator) -> tuple[object, ...]:
    return row.layers, row.residual, row.place == "stem"


def everything(space: Arch) -> list[tuple[dict[str, object], Arch | None]]:
    """Every genome's picks, and its network unless its input is too small."""
    found = []
    for labels in itertools.product(*choices(space).values()):
        picks = dict(zip(choices(space), labels, strict=True))
        try:
            operators(fill(space, picks))
            found.append((picks, fill(space, picks)))
        except UserError:
            found.append((picks, None))
    return found


def by_one(trellis: Trellis, values: np.ndarray, archs: list[Arch]) -> tuple[list, list]:
    """Sums and peaks, one network and one row after another."""
    sums, peaks = [], []
    for arch in archs:
        t, most = 0, -np.inf
        for row in operators(arch):
            value = values[trellis.index(row)]
            t, most = t + value, max(most, value)
        sums.append(t)
        peaks.append(most)
    return sums, peaks


def check_equal(trellis: Trellis, genomes: np.ndarray, archs: list[Arch], seed: int = 0) -> None:
    """Ids, sums and costs of genomes equal those of their networks, bit by bit."""
    rng = np.random.default_rng(seed)
    ids = trellis.row_ids(genomes)
    assert ids.dtype == np.int32
    for row, arch in zip(ids, archs, strict=True):
        assert row[row >= 0].tolist() == [trellis.index(r) for r in operators(arch)]
    for values in (rng.random(len(trellis.rows)), rng.integers(-9, 10**9, len(trellis.rows))):
        sums, _ = by_one(trellis, values, archs)
        assert trellis.totals(values, genomes).tolist() == sums
    costs = [cost(arch) for arch in archs]
    for name, ours in trellis.costs(genomes)._asdict().items():
        assert ours.dtype == np.int64
        assert ours.tolist() == [getattr(c, name) for c in costs]


def check_extremes(trellis: Trellis, values: np.ndarray, archs: list[Arch]) -> None:
    """The ends of sum and peak are those of all networks, and the picks attain them."""
    for peak, all_values in enumerate(by_one(trellis, values, archs)):
        for most in (False, True):
            value, picks = trellis.extreme(values, most=most, peak=bool(peak))
            best = max(all_values) if most else min(all_values)
            assert value == (best if values.dtype.kind == "i" else pytest.approx(best, rel=1e-12))
            own = by_one(trellis, values, [fill(trellis.space, picks)])[peak]
            assert own == [value]


def check_space(space: Arch, seed: int) -> None:
    """All of the above over the whole of a small space, and its rows are exactly those used."""
    networks = everything(space)
    good = [(picks, arch) for picks, arch in networks if arch is not None]
    if not good:
        with pytest.raises(UserError, match="too small for strides of"):
            Trellis(space)
        return
    trellis = Trellis(space)
    archs = [arch for _, arch in good]
    rows = {identity(row) for arch in archs for row in operators(arch)}
    assert len(trellis.rows) == len(rows)
    assert {identity(row) for row in trellis.rows} == rows
    assert [trellis.index(row) for row in trellis.rows] == list(range(len(rows)))
    genomes = trellis.encode([picks for picks, _ in good])
    assert trellis.decode(genomes) == [picks for picks, _ in good]
    check_equal(trellis, genomes, archs, seed)
    rng = np.random.default_rng(seed)
    check_extremes(trellis, rng.integers(-20, 20, len(rows)), archs)
    check_extremes(trellis, rng.normal(size=len(rows)), archs)
    for picks in [picks for picks, arch in networks if arch is None][:3]:
        with pytest.raises(UserError, match="too small for strides of"):
            trellis.row_ids(trellis.encode([picks]))


@pytest.mark.parametrize("name", SMALL)
def test_the_whole_of_small_spaces(name):
    for seed in range(5):
        check_space(SMALL[name], seed)


class Draw:
    """Values and holes for a space of few genomes; names x and y are shared by any fields."""

    def __init__(self, seed: int) -> None:
        self.rng, self.left = random.Random(seed), 5

    def one(self, *options):
        return self.rng.choice(options)

    def hole(self, *options):
        kind = self.one("plain", "own", "shared") if self.left else "plain"
        if kind == "plain":
            return self.one(*options)
        pair = self.one(*options), self.one(*options)
        self.left -= kind == "own"
        if kind == "own":
            return one_of(*pair)
        return one_of(dict(zip("ab", pair, strict=True)), name=self.one("x", "y"))

    def block(self):
        op = self.hole("mbconv", "fused", "separable", "conv", "identity")
        ratios = {"expand": self.hole(1, 2, 2.3), "se": self.hole(0, 0.25)}
        return Block(op, self.hole(3, 5), **ratios, skip=self.hole(True, False))

    def stage(self):
        blocks = [self.block() for _ in range(self.one(1, 2, 3))]
        whole = blocks[0] if self.one(True, False) else tuple(blocks)
        return Stage(self.hole(8, 16), self.hole(0, 1, 2, 3), self.hole(1, 2), whole)


@given(st.integers(0, 2**32))
@settings(max_examples=120)
def test_the_whole_of_any_space(seed):
    draw = Draw(seed)
    space = Arch(
        tuple(draw.stage() for _ in range(draw.one(1, 2, 3, 4))),
        Stem(draw.hole(8, 16), stride=draw.hole(1, 2)),
        Head(draw.hole(0, 16, 32), hidden=draw.hole(0, 8)),
        draw.hole(1, 2, 5, 9, 16),
        draw.one(1, 3),
        draw.hole(4, 10),
    )
    check_space(space, seed)


@pytest.mark.parametrize("name", LARGE)
def test_random_networks_of_large_spaces(name):
    trellis = trellis_of(name)
    genomes = trellis.random(60, np.random.default_rng(1))
    check_equal(trellis, genomes, [fill(trellis.space, p) for p in trellis.decode(genomes)])


@given(st.integers(0, 2**32), st.sampled_from(sorted(LARGE)))
@settings(max_examples=30)
def test_any_network_of_a_large_space(seed, name):
    trellis = trellis_of(name)
    genome = trellis.random(1, np.random.default_rng(seed))
    check_equal(trellis, genome, [fill(trellis.space, trellis.decode(genome)[0])], seed)


def test_all_of_nas_bench_macro():
    trellis = trellis_of("nas_bench_macro")
    genomes = trellis.encode(
        [dict(zip(trellis.keys, code, strict=True)) for code in itertools.product(NAMES, repeat=8)]
    )
    archs = [fill(trellis.space, picks) for picks in trellis.decode(genomes)]
    assert trellis.costs(genomes).macs.tolist() == [cost(arch).macs for arch in archs]
    rows = {tuple(row[row >= 0]) for row in trellis.row_ids(genomes)}
    assert len(rows) == len({network_id(arch) for arch in archs}) == 3969  # Su et al. 2021


@pytest.mark.parametrize("name", ["mbconv", "mobilenet_v3_large"])
def test_published_networks_are_in_the_trellis(name):
    trellis = trellis_of(name)
    inside = members(trellis.space)
    genomes = trellis.encode(list(inside.values()))
    assert inside
    check_equal(trellis, genomes, [fill(trellis.space, picks) for picks in inside.values()])


@pytest.mark.parametrize(
    ("name", "body"),
    [("mbconv_28_quarter", 6848), ("mbconv", 28808), ("mobilenet_v3_large", 22884)],
)
def test_how_many_rows_a_space_has(name, body):
    rows = trellis_of(name).rows  # counted once by enumerating states in another program
    assert sum(row.place.startswith("stage") for row in rows) == body
    assert [row.place for row in rows].index("stem") == 0
    assert rows[-1].place == "classifier"


@pytest.mark.parametrize("name", LARGE)
def test_nothing_random_is_beyond_the_extremes(name):
    trellis = trellis_of(name)
    rng = np.random.default_rng(2)
    genomes = trellis.random(10_000, rng)
    for values in (trellis.row_costs.macs, rng.random(len(trellis.rows))):
        ids = trellis.row_ids(genomes)
        peaks = np.where(ids < 0, 0, values[ids]).max(-1)
        for peak, others in enumerate((trellis.totals(values, genomes), peaks)):
            for most in (False, True):
                value, picks = trellis.extreme(values, most=most, peak=bool(peak))
                assert (-value if most else value) <= (others * (-1 if most else 1)).min()
                assert by_one(trellis, values, [fill(trellis.space, picks)])[peak] == [value]


def test_random_genomes_are_uniform_and_repeatable():
    trellis = trellis_of("mbconv")
    genomes = trellis.random(20_000, np.random.default_rng(3))
    assert (genomes == trellis.random(20_000, np.random.default_rng(3))).all()
    for column, labels in zip(genomes.T, choices(trellis.space).values(), strict=True):
        share = np.bincount(column, minlength=len(labels)) / 20_000
        assert np.abs(share - 1 / len(labels)).max() < 0.02  # over 4.5 standard errors


def test_two_trellises_are_equal():
    one, other = (Trellis(SMALL["shared names"]) for _ in range(2))
    assert one.rows == other.rows
    assert one.keys == other.keys == tuple(choices(SMALL["shared names"]))


def test_no_networks_cost_nothing():
    trellis = trellis_of("mbconv_28")
    none = trellis.random(0, np.random.default_rng(0))
    assert trellis.decode(none) == []
    assert all(array.shape == (0,) for array in trellis.costs(none))


def test_too_many_shared_combinations_are_refused():
    kernel, width = one_of(*range(1, 31, 2), name="k"), one_of(*range(8, 88, 8), name="w")
    ratio = one_of(*range(1, 31), name="e")
    stage = Stage(width, blocks=Block(kernel=kernel, expand=ratio))
    with pytest.raises(UserError, match=r"4500 combinations of the choices w, k, e, .*4096"):
        Trellis(Arch((stage, stage)))


@pytest.mark.parametrize(
    ("name", "options"),
    [("padding", ("same", "symmetric")), ("bn_eps", (1e-3, 1e-5)), ("bn_momentum", (0.01, 0.1)),
     ("drop_path", (0.0, 0.2))],
)  # fmt: skip
def test_a_choice_that_is_in_no_row_is_refused(name, options):
    space = replace(SMALL["one choice"], **{name: one_of(*options)})
    with pytest.raises(UserError, match=f"{name} cannot be chosen: give one value"):
        Trellis(space)


@pytest.mark.parametrize(("picks", "message"), [
    ({}, "the choice stages.0.depth is missing"),
    ({"stages.0.depth": 3}, r"stages.0.depth cannot be 3 \(allowed: 1, 2\)"),
    ({"stages.0.depth": [1]}, r"stages.0.depth cannot be \[1\]"),
    ({"stages.0.depth": 1, "stages.1.depth": 1}, "unknown choice 'stages.1.depth'"),
])  # fmt: skip
def test_wrong_picks_are_named(picks, message):
    with pytest.raises(UserError, match=message):
        trellis_of("one choice").encode([picks])


def test_wrong_arrays_are_named():
    trellis = trellis_of("one choice")
    genomes = trellis.random(2, np.random.default_rng(0))
    with pytest.raises(UserError, match=r"must be an array \(n, 1\).* not \(2,\)"):
        trellis.row_ids(genomes[:, 0])
    with pytest.raises(UserError, match=r"stages\.0\.depth must be from 0 to 1, not from 2 to 2"):
        trellis.decode([[2]])
    with pytest.raises(UserError, match="numbers, one a row, not float64 of shape"):
        trellis.totals([0.5], genomes)
    with pytest.raises(UserError, match="must be finite"):
        trellis.extreme(np.full(len(trellis.rows), np.nan))
    with pytest.raises(UserError, match="the space has no row mbconv of 32 to 16 channels"):
        trellis.index(operators(Arch((Stage(16),)))[1])


def test_float32_values_are_added_as_float32():
    trellis = trellis_of("mbconv_28")
    values = np.random.default_rng(5).random(len(trellis.rows), np.float32)
    genomes = trellis.random(20, np.random.default_rng(6))
    archs = [fill(trellis.space, picks) for picks in trellis.decode(genomes)]
    assert trellis.totals(values, genomes).tolist() == by_one(trellis, values, archs)[0]
