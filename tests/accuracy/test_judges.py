"""One contract for every judge: the same questions, whatever a judge does to answer."""

from __future__ import annotations

import gzip
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
import yaml
from stripes import BUDGET, DATA, SPACE, archs

from nas.accuracy.estimate import Estimate, Failure
from nas.accuracy.judge import Judge, JudgeContext, make_judge
from nas.accuracy.oneshot import OneShotSettings
from nas.accuracy.predictor import PredictorSettings
from nas.accuracy.scratch import Scratch, ScratchSettings
from nas.accuracy.tabular import Tabular, TabularSettings
from nas.accuracy.worker_pool import WorkerPool
from nas.accuracy.zero_cost import LOG_MACS, PROXIES, ZeroCostSettings
from nas.arch.arch import Arch
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.cli import CONF
from nas.core.config import Component
from nas.core.errors import UserError
from nas.training.loop import Budget
from search_spaces.nas_bench_macro import nas_bench_macro, network

EPOCH = Budget(epochs=1, batch_size=16, lr=0.05, precision="fp32")


def data() -> Any:
    return DATA


def context(**more: Any) -> JudgeContext:
    return JudgeContext(SPACE, data, "cpu", **more)


def table(folder: str) -> str:
    """A table of the space's networks, by id."""
    path = os.path.join(folder, "table.csv")  # noqa: PTH118 - a text, as in YAML
    with open(path, "w") as file:  # noqa: PTH123 - it is that text
        print("arch,accuracy,se", file=file)
        for key in dict.fromkeys(network_id(arch) for arch in archs(600)):
            print(f"{key},{int(key[:4], 16) / 65536},0.01", file=file)
    return path


def scratch(folder: str) -> Judge:
    pool = WorkerPool(partial(Scratch.open, data, EPOCH, "cpu", 0), 1)
    return ScratchSettings().open(context(train=pool))


def oneshot(folder: str) -> Judge:
    return OneShotSettings(replace(BUDGET, training=EPOCH, checks=1)).open(context())


def tabular(folder: str) -> Judge:
    return TabularSettings(table(folder), se="se").open(context())


def blend(folder: str) -> Judge:
    prior = ZeroCostSettings(batch_size=16, draws=1)
    labels = tabular(folder)
    return PredictorSettings(prior, 8).open(context(label=labels, draw=lambda n: archs(40)[:n]))


def zero_cost(proxy: str, folder: str) -> Judge:
    return ZeroCostSettings(proxy, batch_size=16).open(context())


JUDGES: dict[str, Callable[[str], Judge]] = {
    "scratch": scratch,
    "oneshot": oneshot,
    "tabular": tabular,
    "blend": blend,
    **{name: partial(zero_cost, name) for name in (*PROXIES, LOG_MACS)},
}


@cache
def opened(name: str, folder: str) -> Judge:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small take longest by waiting for other threads
    try:
        return JUDGES[name](folder)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(params=JUDGES)
def judge(request, shared_folder) -> Judge:
    return opened(request.param, shared_folder)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("judges"))


def estimates(judge: Judge, networks: list[Arch]) -> list[Estimate | Failure]:
    """What the judge says of each, in order."""
    found = dict(judge.estimate(networks))
    return [found[i] for i in range(len(networks))]


def values(judge: Judge, networks: list[Arch]) -> list[float]:
    found = estimates(judge, networks)
    assert all(isinstance(estimate, Estimate) for estimate in found)
    return [estimate.value for estimate in found]


def test_an_estimate_says_what_every_estimate_says(judge):
    (estimate,) = estimates(judge, archs(1))
    assert isinstance(estimate, Estimate)
    assert math.isfinite(estimate.value)
    assert estimate.seconds >= 0
    assert math.isnan(estimate.standard_error) or estimate.standard_error >= 0
    assert isinstance(estimate.fidelity, str)
    assert estimate.fidelity
    assert estimate.threshold is None


