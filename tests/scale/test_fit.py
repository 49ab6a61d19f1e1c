"""The whole fit, with judges whose truth is known."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from growth import BASE, SMALL, Judge, answer, bowl, fitted, flat, macs

from nas.accuracy.estimate import Failure
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.arch.scaling import formula
from nas.core.errors import UserError
from nas.core.figures import figures_page
from nas.scale.fit.budget import FitBudget
from nas.scale.fit.design import design_fit
from nas.scale.fit.grid import Scaler
from nas.scale.fit.journal import CostRatios, open_journal
from nas.scale.fit.page import fit_sections, notes
from nas.scale.fit.result import Fit

CONF = Path(__file__).parents[2] / "conf" / "fit"


def at(triple, phi: int) -> Arch:
    """BASE grown or shrunk by a triple."""
    return Scaler(BASE)(formula(*triple, phi))


def truths(folder) -> dict[tuple[float, ...], float]:
    """The true loss of every candidate at equal cost, by triple."""
    costs = CostRatios(BASE, macs, open_journal(folder / "none.jsonl"), slow=False)
    plan = design_fit(Scaler(BASE), costs, SMALL, "macs")
    slope = -0.25  # the bowl's mean fall by the logarithm of the cost, from 1 to 2
    return {n.triple: bowl(n.arch) + slope * math.log(2 / n.ratio) for n in plan.candidates}


def test_it_finds_a_known_optimum_and_its_intervals_hold_it(tmp_path):
    true = truths(tmp_path)
    best = min(true, key=true.__getitem__)
    held = []
    for luck in range(5):
        fit = fitted(tmp_path / str(luck), Judge(luck=luck), seed=luck)
        assert true[fit.alpha, fit.beta, fit.gamma] - true[best] < 0.02
        held += [
            low <= value <= high
            for value, (low, high) in zip(best, fit.intervals.values(), strict=True)
        ]
        assert all(name in fit.verdict for name in ("depth alone", "resolution alone"))
        assert fit.verdict.startswith("the fitted triple is better than")
        assert fit.regret["resolution"]["low"] > 0
        assert fit.num_points == 18
    assert sum(held) >= 0.9 * len(held)


def test_it_fits_how_to_shrink(tmp_path):
    """The bowl's optimum at half the cost is another than the mirrored one at twice of it."""
    fit = fitted(tmp_path, Judge(noise=0.0), budget=replace(SMALL, phi=-1, confirm_phis=(1, 2)))
    assert fit.phi == -1
    assert all(0.4 < row["ratio"] < 0.6 for row in fit.candidates)
    best = min(fit.candidates, key=lambda row: bowl(at(row["triple"], -1)))
    chosen = at((fit.alpha, fit.beta, fit.gamma), -1)
    assert bowl(chosen) < bowl(at(best["triple"], -1)) + 0.02
    grown = fitted(tmp_path / "grown", Judge(noise=0.0))
    mirrored = at((grown.alpha, grown.beta, grown.gamma), -1)
    assert bowl(chosen) < bowl(mirrored) - 0.01
    assert {row["phi"] for row in fit.confirmation} == {0, -1, -2}
    assert all(row["ratio"] < 0.33 for row in fit.confirmation if row["phi"] == -2)
    assert "too short" not in fit.verdict
    fit_sections(fit)
    assert any(f"0.5 ± {fit.tolerance / 4:.2g} times" in note for note in notes(fit))


def test_rules_that_cannot_shrink_a_baseline_are_left_out(tmp_path):
    """Stages of one block cannot lose any, and an input has to outlast the strides."""
    single = replace(BASE, stages=tuple(replace(s, depth=1) for s in BASE.stages), resolution=24)
    costs = CostRatios(single, macs, open_journal(tmp_path / "none.jsonl"), slow=False)
    plan = design_fit(Scaler(single), costs, replace(SMALL, phi=-1), "macs")
    assert set(plan.rivals) == {"efficientnet", "dwr", "uniform", "width", "resolution"}
    assert all(4 * abs(net.ratio - 0.5) < plan.tolerance for net in plan.candidates)


def test_it_says_so_where_the_data_cannot_tell(tmp_path):
    for luck in range(3):
        fit = fitted(tmp_path / str(luck), Judge(truth=flat, luck=luck), seed=luck)
        assert fit.verdict.startswith("these data do not tell them apart")
        named = [row for row in fit.confirmation if row["phi"]]
        cheapest = min(named, key=lambda row: row["ratio"])
        assert f"{cheapest['ratio']:.2f} times" in fit.verdict
        width = np.mean([math.log(high / low) for low, high in fit.intervals.values()])
        assert width > 0.2


