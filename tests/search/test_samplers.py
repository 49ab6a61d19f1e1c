import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState

from nas.core.errors import UserError
from nas.search.samplers import candidates
from nas.search.samplers.known_cost import ExhaustedError, KnownCostSampler
from nas.stats.pareto import hypervolume
from nas.stats.rewards import mnas, tunas

optuna.logging.set_verbosity(optuna.logging.ERROR)
ROOT = Path(__file__).parents[2]
TABLE = ROOT.parent / "shared" / "data" / "nas_bench_macro.csv.gz"

SPACE = {
    "width": CategoricalDistribution((16, 24, 32, 48)),
    "depth": IntDistribution(0, 3),
    "kernel": CategoricalDistribution((3, 5, 7)),
    "act": CategoricalDistribution(("relu", "swish")),
}


def cost(batch):
    return np.array(
        [p["width"] * (1 + p["depth"] * (p["width"] + p["kernel"] ** 2)) for p in batch]
    )


def canonical(batch):  # without depth, the kernel has no effect
    return [(p["width"], p["depth"], p["depth"] and p["kernel"], p["act"]) for p in batch]


def accuracy(p):
    size = np.log(p["width"] / 16) + 1.3 * np.log1p(p["depth"])
    bonus = 0.3 * (p["act"] == "swish") + 0.1 * p["kernel"] * (p["depth"] > 1)
    return float(90 - 20 * np.exp(-size) + bonus)


ALL = [
    dict(zip(SPACE, labels, strict=True))
    for labels in itertools.product((16, 24, 32, 48), range(4), (3, 5, 7), ("relu", "swish"))
]
NETWORKS = len(set(canonical(ALL)))


def make(space=SPACE, cost=cost, canonical=canonical, seed=0, **kwargs):
    return KnownCostSampler(space, cost, canonical, seed=seed, **kwargs)


def study_of(sampler, directions=("maximize", "minimize"), **kwargs):
    return optuna.create_study(directions=list(directions), sampler=sampler, **kwargs)


def evaluate(study, num, value=accuracy, space=SPACE, cost=cost):
    """Ask and tell `num` trials; the parameters proposed."""
    asked = []
    for _ in range(num):
        trial = study.ask(dict(space))
        values = [value(trial.params), float(cost([trial.params])[0])]
        study.tell(trial, values[: len(study.directions)])
        asked.append(dict(trial.params))
    return asked


WIDE = {f"choice{i}": CategoricalDistribution((0, 1, 2)) for i in range(20)}


def wide_cost(batch):
    return np.array([10.0 + sum((i + 1) * v for i, v in enumerate(p.values())) for p in batch])


class TestOptunasOwnSuite(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self):
        return lambda: make({"own": IntDistribution(1, 500)}, lambda b: [p["own"] for p in b], None)


@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("maximize",), ("minimize",)])
def test_every_network_is_proposed_once_and_then_the_space_is_exhausted(directions):
    study = study_of(make(), directions)
    asked = evaluate(study, NETWORKS)
    assert len(set(canonical(asked))) == NETWORKS
    with pytest.raises(ExhaustedError, match=f"all {NETWORKS} networks"):
        study.ask(dict(SPACE))


def test_larger_spaces_are_exhausted_too(monkeypatch):
    monkeypatch.setattr(candidates, "MAX_LISTED", 1)
    study = study_of(make())
    assert len(set(canonical(evaluate(study, NETWORKS)))) == NETWORKS
    with pytest.raises(ExhaustedError):
        study.ask(dict(SPACE))


def test_optimize_ends_with_the_space():
    study = study_of(make(), ("maximize",))
    with pytest.raises(ExhaustedError):
        study.optimize(
            lambda t: accuracy({k: t._suggest(k, d) for k, d in SPACE.items()}), n_trials=10_000
        )
    assert sum(t.state == TrialState.COMPLETE for t in study.trials) == NETWORKS


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("maximize",)])
def test_nothing_over_the_limit_is_proposed(monkeypatch, listed, directions):
    if not listed:
        monkeypatch.setattr(candidates, "MAX_LISTED", 1)
    limit = float(np.quantile(cost(ALL), 0.3))
    within = [p for p in ALL if cost([p])[0] <= limit]
    asked = evaluate(study_of(make(limit=limit), directions), len(set(canonical(within))))
    assert (cost(asked) <= limit).all()
    assert len(set(canonical(asked))) == len(asked)


