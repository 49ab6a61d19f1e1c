"""The commands by which a report goes on with a network, against the search that found it."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from report_runs import KEPT, write_run

from nas.arch.serialization import load
from nas.report.kept_run import read_run
from nas.report.networks import networks
from nas.search.run import next_steps
from nas.search.settings import SearchSettings
from nas.train.settings import TrainSettings
from nas.train.setup import input_resolution


@pytest.fixture
def words(tmp_path):
    """A function from a run's config to the words of nas.train for its network of 28 pixels."""

    def of(config):
        rows = pd.read_csv(KEPT / "pareto.csv", dtype={"id": str}).iloc[:1]
        run = write_run(tmp_path / "run", rows.to_dict("records"))
        (run / "winner.yaml").write_text((KEPT / "winner.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (network,) = networks([read_run(run)])
        return shlex.split(network["commands"][0][1])[3:]

    return of


@pytest.mark.parametrize(
    "given",
    [
        ["data.seed=3", "data.train=500", "data.val=200", "data.test=100", "data.flip=false"],
        ["data=folder", "data.root=a b", "data.val_share=0.2", "data.test_share=0.3",
         "data.together=true", "data.seed=1", "data.flip=false", "data.max_unreadable=0.5"],
        ["data=hub", "data.path=some/set", "data.config=de", "data.label_column=fine"],
        ["data=cifar10", "data.val=1000"],
    ],
)  # fmt: skip
def test_a_network_is_trained_on_the_images_of_its_search(words, given):
    node = dict(SearchSettings.of(*given).data.node)
    found = words({"data": node})
    assert dict(TrainSettings.of(*found).data.node) == node
    assert {word for word in found if word.startswith("data")} == set(given)


def test_boxes_keep_their_classes_and_pixels(words):
    given = ["data=voc", "data.root=r", "data.classes=cat, dog", "data.flip=false"]
    node = dict(TrainSettings.of("task=detection", *given).data.node)
    earlier = node | {"void": 255}  # of a run from before it was the masks' alone
    found = words({"task": {"name": "detection"}, "data": earlier})
    assert dict(TrainSettings.of(*found).data.node) == node


def test_usual_settings_need_no_words(words):
    node = dict(SearchSettings.of().data.node)
    assert not [word for word in words({"data": node}) if word.startswith("data")]
    assert not [word for word in words({}) if word.startswith("data")]


def test_a_network_is_trained_at_its_own_side(words):
    """A search with weights notes the largest of its sides as the data's."""
    node = dict(SearchSettings.of("data=folder", "data.root=r", "data.resolution=96").data.node)
    settings = TrainSettings.of(*words({"data": node}))
    assert input_resolution(settings, None) == 28
    assert settings.data.node["resolution"] == 96, "read as the search has read them"
    for side in (28, None):
        found = words({"data": node | {"resolution": side}})
        assert not [word for word in found if word.startswith("resolution=")]


def test_a_winner_with_weights_is_trained_on_from_them(tmp_path):
    given = ["weights=pretrained", "arch=tf_efficientnet_lite0", "data=folder", "data.root=r"]
    inherited, plain = SearchSettings.of(*given), SearchSettings.of(*given[2:])
    run = SimpleNamespace(settings=inherited, folder=tmp_path, data=SimpleNamespace(name="folder"))
    winner = load(KEPT / "winner.yaml")
    for name in ("winner.yaml", "winner.pt"):
        (tmp_path / name).touch()
    said = next_steps(run, winner).partition(" trains the winner on")[0]
    settings = TrainSettings.of(*shlex.split(said)[3:])
    assert (settings.arch, settings.weights.name) == (f"{tmp_path}/winner.yaml", "file")
    assert settings.weights_path == f"{tmp_path}/winner.pt"
    assert settings.resolution == 28, "the data's is 96"
    run.settings = plain
    assert "nas.train trains the winner on, python -m nas.scale" in next_steps(run, winner)
