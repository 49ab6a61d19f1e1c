"""A proposal costs no more after many trials, and the first ones are what they always were."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from test_samplers import SPACE, make, study_of
from told_trials import BATCH, LATENCY_SLACK, TARGET_MS, Trials, default_space

from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.search.samplers.genomes import Genomes
from nas.search.samplers.observations import FIRST, MAX_OBSERVED, RECENT, Evidence
from nas.search.samplers.surrogate import MAX_FITTED
from nas.space.bounds import size_ladder
from nas.space.choices import fill
from nas.space.trellis.trellis import Trellis
from nas.stats.gaussian_process import GaussianProcess
from search_spaces.lookup import members

optuna.logging.set_verbosity(optuna.logging.ERROR)
GOLDEN = Path(__file__).with_name("golden_proposals.txt").read_text(encoding="utf-8").split()


@pytest.fixture(scope="module")
def space():
    return default_space()


def test_the_default_search_proposes_what_it_always_did(space):
    """The ids of a search by log_macs with target=0.15, seed=0 and the reference table."""
    trials = Trials.told(space, 0)
    ladder = size_ladder(space.trellis.space, 8)
    for picks in (*members(space.trellis.space, 0.25).values(), *ladder):
        trials.study.enqueue_trial(dict(picks), skip_if_exists=True)
    ids = []
    for _ in range(0, len(GOLDEN), BATCH):
        asked = [trials.ask() for _ in range(BATCH)]
        for trial in asked:
            arch = fill(space.trellis.space, trial.params)
            ms = float(space.ms(space.trellis.encode([trial.params]))[0])
            over = ms / (LATENCY_SLACK * TARGET_MS) - 1
            trial.set_constraint("latency_ms", over)
            trials.study.tell(trial, [0.0 if over > 0 else math.log(cost(arch).macs), ms])
            ids.append(network_id(arch))
    assert ids == GOLDEN


def counted(monkeypatch, space, num):
    """How much is looked at for a batch of proposals after `num` trials, by what it is."""
    trials = Trials.told(space, num)
    trials.tell([trials.ask() for _ in range(BATCH)])
    counts = Counter()

    def count(owner, name, what, size):
        function = getattr(owner, name)

        def counting(self, *args, **kwargs):
            counts[what] += size(self, *args)
            return function(self, *args, **kwargs)

        patched.setattr(owner, name, counting)

    with monkeypatch.context() as patched:
        count(Genomes, "genome", "trials read", lambda _, params: 1)
        count(Trellis, "row_ids", "genomes costed", lambda _, genomes: len(genomes))
        count(GaussianProcess, "__init__", "rows solved", lambda _, x, *more: len(x))
        count(GaussianProcess, "_kernel", "covariances", lambda self, x, *_: len(x) * len(self.x))
        trials.tell([trials.ask() for _ in range(BATCH)])
    return counts


def test_what_a_proposal_looks_at_does_not_grow(monkeypatch, space):
    small, large = (counted(monkeypatch, space, num) for num in (300, 2000))
    assert large["trials read"] == small["trials read"]
    assert large["rows solved"] <= MAX_OBSERVED  # for all of the batch
    assert large["genomes costed"] < 1.3 * small["genomes costed"] + MAX_OBSERVED
    assert large["covariances"] < 1.1 * MAX_OBSERVED / 300 * small["covariances"]


def test_what_is_remembered_does_not_grow(monkeypatch, space):
    monkeypatch.setattr("nas.search.samplers.genomes.MAX_REMEMBERED", 2000)
    trials = Trials.told(space, 300)
    for _ in range(3):
        trials.tell([trials.ask() for _ in range(BATCH)])
    sampler = trials.study.sampler
    assert len(sampler.genomes._costs.known) < 3000
    assert len(sampler._history(trials.study).proposed) <= BATCH
    assert len(sampler._models) == 1


def evidence(num, seed=0):
    rng = np.random.default_rng(seed)
    costs = np.exp(rng.normal(0, 1, num))
    return Evidence(np.arange(num), np.zeros((num, 1), int), rng.normal(0, 1, num) + costs, costs)


def test_all_is_read_until_it_is_much():
    assert FIRST >= MAX_FITTED
    assert evidence(MAX_OBSERVED).informative.tolist() == list(range(MAX_OBSERVED))
    assert evidence(0).informative.tolist() == []


def test_of_much_the_first_the_last_the_front_and_some_others_are_read():
    much = evidence(5000)
    rows = much.informative
    assert len(rows) == MAX_OBSERVED == len(set(rows))
    assert (np.diff(rows) > 0).all()
    assert set(range(FIRST)) <= set(rows)
    assert set(range(5000 - RECENT, 5000)) <= set(rows)
    assert np.argmax(much.values) in rows
    assert set(much.front) <= set(rows)
    old = set(range(FIRST, 5000 - RECENT))
    chosen, left = sorted(set(rows) & old), sorted(old - set(rows))
    assert much._gaps[chosen].mean() < 0.8 * much._gaps[left].mean()
    spread = [np.ptp(np.log(much.costs[part])) for part in (chosen, range(5000))]
    assert spread[0] > 0.8 * spread[1]


def test_a_network_without_a_cost_does_no_harm():
    some = evidence(1000)
    some.costs[[3, 500]] = np.inf
    assert len(some.informative) == MAX_OBSERVED


def test_trials_that_end_in_any_order_are_read_as_by_a_new_history():
    study = study_of(make())
    history, rng = study.sampler._history(study), np.random.default_rng(0)
    under_way = []
    for _ in range(40):
        under_way.append(study.ask(dict(SPACE)))
        if len(under_way) > 4:
            trial = under_way.pop(rng.integers(len(under_way)))
            trial.set_user_attr("rungs", {"1": trial.number / 2})
            if trial.number % 3:
                study.tell(trial, [float(trial.number), 1.0 + trial.number % 7])
            else:
                study.tell(trial, state=TrialState.PRUNED)
    old, new = history.read(study), make()._history(study).read(study)
    assert old.seen == new.seen
    assert old.pending.tolist() == new.pending.tolist()
    for mine, other in (
        (old.known.told, new.known.told),
        (old.known.lower["1"], new.known.lower["1"]),
    ):
        for name in ("numbers", "genomes", "values", "costs"):
            assert getattr(mine, name).tolist() == getattr(other, name).tolist()
        assert (np.diff(mine.numbers) > 0).all()