def test_a_limit_that_only_one_network_of_a_huge_space_meets():
    study = study_of(make(WIDE, wide_cost, None, limit=10.0))
    (picks,) = evaluate(study, 1, lambda p: 1.0, WIDE, wide_cost)
    assert set(picks.values()) == {0}
    with pytest.raises(ExhaustedError):
        study.ask(dict(WIDE))


def test_networks_without_a_cost_are_never_proposed():
    def partial(batch):
        return [
            np.nan if p["act"] == "swish" else c for p, c in zip(batch, cost(batch), strict=True)
        ]

    asked = evaluate(study_of(make(cost=partial)), 20, cost=partial)
    assert {p["act"] for p in asked} == {"relu"}


def test_the_front_is_found_in_a_quarter_of_what_random_takes():
    points = np.array([[accuracy(p), cost([p])[0]] for p in ALL])
    reference = (points[:, 0].min(), points[:, 1].max())
    whole = hypervolume(points, reference, (True, False))

    def share(sampler, num):
        asked = evaluate(study_of(sampler), num)
        found = [[accuracy(p), cost([p])[0]] for p in asked]
        return hypervolume(found, reference, (True, False)) / whole

    mine = np.median([share(make(seed=s), 12) for s in range(5)])
    random = np.median([share(optuna.samplers.RandomSampler(s), 48) for s in range(5)])
    assert mine > random
    assert mine > 0.97


@pytest.mark.parametrize("sign", [1, -1])
def test_one_direction_finds_the_best_within_the_limit(sign):
    limit = float(np.quantile(cost(ALL), 0.5))
    best = max(accuracy(p) for p in ALL if cost([p])[0] <= limit)
    for seed in range(3):
        study = study_of(make(limit=limit, seed=seed), ("maximize" if sign > 0 else "minimize",))
        asked = evaluate(study, 20, lambda p: sign * accuracy(p))
        assert max(accuracy(p) for p in asked) > best - 0.05


@pytest.mark.parametrize(
    "objective", [lambda v, c: mnas(v, c, 2000.0), lambda v, c: tunas(v, c, 2000.0, -10.0)]
)
def test_scalar_objectives_of_value_and_cost(objective):
    rewards = objective([accuracy(p) for p in ALL], cost(ALL))
    asked = evaluate(study_of(make(objective=objective)), 25)
    found = objective([accuracy(p) for p in asked], cost(asked))
    assert found.max() >= np.sort(rewards)[-3]


def test_an_objective_wants_a_value_to_maximise():
    with pytest.raises(UserError, match="maximize"):
        evaluate(study_of(make(objective=mnas), ("minimize",)), 1)


def test_same_seed_same_proposals_another_seed_others():
    one, two = (evaluate(study_of(make(seed=3)), 15) for _ in range(2))
    assert one == two
    assert evaluate(study_of(make(seed=4)), 15) != one


def test_a_new_sampler_goes_on_as_the_old_one_would_have():
    whole = evaluate(study_of(make()), 16)
    study = study_of(make())
    first = evaluate(study, 9)
    study.sampler = make()
    assert first + evaluate(study, 7) == whole


def test_proposals_do_not_depend_on_the_process():
    code = (
        "import json, test_samplers as t\nprint(json.dumps(t.evaluate(t.study_of(t.make()), 12)))\n"
    )
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "search")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == evaluate(study_of(make()), 12)


def test_what_is_asked_depends_on_trial_numbers_not_on_the_order_of_telling():
    def asked(order):
        study = study_of(make())
        trials = [study.ask(dict(SPACE)) for _ in range(8)]
        for i in order:
            study.tell(trials[i], [accuracy(trials[i].params), cost([trials[i].params])[0]])
        return study.ask(dict(SPACE)).params

    assert asked(range(8)) == asked([5, 2, 7, 0, 1, 3, 6, 4])


