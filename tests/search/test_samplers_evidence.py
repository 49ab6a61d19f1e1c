"""Cheap evidence of networks: priors, short trainings, earlier runs; and what deserves more."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from test_samplers import ALL, NETWORKS, SPACE, accuracy, canonical, cost, evaluate, make, study_of

from nas.core.errors import UserError
from nas.search.samplers.surrogate import Surrogate
from nas.stats.rewards import Calibrated

optuna.logging.set_verbosity(optuna.logging.ERROR)


def guess(batch):
    """A score in a unit of its own that says the most of what tells values."""
    return np.array([3.0 * np.log(92 - accuracy(p)) for p in batch])


def noise(batch):
    return np.array([hash((p["width"], p["depth"], p["kernel"], p["act"] == "swish")) % 97
                     for p in batch], float)  # fmt: skip


def columns(num, seed=0, prior=None):
    x = np.random.default_rng(seed).normal(0, 0.5, (num, 3))
    return x if prior is None else np.column_stack((x, prior(x)))


def needed(best, **more):
    """Evaluations before one of `best` or more, mean of four seeds, at most 30."""
    counts = []
    for seed in range(4):
        asked = evaluate(study_of(make(seed=seed, **more), ("maximize",)), 30)
        counts.append(next((i for i, p in enumerate(asked) if accuracy(p) >= best), 30))
    return np.mean(counts)


def truth(x):
    return 80 + 5 * np.tanh(x[:, 0]) + 2 * np.sin(3 * x[:, 1])


def error(told, new, lower=None):
    """Mean distance of what is expected from the truth."""
    expected = Surrogate(np.zeros(3, np.int64))(told, lower or {})
    values = expected.top - np.exp(-expected.predict(new)[0])
    return np.abs(values - truth(new)).mean(), expected


def test_a_good_prior_teaches_and_a_worthless_one_is_left_out():
    def informed(x):
        return (2 - np.log(95 - truth(x))) * 2  # standardised, as priors are

    def at_random(x):
        return np.random.default_rng(9).normal(size=len(x))

    plain, _ = error((columns(12), truth(columns(12))), columns(200, 1))
    good, expected = error(
        (columns(12, prior=informed), truth(columns(12))), columns(200, 1, informed)
    )
    assert good < 0.6 * plain
    assert expected.kept == [0]
    bad, expected = error(
        (columns(12, prior=at_random), truth(columns(12))), columns(200, 1, at_random)
    )
    assert bad == pytest.approx(plain)
    assert expected.kept == []


def test_lower_fidelities_teach_in_any_unit():
    told, cheap, new = columns(12), columns(80, 5), columns(200, 1)
    plain, _ = error((told, truth(told)), new)
    for unit in (1.0, -0.01):
        short = unit * (truth(cheap) - 60) ** 2 + 3
        helped, expected = error((told, truth(told)), new, {"1": (cheap, short)})
        assert helped < 0.7 * plain
        assert expected.kept == [0]
    few, expected = error((told, truth(told)), new, {"1": (cheap[:5], truth(cheap[:5]))})
    assert few == pytest.approx(plain)
    assert expected.kept == []


def test_believing_what_is_expected_changes_no_mean_and_shrinks_the_doubt():
    told, new, pending = columns(12), columns(50, 1), columns(4, 2)
    surrogate = Surrogate(np.zeros(3, np.int64))
    before = surrogate((told, truth(told)), {})
    after = before.believing(pending)
    assert after.predict(new)[0] == pytest.approx(before.predict(new)[0], abs=0.05)
    assert (after.predict(pending)[1] < before.predict(pending)[1]).all()


@pytest.mark.parametrize("prior", [guess, noise, lambda b: np.ones(len(b))])
@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("maximize",)])
def test_priors_of_any_worth_are_survived_to_the_end_of_the_space(prior, directions):
    asked = evaluate(study_of(make(prior=prior), directions), NETWORKS)
    assert len(set(canonical(asked))) == NETWORKS


def test_the_best_is_found_sooner_with_a_prior():
    best = sorted({accuracy(p) for p in ALL})[-3]
    assert needed(best, prior=guess) <= needed(best)


def test_a_prior_that_is_no_number_is_said_at_once():
    with pytest.raises(UserError, match="finite"):
        make(prior=lambda b: np.full(len(b), np.nan))


def report(study, trial, step, value):
    """As a study of one objective, or of two, may be told a value on the way."""
    if len(study.directions) == 1:
        trial.report(value, step)
    else:
        trial.set_user_attr("rungs", {str(step): value})


def stopped_study(directions, sampler, first=10, stopped=10, value=accuracy):
    study = study_of(sampler, directions)
    for i in range(first + stopped):
        trial = study.ask(dict(SPACE))
        report(study, trial, 1, value(trial.params) / 2 - 10)
        values = [accuracy(trial.params), float(cost([trial.params])[0])]
        if i < first:
            study.tell(trial, values[: len(directions)])
        else:
            study.tell(trial, state=TrialState.PRUNED)
    return study


@pytest.mark.parametrize("directions", [("maximize", "minimize"), ("maximize",)])
def test_what_was_reported_on_the_way_is_learnt_from(directions):
    def asked(value):
        study = stopped_study(directions, make(), value=value)
        assert all(t.state == TrialState.PRUNED for t in study.trials[10:])
        return study, study.ask(dict(SPACE)).params

    (study, one), (_, other) = asked(accuracy), asked(lambda p: -accuracy(p))
    assert one != other or study.sampler.surrogate._fitted["1"][2] == []
    known = study.sampler._history(study).read(study).known
    values = known.lower["1"].values
    assert len(values) == 20
    assert len(known.told.values) == 10
    assert values.tolist() == [accuracy(t.params) / 2 - 10 for t in study.trials[:20]]
    evaluated = canonical([t.params for t in study.trials])
    assert len(set(evaluated)) == len(evaluated)


def test_rungs_of_what_was_evaluated_anyhow_add_nothing():
    study = stopped_study(("maximize",), make(), 12, 0)
    assert study.sampler._history(study).read(study).known.lower == {}


def test_an_earlier_run_is_evidence_and_no_result():
    earlier = [(p, accuracy(p) / 100 - 0.3) for p in ALL[::5]]
    outside = [({**ALL[0], "width": 17}, 3.0), ({"width": 16}, 3.0)]
    sampler = make(earlier=[*earlier, *outside])
    study = study_of(sampler)
    asked = evaluate(study, NETWORKS)
    assert set(canonical([p for p, _ in earlier])) <= set(canonical(asked))
    assert len(sampler.earlier) == len(earlier)
    assert len(study.trials) == NETWORKS


def test_an_earlier_run_helps():
    best = sorted({accuracy(p) for p in ALL})[-2]
    assert needed(best, earlier=[(p, accuracy(p) / 100) for p in ALL[::2]]) <= needed(best)


def test_a_sampler_with_evidence_goes_on_as_the_old_one_would_have():
    more = {"prior": guess, "earlier": [(p, accuracy(p) ** 2) for p in ALL[::7]]}
    whole = evaluate(study_of(make(**more)), 14)
    study = study_of(make(**more))
    first = evaluate(study, 8)
    study.sampler = make(**more)
    assert first + evaluate(study, 6) == whole


@pytest.mark.parametrize("name", ["mnas", "tunas"])
def test_the_exponent_may_be_read_from_the_runs_own_front(name):
    study = study_of(make(objective=Calibrated(name, 2000.0)))
    asked = evaluate(study, 20)
    assert len(set(canonical(asked))) == 20
    study = study_of(make(objective=Calibrated(name, 2000.0)))
    assert evaluate(study, 20) == asked
