"""The steps of NetAdapt: what is killed goes on, and nothing is trained twice."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import pytest
import stripes
import torch
from rich.console import Console

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.arch.cost import cost
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.search.netadapt import FASTER
from nas.search.shrinking import ImageTrainer, Shrinking, SomeBatches
from nas.training.evaluation import TrainingFailed
from nas.training.loop import Budget

BLOCK = Block(expand=6)
START = Arch(
    (Stage(16, 1, 1, Block(expand=1)), Stage(24, 2, 2, BLOCK), Stage(40, 2, 2, BLOCK)),
    Stem(16), Head(64), resolution=16, channels=1, classes=4,
)  # fmt: skip


def price(arch):
    return cost(arch).macs * 1e-6


TARGET = 0.85 * price(START)


class Planned:
    """Trains nothing: a network's loss follows from its id, or is what was planted for it."""

    def __init__(self, stop_after=None, planted=None):
        self.done, self.stop_after, self.planted = [], stop_after, planted or {}

    def __call__(self, net, arch, step, progress):
        if len(self.done) == self.stop_after:
            raise KeyboardInterrupt
        progress(1, 1)
        self.done.append((step, network_id(arch)))
        with torch.no_grad():  # so that who inherits can be told
            net.get_submodule("classifier.linear.linear").bias.fill_(step)
        drawn = int(network_id(arch), 16) % 1000 / 1000
        return self.planted.get(network_id(arch), 0.5 + drawn / 10)


def shrinking(folder, trainer, target=TARGET, start=START):
    folder.mkdir(exist_ok=True)
    console = Console(file=io.StringIO())
    return Shrinking(start, price, target, 0.03, trainer, 0, folder, console)


def ids(steps):
    return [network_id(step.proposal.arch) for step in steps]


def test_the_last_step_is_within_the_target_by_two_percent(tmp_path):
    work = shrinking(tmp_path, Planned())
    steps = work.steps()
    times = [step.proposal.ms for step in steps]
    assert times == sorted(times, reverse=True)
    assert (1 - FASTER) * TARGET <= times[-1] <= TARGET
    assert all(a - b >= 0.03 * times[0] for a, b in pairwise(times[:-1]))
    kept = {path.stem for path in tmp_path.glob("*.pt")}
    assert kept == {ids(steps)[0], *ids(steps)[-2:]}


def test_each_step_begins_with_the_weights_of_the_one_before(tmp_path):
    seen = []

    class Watching(Planned):
        def __call__(self, net, arch, step, progress):
            seen.append((step, net.get_submodule("classifier.linear.linear").bias[0].item()))
            return super().__call__(net, arch, step, progress)

    shrinking(tmp_path, Watching()).steps()
    assert {before for step, before in seen if step} == {step - 1 for step, _ in seen if step}
    assert all(before == step - 1 for step, before in seen if step)


def test_a_planted_proposal_is_chosen(tmp_path):
    whole = Planned()
    taken = ids(shrinking(tmp_path / "whole", whole).steps())
    other = next(key for step, key in whole.done if step == 1 and key not in taken)
    found = shrinking(tmp_path / "planted", Planned(planted={other: -9.0})).steps()
    assert ids(found)[1] == other


@pytest.mark.parametrize("stop_after", [0, 1, 2, 5, 9])
def test_stopped_anywhere_it_goes_on_and_repeats_nothing(stop_after, tmp_path):
    whole = Planned()
    want = ids(shrinking(tmp_path / "whole", whole).steps())
    assert len(whole.done) > 10
    first, again = Planned(stop_after), Planned()
    with pytest.raises(KeyboardInterrupt):
        shrinking(tmp_path / "stopped", first).steps()
    assert ids(shrinking(tmp_path / "stopped", again).steps()) == want
    assert first.done + again.done == whole.done
    nothing = Planned(stop_after=0)
    assert ids(shrinking(tmp_path / "stopped", nothing).steps()) == want


def test_killed_between_weights_and_journal_it_goes_on(tmp_path):
    whole = Planned()
    want = ids(shrinking(tmp_path / "whole", whole).steps())
    with pytest.raises(KeyboardInterrupt):
        shrinking(tmp_path / "cut", Planned(stop_after=4)).steps()
    journal = tmp_path / "cut" / "scores.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:-1], lines[-1][:30]]))  # the weights are there
    again = Planned()
    assert ids(shrinking(tmp_path / "cut", again).steps()) == want
    assert again.done == whole.done[3:]


def test_a_proposal_that_fails_costs_no_other_and_all_of_them_end_it(tmp_path):
    class Failing(Planned):
        def __call__(self, net, arch, step, progress):
            if step and (self.stop_after is None or len(self.done) % 2):
                self.done.append(None)
                raise TrainingFailed("not_finite", "the loss became nan")
            return super().__call__(net, arch, step, progress)

    steps = shrinking(tmp_path / "some", Failing(stop_after=1000)).steps()
    assert steps[-1].proposal.ms <= TARGET
    with pytest.raises(UserError, match=r"no smaller network of .* could be trained"):
        shrinking(tmp_path / "all", Failing()).steps()


def test_weights_that_were_taken_away_are_said_so(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        shrinking(tmp_path, Planned(stop_after=3)).steps()
    for path in tmp_path.glob("*.pt"):
        path.unlink()
    with pytest.raises(UserError, match=r"is missing: remove .*, and it is refined anew"):
        shrinking(tmp_path, Planned()).steps()


def test_where_nothing_can_be_smaller_that_is_said(tmp_path):
    smallest = Arch((Stage(8, 1, 2, Block(expand=1)),), Stem(8), Head(8), resolution=8, classes=2)
    with pytest.raises(UserError, match=r"give a larger target= or refine.start="):
        shrinking(tmp_path, Planned(), target=1e-9, start=smallest).steps()


def test_batches_of_a_step_are_the_same_each_time_and_others_in_the_next():
    class Numbers:
        def __len__(self):
            return 3

        def epoch(self, number):
            return iter([(number, i) for i in range(3)])

    assert list(SomeBatches(Numbers(), 4, 1).epoch(0)) == [(2, 0), (2, 1), (2, 2), (3, 0)]
    assert list(SomeBatches(Numbers(), 4, 1).epoch(9)) == list(
        SomeBatches(Numbers(), 4, 1).epoch(0)
    )
    drawn = [set(SomeBatches(Numbers(), 4, step).epoch(0)) for step in range(4)]
    assert len(set().union(*drawn)) == 16


def test_networks_are_trained_the_same_each_time(tmp_path):
    start = replace(START, resolution=8, channels=2)
    found = []
    for name in ("a", "b"):
        (folder := tmp_path / name).mkdir()
        budget, cpu = Budget(1, batch_size=16), torch.device("cpu")
        trainer = ImageTrainer(stripes.DATA, budget, cpu, 0, 2, folder / "checkpoint.pt")
        found.append(shrinking(folder, trainer, 0.95 * price(start), start).steps())
    assert ids(found[0]) == ids(found[1])
    assert [s.cross_entropy for s in found[0]] == [s.cross_entropy for s in found[1]]
    assert not (tmp_path / "a" / "checkpoint.pt").exists()
