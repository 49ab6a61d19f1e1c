"""`nas.rediscover` from end to end, in its smallest size; and what it refuses."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from nas.accuracy.predictor import PredictorSettings
from nas.accuracy.zero_cost import ZeroCostSettings
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.rediscover import run as run_module
from nas.rediscover.run import num_affordable, published_rows, rediscover
from nas.rediscover.searching import (
    Search,
    find_controls,
    find_target,
    open_unknowing,
    search_by,
    search_once,
)
from nas.rediscover.settings import RediscoverSettings
from nas.rediscover.trainings import best_of, judge_taus, trained_alone
from nas.search.evaluations import Evaluations, Role
from search_spaces.lookup import PUBLISHED

TINY = (
    "data.train=300", "data.val=100", "data.test=100", "budget.epochs=1", "width=0.25",
    "space.base=small", "space.depths=[1,2,3]", "space.kernels=[3,5]", "target=mobilenet_v3_small",
    "searches=3", "trials=12", "accuracy.budget.seconds=1", "controls=50", "ranked=10",
    "rivals=[mobilenet_v3_small]", "rewards=[mnas,tunas]", "workers=1",
    "table.blocks=40", "table.calibrate=6", "table.validate=6", "table.repeat=0",
    "latency.min_rounds=6", "latency.max_seconds=0.05",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was stopped after its searches, and given again."""
    folder = tmp_path_factory.mktemp("rediscovery")
    settings = RediscoverSettings.of(*TINY, f"results={folder}", f"target={middle_ms(folder)}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "fit_rivals", stop)
        with pytest.raises(KeyboardInterrupt):
            rediscover(settings)
    journals = sorted((folder / "search").glob("*_[012]/evaluations.jsonl"))
    before = [path.read_bytes() for path in journals]
    assert len(before) == 3
    summary = rediscover(settings)
    assert [path.read_bytes() for path in journals] == before  # nothing is trained again
    return folder / "rediscover" / "mobilenet_v3", summary


def middle_ms(results):
    """A latency that many networks have by the table, however well the machine measured it."""
    settings = RediscoverSettings.of(*TINY, f"results={results}", "run=table")
    given = settings.by_reward(None, settings.target)
    with ExitStack() as stack:
        feasible = open_unknowing(given, stack, Console(quiet=True)).problem.feasible
        return float(np.median(feasible.ms(feasible.random(300, np.random.default_rng(0)))))


def stop(*_):
    raise KeyboardInterrupt


def test_it_ends_with_its_page_and_every_figure(finished):
    folder, summary = finished
    names = {path.name for path in folder.iterdir()}
    assert {"rediscovery.html", "rediscovery.md", "summary.json", "environment.json"} <= names
    assert len(list((folder / "networks").iterdir())) == 3
    kept = json.loads((folder / "summary.json").read_text())
    assert kept["taus"]["networks"] == 10
    assert len(kept["taus"]["judges"]) == 3
    assert kept["num_controls"] == 50
    (rival,) = map(json.loads, (folder / "rivals.jsonl").read_text().splitlines())
    fits = rival["width"] is not None  # on some machines no width of it is as fast
    assert [row["name"] for row in kept["quality"]][1:] == ["mobilenet_v3_small"] * fits
    assert "random networks" in kept["quality"][0]["name"]
    assert set(kept["stages"]) == {"searched", "random", "published"}
    assert kept["worth"]["networks"] == 10  # the controls: supernets learn from no training
    assert kept["rewards"]["mnas"] > 0
    assert summary["conclusion"][0] in (folder / "rediscovery.md").read_text()


def test_no_search_began_with_a_published_network(finished):
    folder, _ = finished
    for path in sorted((folder.parents[1] / "search").glob("*/trials.csv")):
        assert "mobilenet_v3" not in path.read_text().replace("mobilenet_v3_small", "")


def test_given_again_it_says_the_same(finished):
    folder, summary = finished
    target = f"target={summary['target_ms']}"
    again = rediscover(RediscoverSettings.of(*TINY, f"results={folder.parents[1]}", target))
    same = ("taus", "hypotheses", "agreement", "stages", "searches", "rewards", "conclusion")
    assert repr([again[name] for name in same]) == repr([summary[name] for name in same])
    names = [[row["network"] for row in found["quality"]] for found in (again, summary)]
    assert names[0] == names[1]


def test_other_settings_are_refused(finished):
    folder, summary = finished
    words = ("seeds=3", f"target={summary['target_ms']}", f"results={folder.parents[1]}")
    with pytest.raises(UserError, match=r"began with other settings \(seeds: 3 here, 2 there\)"):
        rediscover(RediscoverSettings.of(*TINY, *words))


def test_a_blend_begins_with_nothing_known():
    """What trainings on other images taught would be in the winners of every search."""
    asked = RediscoverSettings.of("accuracy=blend", "accuracy.num_labels=60")
    assert asked.accuracy.make() == PredictorSettings(ZeroCostSettings("log_macs"), 60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["searches=2"], "searches must be a whole number from 3"),
        (["accuracy=log_macs"], "accuracy=log_macs trains no judge of its own"),
        (["label_epochs=2"], "label_epochs is for accuracy=blend"),
        (["accuracy=blend", "accuracy.transfer=true"], "all searches would share"),
        (["ranked=24", "controls=50", "published=nowhere.json"], "no file nowhere.json"),
        (["ranked=60", "controls=50"], "ranked=60 of controls=50"),
        (["rivals=[mobilenet_v9]"], "mobilenet_v9"),
        (["rewards=[speed]"], "speed"),
        (["data=coco"], "boxes or masks"),
        (["rivals=[mobilenet_v2_0.5]"], "has one width"),
        (["run=../x"], "run must be a name"),
        (["space=mbconv"], "space=mbconv is not what is asked about"),
        (["latency.precision=int8"], "int8 is not for nas.rediscover"),
    ],
)
def test_mistakes_are_one_line(words, message):
    with pytest.raises(UserError, match=message) as error:
        RediscoverSettings.of(*words)
    assert "\n" not in str(error.value)


