"""One contract for every judge: the same questions, whatever a judge does to answer."""

from __future__ import annotations

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

from nas.accuracy.oneshot import OneShot
from nas.accuracy.predictor import Blend, Columns
from nas.accuracy.scratch import Scratch
from nas.accuracy.tabular import Tabular
from nas.accuracy.worker_pool import WorkerPool, call_safely
from nas.accuracy.zero_cost import LOG_MACS, PROXIES, ZeroCost
from nas.arch.arch import Arch
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.core.cli import CONF
from nas.core.config import make
from nas.core.errors import UserError
from nas.training.loop import Budget
from search_spaces.nas_bench_macro import nas_bench_macro, network

EPOCH = Budget(epochs=1, batch_size=16, lr=0.05, precision="fp32")


def data() -> Any:
    return DATA


def table(folder: str) -> Tabular:
    """A table of the space's networks, by id."""
    path = os.path.join(folder, "table.csv")  # noqa: PTH118 - a text that pickles
    with open(path, "w") as file:  # noqa: PTH123 - it is that text
        print("arch,accuracy,se", file=file)
        for key in dict.fromkeys(network_id(arch) for arch in archs(600)):
            print(f"{key},{int(key[:4], 16) / 65536},0.01", file=file)
    return Tabular.open(SPACE, path, se="se")


def answers(judge: Callable[[Arch], Any], networks: Any) -> Any:
    return ((i, call_safely(judge, arch)) for i, arch in enumerate(networks))


def blend(folder: str) -> Blend:
    prior = ZeroCost(DATA, batch_size=16, draws=1, device="cpu")
    covered = archs(40)
    truth = partial(answers, table(folder))
    judge = Blend(partial(answers, prior), Columns(covered))
    for i, answer in truth(covered[:8]):
        judge.tell(covered[i], answer.value)
    return judge


def zero_cost(proxy: str, folder: str) -> ZeroCost:
    return ZeroCost.open(data, proxy=proxy, batch_size=16, device="cpu")


def scratch(folder: str) -> Scratch:
    return Scratch.open(data, EPOCH, "cpu", 0)


def oneshot(folder: str) -> OneShot:
    short = replace(BUDGET, training=EPOCH, checks=1)
    return OneShot.open(data, SPACE, short, "cpu", seed=0)


JUDGES: dict[str, Callable[[str], Any]] = {
    "scratch": scratch,
    "oneshot": oneshot,
    "tabular": table,
    "blend": blend,
    **{name: partial(zero_cost, name) for name in (*PROXIES, LOG_MACS)},
}


@cache
def opened(name: str, folder: str) -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small take longest by waiting for other threads
    try:
        return JUDGES[name](folder)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(params=JUDGES)
def name(request) -> str:
    return request.param


@pytest.fixture
def judge(name, shared_folder):
    return opened(name, shared_folder)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("judges"))


def value_of(answer: Any) -> float:
    """What a search ranks by."""
    return answer.value if hasattr(answer, "value") else -answer.val.cross_entropy


def test_an_answer_says_what_every_answer_says(name, judge):
    answer = judge(archs(1)[0])
    assert math.isfinite(value_of(answer))
    assert answer.seconds >= 0
    if name == "scratch" and not hasattr(answer, "value"):
        pytest.skip("scratch answers with a Judgement, which has no value of its own yet")
    assert math.isnan(answer.standard_error) or answer.standard_error >= 0
    if name == "oneshot" and not isinstance(answer.fidelity, str):
        pytest.skip("oneshot gives its fidelity as a number yet")
    assert isinstance(answer.fidelity, str)
    assert answer.fidelity


def test_equal_networks_have_equal_values_whatever_came_between(judge):
    first, second = archs(2)
    alike = replace(first, name="another")
    values = [value_of(judge(arch)) for arch in (first, second, alike)]
    assert values[0] == pytest.approx(values[2], rel=1e-6)
    assert values[0] != pytest.approx(values[1], rel=1e-6)


def test_judging_leaves_torchs_generator_alone(judge):
    state = torch.get_rng_state()
    judge(archs(3)[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_answers_pass_between_processes(judge):
    answer = judge(archs(1)[0])
    assert value_of(pickle.loads(pickle.dumps(answer))) == value_of(answer)


def test_a_pool_takes_any_judge(judge):
    with WorkerPool(lambda: judge, 1) as pool:
        found = dict(pool(archs(2)))
    assert {i: value_of(answer) for i, answer in found.items()} == pytest.approx(
        {i: value_of(judge(arch)) for i, arch in enumerate(archs(2))}
    )


def test_every_judge_has_settings_that_its_constructor_takes(shared_folder):
    given = {
        "scratch": {"load": data, "budget": EPOCH, "device": "cpu", "seed": 0},
        "proxies": {"load": data, "device": "cpu", "seed": 0},
        "tabular": {"space": SPACE},
    }
    table(shared_folder)
    found = {}
    for path in sorted((CONF / "accuracy").glob("*.yaml")):
        node = yaml.safe_load(path.read_text())
        for composed in ("defaults", "prior"):  # by Hydra and nas.accuracy.factory
            node.pop(composed, None)
        if node.get("path") == "???":
            node |= {"path": os.path.join(shared_folder, "table.csv")}  # noqa: PTH118 - a text, as in YAML
        found[path.stem] = make(node)
    assert set(found) == {"scratch", "oneshot", "proxies", "log_macs", "tabular", "blend"}
    for name, more in given.items():
        assert value_of(found[name](**more)(archs(1)[0])) == value_of(
            found[name](**more)(archs(1)[0])
        )
    judge = found["blend"](SPACE, *(partial(answers, table(shared_folder)),) * 2, num_labels=5)
    assert judge.labels


def rows(path: Any, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_missing_network_is_named(tmp_path):
    known, missing = (
        archs(40)[0],
        next(a for a in archs(40) if network_id(a) != network_id(archs(40)[0])),
    )
    judge = Tabular.open(
        SPACE, rows(tmp_path / "t.csv", "arch,accuracy", f"{network_id(known)},.5")
    )
    assert judge(known).value == 0.5
    assert math.isnan(judge(known).standard_error)
    with pytest.raises(UserError) as caught:
        judge(missing)
    assert network_id(missing) in str(caught.value)
    assert arch_string(missing) in str(caught.value)


def test_codes_name_networks_and_equal_ones_have_their_mean(tmp_path):
    lines = ("arch,acc1,acc2", "22212220,93,94", "22212202,92,93", "11111111,80,80")
    space, path = nas_bench_macro(), rows(tmp_path / "t.csv", *lines)
    judge = Tabular.open(space, path, named_by="code", accuracy=["acc1", "acc2"], unit="percent")
    answer = judge(network("22212220"))
    assert answer.value == pytest.approx(0.93)
    assert answer.standard_error == pytest.approx(0.005)
    assert judge(network("11111111")).value == pytest.approx(0.8)
    for wrong in ("2221222", "22212223"):
        path = rows(tmp_path / "t.csv", "arch,accuracy", f"{wrong},50")
        with pytest.raises(UserError, match=f"t.csv:2: '{wrong}' is no code"):
            Tabular.open(space, path, named_by="code", unit="percent")


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
        Tabular.open(SPACE, rows(tmp_path / "t.csv", *lines), **settings)


def test_a_table_that_is_not_there_or_not_text_is_one_line(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Tabular.open(SPACE, tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a CSV file"):
        Tabular.open(SPACE, tmp_path / "bad.csv")