def test_a_killed_fit_goes_on_and_a_second_call_trains_nothing(tmp_path):
    whole = Judge()
    expected = fitted(tmp_path / "whole", whole)
    killed = Judge(killed_after=25)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "killed", killed)
    journal = tmp_path / "killed" / "judged.jsonl"
    assert len(journal.read_text().splitlines()) == 25
    with journal.open("a") as file:
        file.write('\n{"id": "cut')  # as a power cut would leave it
    rest, told = Judge(), list[tuple[int, int]]()
    again = fitted(
        tmp_path / "killed", rest, progress=lambda done, total, what: told.append((done, total))
    )
    assert again == expected
    assert rest.asked == whole.asked - 25
    known = sum(json.loads(line)["epochs"] for line in journal.read_text().splitlines()[:25])
    assert told[-1] == (sum(row["epochs"] for row in expected.rows) - known,) * 2
    assert fitted(tmp_path / "killed", Judge(killed_after=0)) == expected
    kept = json.loads((tmp_path / "killed" / "fit.json").read_text())
    assert Fit(**kept) == expected


def test_failures_are_survived_and_told(tmp_path):
    said: list[str] = []
    fit = fitted(tmp_path, Judge(fails_every=7), say=said.append)
    failed = [row for row in fit.rows if row["reason"]]
    assert failed
    assert all(row["accuracy"] is None for row in failed)
    assert f"{len(failed)} of {len(fit.rows)} trainings failed: TrainingFailed" in said[-1]
    assert fit.num_points >= 14


def test_what_failed_is_tried_again_by_the_next_call(tmp_path):
    fitted(tmp_path, Judge(fails_every=7))
    healthy = Judge()
    again = fitted(tmp_path, healthy)
    assert healthy.asked
    assert again == fitted(tmp_path / "other", Judge())


def test_where_nothing_can_be_trained_the_reason_is_given(tmp_path):
    def judge(wanted):
        yield from ((i, Failure("out of memory")) for i in range(len(wanted)))

    with pytest.raises(UserError, match=r"only 0 networks could be trained.*out of memory"):
        fitted(tmp_path, judge)


def test_a_score_that_is_not_finite_is_a_failure(tmp_path):
    def judge(wanted):
        for i, (arch, epochs, seed) in enumerate(wanted):
            odd = seed == 0 and arch.resolution > 120
            yield i, answer(math.nan if odd else bowl(arch), epochs)

    fit = fitted(tmp_path, judge)
    assert {row["reason"] for row in fit.rows} == {"", "its scores are not finite"}


