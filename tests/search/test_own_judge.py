"""A judge of a user's own: a class anywhere and a YAML in conf/accuracy, nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas.core import cli, config
from nas.core.errors import UserError
from nas.search.run import search
from nas.search.settings import SearchSettings

TABLE = Path(__file__).parents[2] / "results" / "reference" / "latency" / "table.csv"
JUDGE = """
from dataclasses import dataclass

from nas.accuracy.estimate import Estimate
from nas.arch.cost import cost


@dataclass(frozen=True)
class FewParameters:
    weight: float
    trains_each = False

    def infeasible_score(self, num_classes):
        return -1e9

    def open(self, context):
        return self

    def estimate(self, archs, thresholds=()):
        for i, arch in enumerate(archs):
            yield i, Estimate(-self.weight * cost(arch).params, 0.0, 0.0, "parameters")
"""


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A configuration with accuracy=mine, and the class that it names."""
    folder = shutil.copytree(cli.CONF, tmp_path / "conf")
    (folder / "accuracy" / "mine.yaml").write_text(
        "_target_: own_judge.FewParameters\nweight: 2.0\n"
    )
    (tmp_path / "own_judge.py").write_text(JUDGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "CONF", folder)
    monkeypatch.setattr(config, "CONF", folder)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own_conf")
def test_a_judge_of_ones_own_searches():
    words = (
        "accuracy=mine", "accuracy.weight=3.0", "trials=20", "finalists=2", "spread=1", "workers=1",
        "references=[]", "data.train=100", "data.val=50", "data.test=50", "budget.epochs=1",
        "latency=table", f"latency.path={TABLE}", "target=0.15",
    )  # fmt: skip
    summary = search(SearchSettings.of(*words))
    assert (summary["accuracy"], summary["evaluated"], summary["trained"]) == ("mine", 20, 3)
    assert "sampler" in summary
    again = search(SearchSettings.of(*words))
    assert again["winner"] == summary["winner"]


@pytest.mark.usefixtures("own_conf")
def test_its_mistakes_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"unknown setting 'accuracy\.wieght'"):
        SearchSettings.of("accuracy=mine", "accuracy.wieght=3.0")
    with pytest.raises(UserError, match="accuracy must be a judge"):
        search(SearchSettings.of("accuracy=mine", "accuracy._target_=builtins.dict"))
    assert not (tmp_path / "results").exists()