@pytest.mark.parametrize("listed", [True, False])
def test_workers_are_not_given_twins(monkeypatch, listed):
    if not listed:
        monkeypatch.setattr(candidates, "MAX_LISTED", 1)
    study = study_of(make())
    evaluate(study, 6)
    for _ in range(3):
        trials = [study.ask(dict(SPACE)) for _ in range(8)]
        for trial in trials:
            study.tell(trial, [accuracy(trial.params), cost([trial.params])[0]])
    networks = canonical([t.params for t in study.trials])
    assert len(set(networks)) == len(networks) == 30


def test_threads_are_not_given_twins():
    study = study_of(make(), ("maximize",))
    study.optimize(
        lambda t: accuracy({k: t._suggest(k, d) for k, d in SPACE.items()}), n_trials=30, n_jobs=3
    )
    networks = canonical([t.params for t in study.trials])
    assert len(set(networks)) == len(networks) == 30


def test_a_restart_from_a_journal_repeats_nothing(tmp_path):
    def storage():
        return optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
        )

    for _ in range(3):
        study = study_of(make(), storage=storage(), study_name="s", load_if_exists=True)
        evaluate(study, 5)
        study.ask(dict(SPACE))  # the process dies over this one
    networks = canonical([t.params for t in study.trials])
    assert len(set(networks)) == len(networks) == 18


def test_a_study_that_another_sampler_began():
    study = study_of(optuna.samplers.RandomSampler(0))
    before = canonical(evaluate(study, 15))
    study.sampler = make()
    after = canonical(evaluate(study, 20))
    assert len(set(after)) == 20
    assert not set(after) & set(before)


def test_earlier_results_and_enqueued_networks_count():
    study = study_of(make())
    for p in ALL[:40:3]:
        study.add_trial(
            optuna.create_trial(params=p, distributions=SPACE, values=[accuracy(p), cost([p])[0]])
        )
    study.enqueue_trial(ALL[50])
    assert study.ask(dict(SPACE)).params == ALL[50]
    study.enqueue_trial({"act": "swish", "depth": 2})
    half = study.ask(dict(SPACE)).params
    assert half["act"] == "swish"
    assert half["depth"] == 2
    known = canonical([*ALL[:40:3], ALL[50]])
    assert canonical([half])[0] not in known
    assert not set(canonical(evaluate(study, 10))) & set(known)


def test_failed_pruned_infeasible_and_useless_trials_are_survived_and_not_repeated():
    study = study_of(make())
    for i in range(40):
        trial = study.ask(dict(SPACE))
        values = [accuracy(trial.params), float(cost([trial.params])[0])]
        if i % 5 == 0:
            study.tell(trial, state=TrialState.FAIL)
        elif i % 5 == 1:
            trial.set_constraint("latency", 0.3)
            study.tell(trial, [0.1, values[1]])
        elif i % 5 == 2 and i < 20:
            study.tell(trial, [-np.inf, values[1]])
        else:
            study.tell(trial, values)
    study.add_trial(
        optuna.create_trial(state=TrialState.PRUNED, params=ALL[0], distributions=SPACE)
    )
    study.add_trial(
        optuna.create_trial(
            params={"other": 0.5}, distributions={"other": FloatDistribution(0, 1)}, values=[1, 2]
        )
    )
    evaluate(study, 5)
    networks = canonical([t.params for t in study.trials if "act" in t.params and t.number != 40])
    assert len(set(networks)) == len(networks) == 45


def test_values_told_of_infeasible_networks_teach_nothing():
    def asked(value):
        study = study_of(make())
        evaluate(study, 8)
        trial = study.ask(dict(SPACE))
        trial.set_constraint("latency", 0.3)
        study.tell(trial, [value, 1.0])
        return study.ask(dict(SPACE)).params

    assert asked(0.1) == asked(99.0)


def test_only_failures_are_survived():
    study = study_of(make())
    for _ in range(20):
        study.tell(study.ask(dict(SPACE)), state=TrialState.FAIL)
    assert len(set(canonical([t.params for t in study.trials]))) == 20


