"""A study in a storage is taken up where a search made it, and refused in one line elsewhere."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from nas.core.errors import UserError
from nas.search.adoption import check_study
from nas.search.database import close_database
from nas.search.metrics import Metrics
from nas.search.run import search
from nas.search.settings import SearchSettings
from nas.search.storage import open_storage
from nas.search.study import distributions_of
from nas.space.choices import choices
from search_spaces.nas_bench_macro import nas_bench_macro

SPACE = nas_bench_macro()
OURS = distributions_of(SPACE)
PICKS = {name: labels[0] for name, labels in choices(SPACE).items()}
METRICS = Metrics("a", "complete", 1.0, 10, 5, 2, "x", score=0.5).to_json()
CONFIG = {"seed": 0, "groups": {}}
ANSWERED = {
    "params": PICKS, "distributions": OURS, "values": [0.5, 1.0],
    "user_attrs": {"metrics": METRICS},
}  # fmt: skip
NAME, OTHER = next(iter(PICKS)), {"x": FloatDistribution(0, 1)}
FEWER = {NAME: CategoricalDistribution(choices(SPACE)[NAME][:2])}
STRANGERS = {
    "x": {"params": {"x": 0.5}, "distributions": OTHER, "values": [0.5, 1.0]},
    "failed": {"params": {"x": 0.5}, "distributions": OTHER, "state": TrialState.FAIL},
    "waiting": {"system_attrs": {"fixed_params": {"x": 1}}, "state": TrialState.WAITING},
    "options": {"params": {NAME: PICKS[NAME]}, "distributions": FEWER, "state": TrialState.RUNNING},
    "no metrics": ANSWERED | {"user_attrs": {}},
    "other metrics": ANSWERED | {"user_attrs": {"metrics": {"accuracy": 0.9}}},
    "no dict": ANSWERED | {"user_attrs": {"metrics": 0.9}},
    "few params": ANSWERED | {"params": {}, "distributions": {}},
}
TINY = (
    "space=nas_bench_macro", "accuracy=log_macs", "trials=4", "random=0", "finalists=1", "spread=0",
    "references=[]", "target=0.3", "latency=table", "workers=1", "data.train=64", "data.val=64",
    "data.test=64", "budget.epochs=1",
    f"latency.path={Path(__file__).parents[1] / 'old_runs' / 'latency.csv'}",
)  # fmt: skip


def settings_of(folder, *words):
    return SearchSettings.of(*TINY, "run=study", f"results={folder}/results", *words)


def stored(folder, directions=("maximize", "minimize"), trials=(), name="study"):
    """A study that somebody made in a database; its URL."""
    url = f"sqlite:///{folder}/study.db"
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    study.add_trials([create_trial(**trial) for trial in trials])
    storage.remove_session()
    storage.engine.dispose()
    return url


@pytest.mark.parametrize(
    ("directions", "trial", "says"),
    [
        (["maximize"], {"value": 0.5}, "are to maximize, a search's to maximize and minimize"),
        (["minimize", "maximize"], {"values": [1, 2]}, "are to minimize and maximize"),
        (["maximize", "minimize"], STRANGERS["x"], "trial 0 has the parameter 'x'"),
    ],
)
def test_a_study_of_others_is_refused_and_left_as_it_was(tmp_path, directions, trial, says):
    url = stored(tmp_path, directions, [trial])
    before = (tmp_path / "study.db").read_bytes()
    with pytest.raises(UserError, match=f"{says}.*give another run=") as error:
        search(settings_of(tmp_path, f"storage={url}"))
    assert "\n" not in str(error.value)
    assert (tmp_path / "study.db").read_bytes() == before


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.just(ANSWERED), max_size=2),
    st.sampled_from(sorted(STRANGERS)),
    st.lists(st.just(ANSWERED), max_size=1),
    st.booleans(),
)
def test_one_trial_of_others_is_enough(tmp_path_factory, before, strange, after, noted):
    folder = tmp_path_factory.mktemp("study")
    store = open_storage(folder, None, "study")
    trials = [*before, STRANGERS[strange], *after]
    store.study.add_trials([create_trial(**trial) for trial in trials])
    if noted:
        store.set_note("config", CONFIG)
    with pytest.raises(UserError, match=f"journal.log has a study 'study'.*trial {len(before)} "):
        check_study(settings_of(folder), CONFIG, store, SPACE)


def test_what_a_search_leaves_is_taken_up(tmp_path):
    store = open_storage(tmp_path, f"sqlite:///{tmp_path}/study.db", "study")
    url = settings_of(tmp_path, f"storage=sqlite:///{tmp_path}/study.db")
    check_study(url, CONFIG, store, SPACE)  # nothing at all
    store.study.add_trials([create_trial(**ANSWERED), create_trial(state=TrialState.FAIL)])
    with pytest.raises(UserError, match="does not hold the settings of one"):
        check_study(url, CONFIG, store, SPACE)
    store.set_note("config", CONFIG)
    check_study(url, CONFIG, store, SPACE)
    with pytest.raises(UserError, match=r"of other settings \(seed: 1 here, 0 there\)"):
        check_study(url, CONFIG | {"seed": 1}, store, SPACE)
    close_database(store.study._storage)
