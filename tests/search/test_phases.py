"""Which networks a search trains beside its trials."""

from __future__ import annotations

import random
from contextlib import nullcontext
from types import SimpleNamespace

from rich.console import Console
from spaces import SPACES

from nas.arch.operators import network_id
from nas.search.evaluations import Evaluations, Role
from nas.search.metrics import Metrics
from nas.search.phases import measure_whole, rows_trained, train_finalists
from nas.space.choices import fill, random_picks

SPACE = SPACES["mbconv_28"]


def metrics(arch, score):
    return Metrics(network_id(arch), "complete", 1.0 + score, 1, 1, 1, "", score=score)


def run_of(folder, archs, asked):
    rows = [
        metrics(arch, i / 10).to_json() | {"number": i, "name": ""} for i, arch in enumerate(archs)
    ]

    def train(some):
        asked.extend(network_id(arch) for arch in some)
        yield from ((i, metrics(arch, 0.5)) for i, arch in enumerate(some))

    return SimpleNamespace(
        study=SimpleNamespace(rows=lambda: rows),
        settings=SimpleNamespace(finalists=3, spread=0),
        problem=SimpleNamespace(space=SPACE, target_ms=9.0),
        evaluations=Evaluations(folder / "evaluations.jsonl"),
        evaluator=SimpleNamespace(unlimited=lambda: train),
        workers=SimpleNamespace(watched=lambda follow: nullcontext()),
        console=Console(quiet=True),
        arch_of={network_id(arch): arch for arch in archs}.__getitem__,
    )


def test_what_was_trained_as_a_label_or_a_reference_is_not_trained_again(tmp_path):
    archs = [fill(SPACE, random_picks(SPACE, random.Random(seed))) for seed in range(4)]
    run = run_of(tmp_path, archs, asked := [])
    run.evaluations.add(Role.LABEL, archs[3], metrics(archs[3], 0.9))
    run.evaluations.add(Role.REFERENCE, archs[2], metrics(archs[2], 0.8))
    train_finalists(run)
    assert asked == [network_id(archs[1])]
    rows = rows_trained(run)
    assert sorted((row["number"], row["score"]) for row in rows) == [(1, 0.5), (2, 0.8), (3, 0.9)]
    train_finalists(run)
    assert len(asked) == 1


def test_known_latencies_are_kept_where_nothing_is_measured(tmp_path):
    archs = [fill(SPACE, random_picks(SPACE, random.Random(seed))) for seed in range(2)]
    run = run_of(tmp_path, archs, [])
    run.problem.latency = SimpleNamespace(device=SimpleNamespace(measure_many=None))  # not called
    run.store = SimpleNamespace(note=lambda key, make: {"a": 1.5})
    named = {"a": archs[0], "b": archs[1]}
    assert measure_whole(run, named, again=False) == {"a": 1.5}