def test_equal_networks_have_equal_values_whatever_came_between(judge):
    first, second = archs(2)
    alike = replace(first, name="another")
    found = [values(judge, [arch])[0] for arch in (first, second, alike)]
    assert found[0] == pytest.approx(found[2], rel=1e-6)
    assert found[0] != pytest.approx(found[1], rel=1e-6)


def test_many_are_judged_as_each_alone(judge):
    together = values(judge, archs(3))
    assert together == pytest.approx([values(judge, [arch])[0] for arch in archs(3)])
    assert estimates(judge, []) == []


def test_judging_leaves_torchs_generator_alone(judge):
    state = torch.get_rng_state()
    estimates(judge, [archs(3)[2]])
    assert torch.equal(torch.get_rng_state(), state)


def test_estimates_pass_between_processes(judge):
    (estimate,) = estimates(judge, archs(1))
    assert repr(pickle.loads(pickle.dumps(estimate))) == repr(estimate)  # NaN is no NaN


def node(name: str, **more: Any) -> Component:
    """The settings of conf/accuracy/<name>.yaml, as Hydra composes them."""
    settings = yaml.safe_load((CONF / "accuracy" / f"{name}.yaml").read_text())
    if "defaults" in settings:
        (prior, _) = settings.pop("defaults")
        settings["prior"] = dict(node(prior["/accuracy@prior"]).node)
    return Component(name, settings | more)


GIVEN = {
    "tabular": {"path": __file__},  # a file that is there; it is not read yet
    "inherited": {"arch": "mobilenet_v2", "path": None, "key": None},
}


def test_every_judge_says_before_it_is_opened_what_a_search_must_know():
    log = pytest.approx(-math.log(10))
    known = {
        name: (judge.trains_each, judge.infeasible_score(10))
        for name in sorted(path.stem for path in (CONF / "accuracy").glob("*.yaml"))
        for judge in [make_judge(node(name, **GIVEN.get(name, {})))]
    }
    assert known == {
        "blend": (False, log), "inherited": (True, log), "log_macs": (False, 0),
        "oneshot": (False, log),
        "proxies": (False, 0), "scratch": (True, log), "tabular": (False, 0.1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("scratch", {"prune": 1}, "accuracy.prune must be true or false, not 1"),
        ("proxies", {"proxy": "luck"}, "unknown accuracy.proxy 'luck'"),
        ("blend", {"num_labels": 4}, "accuracy.num_labels must be a whole number from 5"),
        ("blend", {"prior": 3}, "accuracy.prior must be a judge.* not 3"),
        ("tabular", {"path": "a.csv", "unit": "permille"}, "unknown accuracy.unit"),
        ("oneshot", {"budget": {"_target_": "nas.supernet.training.SupernetBudget", "checks": 0}},
         "supernet.checks must be a whole number from 1, not 0"),
        ("proxies", {"_target_": "builtins.dict"}, "accuracy must be a judge, with trains_each"),
        ("proxies", {"_target_": "no_such.Judge"}, "No module named 'no_such'"),
    ],
)  # fmt: skip
def test_mistakes_in_settings_are_named_before_a_judge_is_opened(name, wrong, words):
    with pytest.raises(UserError, match=words):
        make_judge(node(name, **wrong))


MINE = """
from dataclasses import dataclass

from nas.accuracy.estimate import Estimate


@dataclass
class MyJudge:
    bonus: float = 0.0
    trains_each = False

    def infeasible_score(self, num_classes):
        return -1.0

    def open(self, context):
        self.seed = context.seed
        return self

    def estimate(self, archs, thresholds=()):
        for i, arch in enumerate(archs):
            value = sum(stage.depth for stage in arch.stages) + self.bonus + self.seed
            yield i, Estimate(value, 0.0, 0.0, "depth")
"""


