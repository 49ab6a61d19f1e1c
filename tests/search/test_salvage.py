"""A journal with damaged lines: what else it holds is kept, and the search goes on."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_study import SPACE, Fake, run, study, told

from nas.core.errors import UserError
from nas.search.evaluations import Evaluations, Role
from nas.search.salvage import NOTE
from nas.search.storage import open_storage
from nas.search.takeover import take_over_salvaged

DAMAGES = {
    "cut": lambda line: line[: len(line) // 2],
    "empty": lambda line: b"",
    "zeros": lambda line: b"\0" * len(line),
    "no text": lambda line: b"\xff\xfe\r" + line[9:],
    "no entry": lambda line: b"[1, 2]",
    "other key": lambda line: line.replace(b'"op_code"', b'"op_kode"'),
    "no such code": lambda line: b'{"op_code":99,"worker_id":""}',
    "lost fields": lambda line: b'{"op_code":4,"worker_id":""}',
    "bad choices": lambda line: line.replace(b"CategoricalDist", b"CatfgoricalDist")[:-1],
}
KINDS = st.sampled_from(sorted(DAMAGES))
TRIAL = b'{"op_code":4'


class Lines(list):
    """Lines that Hypothesis does not print."""

    __repr__ = object.__repr__


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The journal of a search that nothing disturbed, and what it told."""
    folder = tmp_path_factory.mktemp("whole")
    undisturbed = study(folder)
    run(undisturbed, Fake())
    lines = Lines((folder / "journal.log").read_bytes().splitlines())
    assert sum(line.startswith(TRIAL) for line in lines) == len(lines) - 1 == 30
    return lines, told(undisturbed)


def go_on(folder):
    """Run the study of `folder` to its end: what was salvaged, told and evaluated anew."""
    again, fake = study(folder), Fake()
    evaluations = Evaluations(folder / "evaluations.jsonl")
    take_over_salvaged(again.store, evaluations, SPACE)
    evaluate = partial(evaluations.evaluate, Role.TRIAL, evaluate=fake)
    again.run(evaluate, trials=30, batch=4, on_result=lambda metrics: None)
    return again.store.salvaged, told(again), fake.seen


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(
    st.integers(0, 29),
    st.integers(1, 9),
    st.integers(0, 29),
    st.lists(KINDS, min_size=3, max_size=3),
)
def test_it_ends_as_if_nothing_had_been_damaged(tmp_path_factory, whole, at, number, other, kinds):
    """Of 31 lines some in a row are damaged, and one elsewhere."""
    lines, undisturbed = whole
    folder = tmp_path_factory.mktemp("damaged")
    spoilt = {*range(at, min(at + number, 31)), other}
    texts = [DAMAGES[kinds[i % 3]](x) if i in spoilt else x for i, x in enumerate(lines)]
    journal = folder / "journal.log"
    journal.write_bytes(damaged := b"".join(text + b"\n" for text in texts))
    says, ended, seen = go_on(folder)
    trials = [lines[i] for i in spoilt if lines[i].startswith(TRIAL)]
    assert ended == undisturbed
    assert {*seen} <= {json.loads(x)["user_attrs"]["metrics"]["id"] for x in trials}
    assert len(seen) == len({*seen})
    assert f" {len(trials)} trials are lost and tried again" in says
    assert (folder / "journal.damaged.log").read_bytes() == damaged
    assert go_on(folder) == ("", undisturbed, [])


def test_what_is_salvaged_outlives_a_stop_and_a_second_damage(tmp_path, whole):
    lines, undisturbed = whole
    journal = tmp_path / "journal.log"
    for spoilt in (20, 9):
        kept = journal.read_bytes().splitlines() if journal.exists() else lines
        kept = [*kept[:spoilt], b"?", *kept[spoilt + 1 :]]
        journal.write_bytes(b"".join(line + b"\n" for line in kept))
        study(tmp_path)  # and stopped before anything else
    assert (tmp_path / "journal.damaged1.log").exists()
    _, ended, seen = go_on(tmp_path)
    assert ended == undisturbed
    assert len(seen) == 2


def test_notes_before_and_behind_are_kept(tmp_path):
    store = open_storage(tmp_path, None, "run")
    for i in range(3):
        store.set_note(f"kept {i}", i)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes().replace(b'"kept 1"', b"kept 1"))
    again = open_storage(tmp_path, None, "run")
    assert again.study.user_attrs == {"kept 0": 0, "kept 2": 2, NOTE: []}
    assert " 0 trials are lost and tried again" in again.salvaged


def test_what_is_no_journal_is_left_alone(tmp_path):
    (tmp_path / "journal.log").write_text("a diary\nof a dog\n")
    with pytest.raises(UserError, match=r"the run's journal is damaged.*choose another run="):
        open_storage(tmp_path, None, "run")
    assert (tmp_path / "journal.log").read_text() == "a diary\nof a dog\n"
    assert len([*tmp_path.iterdir()]) == 1