def test_progress_counts_epochs_and_ends(tmp_path):
    told: list[tuple[int, int]] = []
    fit = fitted(tmp_path, Judge(), progress=lambda done, total, what: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == sum(row["epochs"] for row in fit.rows)
    assert all(done <= total for done, total in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_better_half_is_trained_on(tmp_path):
    fit = fitted(tmp_path, Judge(noise=0.0), budget=replace(SMALL, confirm_seeds=0))
    first, second = ([r for r in fit.rows if r["epochs"] == n] for n in (2, 3))
    assert (len(first), len(second)) == (18, 9)
    kept = {row["id"] for row in second}
    best = sorted(first, key=lambda row: row["cross_entropy"])[:9]
    assert kept == {row["id"] for row in best}
    assert "not confirmed by longer trainings" in fit.verdict
    assert (fit.confirmation, fit.agreement) == ([], None)


def test_networks_of_one_rung_share_their_seeds_and_no_two_rungs_do(tmp_path):
    budget = replace(SMALL, rungs=((1, 2), (2, 2)))
    rows = fitted(tmp_path, Judge(), budget=budget).rows
    seeds = {n: {r["seed"] for r in rows if r["epochs"] == n} for n in (1, 2, 4)}
    assert [len(s) for s in seeds.values()] == [2, 2, 3]
    assert len(set.union(*seeds.values())) == 7
    other = fitted(tmp_path / "other", Judge(), seed=1).rows
    assert not {r["seed"] for r in rows} & {r["seed"] for r in other}


def ms(archs) -> np.ndarray:
    """A device on which width costs less than its multiply-adds say, and depth more."""
    blocks = [sum(stage.depth for stage in arch.stages) for arch in archs]
    return np.array(
        [cost(a).macs ** 0.8 / 1e6 + 0.1 * n for a, n in zip(archs, blocks, strict=True)]
    )


def test_measured_latency_is_held_equal_asked_for_rarely_and_never_twice(tmp_path):
    asked: list[str] = []

    def device(archs):
        asked.extend(repr(arch) for arch in archs)
        return ms(archs)

    fit = fitted(tmp_path, Judge(), cost=device, objective="latency")
    assert all(abs(c["ratio"] - 2) < fit.tolerance for c in fit.candidates)
    assert len(asked) == len(set(asked)) < 180
    exponents = fit.baseline["exponents"]
    assert exponents[1] < 1.9  # multiply-adds grow with width squared, these milliseconds do not
    before = len(asked)
    assert fitted(tmp_path, Judge(killed_after=0), cost=device, objective="latency") == fit
    assert len(asked) == before


def test_lacs_weighs_latency_against_accuracy(tmp_path):
    fit = fitted(tmp_path, Judge(noise=0.001), cost=ms, objective="lacs")
    ratios = [c["ratio"] for c in fit.candidates]
    assert 2 / math.sqrt(2) < min(ratios) < 1.7
    assert 2.3 < max(ratios) < 2 * math.sqrt(2)
    # equal accuracy everywhere: by MnasNet's product the cheapest wins
    even = fitted(
        tmp_path / "even", Judge(truth=lambda arch: -1.0, noise=1e-6), cost=ms, objective="lacs"
    )
    best = next(c for c in even.candidates if c["triple"] == [even.alpha, even.beta, even.gamma])
    assert best["ratio"] == pytest.approx(min(c["ratio"] for c in even.candidates), rel=0.02)


def test_it_warns_where_larger_networks_are_no_better_than_the_baseline(tmp_path):
    fit = fitted(tmp_path, Judge(truth=lambda arch: -flat(arch)))
    assert "are no better than the baseline: these trainings are too short" in fit.verdict
    assert all(row["moved"] == 0 for row in fit.confirmation if row["phi"])
    grows = fitted(tmp_path / "grows", Judge(truth=flat))
    assert "too short" not in grows.verdict
    for row in grows.confirmation:
        if row["phi"]:  # those that cost too little are moved down, and the others up
            assert row["moved"] * (row["ratio"] - 2) >= 0


def test_phi_2_is_confirmed_where_it_is_asked_for(tmp_path):
    fit = fitted(tmp_path, Judge(), budget=replace(SMALL, confirm_phis=[1, 2]))
    rows = [row for row in fit.confirmation if row["phi"] == 2]
    assert {row["name"] for row in rows} >= {"fitted", "efficientnet", "depth", "width"}
    assert all(3.4 < row["ratio"] < 4.6 for row in rows)
    assert "at phi = 2: " in fit.verdict


def test_the_pages_show_what_was_found(tmp_path):
    for name, budget in (("long", SMALL), ("short", replace(SMALL, confirm_seeds=0))):
        fit = fitted(tmp_path / name, Judge(fails_every=5), budget=budget)
        path, sections = tmp_path / f"{name}.html", fit_sections(fit)
        figures_page(path, name, [fit.verdict], sections, notes(fit))
        assert len(sections) == (3 if fit.confirmation else 2)
        assert all(section.words and len(section.figure.data) for section in sections)
        text = path.read_text()
        assert "Where the best triple lies" in text
        assert "http://" not in text.split("<script>")[0]
    triangle = sections[0].figure
    stars = [t for t in triangle.data if t.name == "the fitted triple"]
    best = next(c for c in fit.candidates if c["triple"] == [fit.alpha, fit.beta, fit.gamma])
    assert [stars[0].a[0], stars[0].b[0], stars[0].c[0]] == pytest.approx(best["shares"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"step": 0}, "fit.step"),
        ({"step": 0.001}, "fit.step must be a number from 0.01, not 0.001"),
        ({"low": 0.5}, "1 <= low < high"),
        ({"high": 1.0}, "1 <= low < high"),
        ({"tolerance": 0.9}, "tolerance"),
        ({"points": 3}, "fit.points"),
        ({"rungs": []}, "pairs of epochs and seeds"),
        ({"rungs": [[2]]}, "pairs of epochs and seeds"),
        ({"rungs": [[2, 0]]}, "fit.rungs must be a list of lists of whole numbers from 1"),
        ({"confirm_seeds": 1}, "no interval"),
        ({"confirm_phis": [4]}, "confirm_phis"),
        ({"resamples": 1.5}, "fit.resamples"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_in_one_line(settings, words):
    with pytest.raises(UserError, match=words) as error:
        FitBudget(**settings)
    assert "\n" not in str(error.value)


def test_an_unknown_objective_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown objective 'mac'; did you mean macs"):
        fitted(tmp_path, Judge(), objective="mac")


@pytest.mark.parametrize("name", ["quick", "thorough"])
def test_configurations_give_every_setting(name):
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert settings.pop("_target_") == "nas.scale.fit.budget.FitBudget"
    assert list(settings) == [field.name for field in fields(FitBudget)]
    budget = FitBudget(**settings)
    if name == "quick":
        lists = {"rungs": [list(r) for r in FitBudget().rungs], "confirm_phis": [1]}
        assert budget == FitBudget(**lists)