def test_a_judge_of_ones_own_is_a_class_and_a_node(tmp_path, monkeypatch):
    (tmp_path / "my_judge.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = {"_target_": "my_judge.MyJudge", "bonus": 0.5}
    settings = make_judge(Component("mine", mine))
    assert (settings.trains_each, settings.infeasible_score(10)) == (False, -1.0)
    depths = [sum(stage.depth for stage in arch.stages) for arch in archs(8)]
    assert values(settings.open(context(seed=1)), archs(8)) == [d + 1.5 for d in depths]
    # as the prior of a predictor, too
    predictor = make_judge(node("blend", prior=mine, num_labels=5))
    judge = predictor.open(context(label=settings.open(context()), seed=1))
    assert len(values(judge, archs(4))) == 4
    assert len(judge.labels) == 5


def read(path: Any, space: Arch = SPACE, **settings: Any) -> Tabular:
    return TabularSettings(path, **settings).open(JudgeContext(space, data))


def rows(path: Any, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_missing_network_is_named(tmp_path):
    known, missing = (
        archs(40)[0],
        next(a for a in archs(40) if network_id(a) != network_id(archs(40)[0])),
    )
    judge = read(rows(tmp_path / "t.csv", "arch,accuracy", f"{network_id(known)},.5"))
    assert judge(known).value == 0.5
    assert math.isnan(judge(known).standard_error)
    with pytest.raises(UserError) as caught:
        judge(missing)
    assert network_id(missing) in str(caught.value)
    assert arch_string(missing) in str(caught.value)


def test_codes_name_networks_and_equal_ones_have_their_mean(tmp_path):
    lines = ("arch,acc1,acc2", "22212220,93,94", "22212202,92,93", "11111111,80,80")
    space, path = nas_bench_macro(), rows(tmp_path / "t.csv", *lines)
    columns = {"named_by": "code", "accuracy": ["acc1", "acc2"]}
    judge = read(path, space, unit="percent", **columns)
    answer = judge(network("22212220"))
    assert answer.value == pytest.approx(0.93)
    assert answer.standard_error == pytest.approx(0.005)
    assert judge(network("11111111")).value == pytest.approx(0.8)
    for wrong in ("2221222", "22212223"):
        path = rows(tmp_path / "t.csv", "arch,accuracy", f"{wrong},50")
        with pytest.raises(UserError, match=f"t.csv:2: '{wrong}' is no code"):
            read(path, space, named_by="code", unit="percent")


@pytest.mark.parametrize(
    ("lines", "settings", "words"),
    [
        (("arch,acc", "a,.5"), {}, "unknown column of .*accuracy"),
        (("arch,accuracy", "a,55"), {}, "t.csv:2: '55' is no accuracy from 0 to 1"),
        (("arch,accuracy", "a,5", "b,x"), {"unit": "percent"}, "t.csv:3: 'x'"),
        (("arch,accuracy", "a"), {}, "t.csv:2: ''"),
        (("arch,accuracy",), {}, "no line"),
        (("arch,accuracy", "a,.5"), {"unit": "permille"}, "unknown accuracy.unit"),
        (("arch,accuracy", "a,.5"), {"named_by": "name"}, "unknown accuracy.named_by"),
        (("arch,a,b", "a,.5,.6"), {"accuracy": ["a", "b"], "se": "b"}, "give one column"),
    ],
)
def test_tables_that_cannot_be_read_say_why(tmp_path, lines, settings, words):
    with pytest.raises(UserError, match=words):
        read(rows(tmp_path / "t.csv", *lines), **settings)


def test_a_table_that_is_not_there_or_not_text_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"there is no file accuracy\.path=\S*none\.csv: give a"):
        TabularSettings(tmp_path / "none.csv")  # before a latency table is measured
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a CSV file"):
        read(tmp_path / "bad.csv")
    whole = gzip.compress(b"arch,accuracy\na,.5\n" * 9)
    for damaged in (whole[:-9], whole[:12] + b"\xff" * 9 + whole[21:]):
        (tmp_path / "bad.csv.gz").write_bytes(damaged)
        with pytest.raises(UserError, match="not a CSV file"):
            read(tmp_path / "bad.csv.gz")


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("arch,accuracy\na,.5\n", encoding="utf-8-sig")
    assert read(tmp_path / "t.csv").entries["a"][0] == 0.5