@pytest.mark.parametrize("listed", [True, False])
@settings(max_examples=15)
@given(data=st.data())
def test_any_values_and_spaces(listed, data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    space = {f"c{i}": CategoricalDistribution(tuple("abcd"[:n])) for i, n in enumerate(sizes)}
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0, 1e6, -5.0, 1e-9]), min_size=12))
    before = candidates.MAX_LISTED
    candidates.MAX_LISTED = before if listed else 0
    try:
        study = study_of(make(space, lambda b: np.ones(len(b)), None))
        count = min(int(np.prod(sizes)), 12)
        told = iter(values)
        asked = evaluate(study, count, lambda p: next(told), space, lambda b: np.ones(len(b)))
    finally:
        candidates.MAX_LISTED = before
    assert len({tuple(p.items()) for p in asked}) == count


def test_one_choice_of_many_networks_known_by_their_features():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (2000, 4))
    costs = np.exp(features[:, 0])
    truth = 80 - 5 * np.exp(-features[:, 0]) - features[:, 1] ** 2
    rows = lambda batch: [p["network"] for p in batch]  # noqa: E731 (short, and used three times)
    space = {"network": IntDistribution(0, 1999)}
    sampler = KnownCostSampler(
        space, lambda b: costs[rows(b)], features=lambda b: features[rows(b)], seed=0
    )
    study = study_of(sampler, ("maximize",))
    asked = evaluate(study, 25, lambda p: truth[p["network"]], space, lambda b: costs[rows(b)])
    assert max(truth[rows(asked)]) >= np.sort(truth)[-5]


def test_huge_spaces_are_searched_better_than_at_random():
    def value(p):
        return float(sum(np.sqrt(v) * (i % 4) for i, v in enumerate(p.values())))

    def share(sampler, num):
        asked = evaluate(study_of(sampler), num, value, WIDE, wide_cost)
        points = [[value(p), wide_cost([p])[0]] for p in asked]
        return hypervolume(points, (0.0, 430.0), (True, False))

    assert share(make(WIDE, wide_cost, None), 30) > 1.1 * share(
        optuna.samplers.RandomSampler(0), 300
    )


def test_noise_does_not_hide_the_front():
    rng = np.random.default_rng(0)
    study = study_of(make(), ("maximize",))
    asked = evaluate(study, 25, lambda p: accuracy(p) + 0.3 * rng.standard_normal())
    assert max(map(accuracy, asked)) > max(map(accuracy, ALL)) - 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit": 1.0}, "raise the limit"),
        ({"space": {}}, "at least one choice"),
        ({"space": {"x": FloatDistribution(0, 1)}}, "FloatDistribution"),
        ({"space": {"x": IntDistribution(0, 10**6)}}, "larger step"),
        ({"cost": lambda b: -np.ones(len(b))}, "positive"),
        ({"cost": lambda b: [1.0]}, "one row for each"),
        ({"cost": lambda b: [np.nan] * len(b)}, "none has a cost"),
        ({"features": lambda b: [[np.nan]] * len(b)}, "finite"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(change, words):
    with pytest.raises(UserError, match=words):
        make(**change)


@pytest.mark.parametrize(
    "directions", [("maximize", "maximize"), ("maximize", "minimize", "minimize")]
)
def test_directions_that_do_not_suit(directions):
    with pytest.raises(UserError, match="directions"):
        study_of(make(), directions).ask(dict(SPACE))


@pytest.mark.skipif(not TABLE.exists(), reason="../shared with the table is not there")
def test_the_front_of_nas_bench_macro():
    from benchmarks.sampler_problems import nas_bench_macro
    from benchmarks.sampler_rivals import ours, with_optuna
    from benchmarks.samplers import run

    problem = nas_bench_macro()
    runs = [run(with_optuna(ours), problem, seed, 50) for seed in range(3)]
    assert np.median([r.shares[24] for r in runs]) > 0.9
    assert np.median([r.shares[49] for r in runs]) > 0.98
    assert {r.distinct for r in runs} == {50}
