"""A damaged line of evaluations.jsonl is as if it were not there, whatever the damage."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_study import SPACE, Fake

from nas.arch.operators import network_id
from nas.search.evaluations import Evaluations, Role
from nas.space.choices import fill, random_picks

ARCHS = [fill(SPACE, random_picks(SPACE, random.Random(seed))) for seed in range(4)]


def test_a_training_that_failed_is_tried_again_and_a_scoring_is_not(tmp_path):
    evaluations = Evaluations(tmp_path / "evaluations.jsonl")
    for role in Role:
        [(_, metrics)] = evaluations.evaluate(role, ARCHS[:1], Fake())
        evaluations.add(role, ARCHS[0], replace(metrics, state="failed", reason="its process died"))
    again = [role for role in Role if evaluations.missing(role, ARCHS[:1])]
    assert again == [Role.REFERENCE, Role.LABEL, Role.FINALIST, Role.CONTROL]
    fake = Fake()
    [(_, metrics)] = evaluations.evaluate(Role.FINALIST, ARCHS[:1], fake)
    assert (metrics.state, len(fake.seen)) == ("complete", 1)
    assert evaluations.missing(Role.FINALIST, ARCHS[:1]) == []


def cut(line, at):
    return line[: len(line) * at // 100]


def renamed(line, at):
    """A key is another: one byte of what stands before a colon."""
    keys = [i for i in range(len(line) - 1) if line[i : i + 2] == b'":']
    i = keys[len(keys) * at // 100]
    return line[: i - 1] + b"~" + line[i:]


def rewidened(line, at):
    """The network is another one."""
    return line.replace(b'"resolution": 28', b'"resolution": 32')


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 3),
    st.sampled_from([cut, renamed, rewidened, lambda line, at: b"\0" * at]),
    st.integers(0, 99),
)
def test_a_damaged_row_is_evaluated_again_and_the_others_are_not(tmp_path_factory, row, how, at):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    list(Evaluations(path).evaluate(Role.LABEL, ARCHS, Fake()))
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == len(ARCHS)
    lines[row] = how(lines[row], at)
    path.write_bytes(b"\n".join(lines))
    again, fake = Evaluations(path), Fake()
    found = dict(again.evaluate(Role.LABEL, ARCHS, fake))
    assert len(fake.seen) == 1
    assert [found[i].id for i in range(4)] == [network_id(arch) for arch in ARCHS]
    assert [again.arch(m.id) for _, m in sorted(found.items())] == ARCHS
    assert Evaluations(path).missing(Role.LABEL, ARCHS) == []