BLOCK = '"k": 3, "e": 6, "se": true, "act": "relu", "stride": 2, "first": true'


@pytest.mark.parametrize(
    "blocks",
    [
        '{"stage": 1}',
        "",
        f'{{"stage": 0, {BLOCK}}}',
        f'{{"stage": 1, {BLOCK}}}'.replace("true", '"no"'),
    ],
)
def test_a_file_of_published_networks_that_cannot_be_read_is_said(tmp_path, blocks):
    path = tmp_path / "archs.json"
    path.write_text(f'{{"archs": {{"mine": [{blocks}]}}}}')
    with pytest.raises(UserError, match="each a list of blocks with stage"):
        published_rows(str(path))


def test_published_networks_are_those_of_the_file_or_of_the_lineage(tmp_path):
    path = tmp_path / "archs.json"
    path.write_text(f'{{"archs": {{"mine": [{{"stage": 1, {BLOCK}}}]}}}}')
    assert published_rows(str(path)) == {"mine": [(1, 0, 2, 3, 6.0, True, False)]}
    assert set(published_rows(None)) <= set(PUBLISHED)


def searched(scores, seconds=10.0):
    return Search("a", PUBLISHED["mobilenet_v2"], {}, scores, [], seconds)


def test_taus_are_of_each_judge_with_the_mean_of_trainings():
    losses = np.linspace(1, 2, 12)
    trained = [[{"cross_entropy": loss}, {"cross_entropy": loss + 0.01}] for loss in losses]
    right, wrong = list(-losses), list(losses)
    found = judge_taus([searched(right), searched(right), searched(wrong)], trained, 0)
    assert found["judges"] == [1, 1, -1]
    assert found["mean"] == pytest.approx(1 / 3)
    assert found["seeds"] == 1
    noise = list(np.random.default_rng(0).normal(size=12))
    found = judge_taus([searched(noise)], trained, 0)
    assert found["low"] < 0 < found["high"]


def test_random_networks_get_the_time_of_one_search():
    trained = [[{"seconds": 4.0, "val_accuracy": v}] for v in (0.5, 0.7, 0.6, 0.9)]
    two = SimpleNamespace(workers=2)
    assert num_affordable([searched([], 6.0)], trained, two) == 3
    assert num_affordable([searched([], 600.0)], trained, two) == 4  # all there are
    assert num_affordable([searched([], 0.1)], trained, two) == 1
    assert best_of(trained, 3) == 1
    assert best_of(trained, 4) == 3


def test_rewards_share_one_judge(finished):
    folder, _ = finished
    searches = folder.parents[1] / "search"
    first, again = (searches / f"mobilenet_v3_{name}" / "supernet.pt" for name in ("mnas", "tunas"))
    assert first.read_bytes() == again.read_bytes()


def test_every_network_searched_is_as_fast_as_the_controls(finished):
    folder, summary = finished
    target = summary["target_ms"]
    for i in range(3):
        trials = pd.read_csv(folder.parents[1] / "search" / f"mobilenet_v3_{i}" / "trials.csv")
        ms = trials.loc[trials["state"] == "complete", "latency_ms"]
        assert len(ms)
        assert ms.between(0.98 * target, target).all()


def test_a_blend_learns_from_networks_as_fast_and_its_labels_are_shared(finished):
    results = finished[0].parents[1]
    settings = RediscoverSettings.of(
        *(word for word in TINY if not word.startswith("accuracy.")),
        f"results={results}", f"target={finished[1]['target_ms']}",
        "run=blended", "accuracy=blend", "accuracy.num_labels=5",
        "budget.epochs=3", "label_epochs=1",
    )  # fmt: skip
    assert settings.describe_judge() == "a model of its own, of 5 trainings of 1 epoch"
    target = find_target(settings, results, Console(quiet=True))
    changed = replace(settings, rewards=("mnas",), searches=9)
    assert find_target(changed, results, Console(quiet=True)) == target
    ranked = find_controls(settings, target)[:2]
    found = search_once(settings, 0, target, ranked, Console(quiet=True))
    assert np.isfinite(found.scores).all()
    labels = labels_of(results / "search" / "blended_0")
    assert len(labels) == 5
    assert [network_id(arch) for arch, _ in found.labels] == [row["id"] for row in labels]
    assert trained_alone([found, found], ranked, []) == found.labels
    assert all(0.98 * target <= row["latency_ms"] <= target for row in labels)
    assert found.seconds > sum(row["seconds"] for row in labels)  # one worker
    for reward in settings.rewards:
        search_by(reward, settings, target, Console(quiet=True))
    first, again = (labels_of(results / "search" / f"blended_{name}") for name in settings.rewards)
    assert first == again


def labels_of(folder):
    return Evaluations(folder / "evaluations.jsonl").rows(Role.LABEL)
