"""Training a supernet: what a step does, what goes wrong, what a kill must not take."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from stripes import BUDGET, CPU, DATA, SHORT, SPACE, TRAINING, archs, batches, weights

from nas.core.errors import UserError
from nas.data.augment import Batches
from nas.data.dataset import Split
from nas.network.device import to_device
from nas.space.trellis.trellis import Trellis
from nas.supernet.sandwich import Sandwich, accumulate_gradients
from nas.supernet.scoring import side_by_side, subnet_losses
from nas.supernet.supernet import Supernet
from nas.supernet.training import SupernetBudget, train_supernet
from nas.training.evaluation import TrainingFailed
from nas.training.loop import Budget


class Spoilt:
    """The batches, but one of an epoch holds a NaN."""

    def __init__(self, inner: Batches, epoch: int, batch: int) -> None:
        self.inner, self.where = inner, (epoch, batch)

    def __len__(self) -> int:
        return len(self.inner)

    def epoch(self, number: int):
        for i, (images, labels) in enumerate(self.inner.epoch(number)):
            if (number, i) == self.where:
                images = images.clone()
                images[0, 0, 0, 0] = math.nan
            yield images, labels


def test_training_lowers_the_loss_of_every_network_and_shows_how_the_ranking_settles():
    supernet = Supernet(SPACE, seed=0)
    val, seen = batches(DATA.val, shuffle=False, size=50), []
    before, _ = subnet_losses(supernet, archs(), val, device=CPU)
    history = train_supernet(
        supernet, batches(), BUDGET, device=CPU, probe=val,
        progress=lambda done, left, history: seen.append((done, left, history.steps)),
    )  # fmt: skip
    after, right = subnet_losses(supernet, archs(), val, device=CPU)
    assert (after.mean(1) < before.mean(1)).all()
    assert right.shape == after.shape == (8, 50)
    assert right.float().mean() > 0.6  # of four classes
    assert history.steps == 18
    assert [s for _, _, s in seen] == list(range(1, 19))
    assert seen[-1][:2] == (1.0, 0.0)
    assert history.checks[-1].step == 18
    assert history.checks[-1].loss < math.log(4)
    assert history.returns == []


def test_threads_and_their_number_change_nothing():
    results = []
    for threads in (1, 3):
        supernet = Supernet(SPACE, seed=0)
        budget = replace(SHORT, threads=threads)
        before = torch.get_num_threads()
        train_supernet(supernet, batches(), budget, device=CPU)
        assert torch.get_num_threads() == before
        results.append(weights(supernet))
    assert torch.equal(*results)


def test_threads_are_for_cpus_only():
    """On a GPU they would wait for one stream and for Python, each with plans of its own."""
    with side_by_side(2, torch.device("cuda")) as run:
        assert run is map
    with side_by_side(2, CPU) as run:
        assert run is not map


def test_scoring_waits_for_the_device_once_a_batch(monkeypatch):
    copies, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: copies.append(x.shape) or cpu(x))
    losses, right = subnet_losses(
        Supernet(SPACE), archs(), batches(DATA.val, shuffle=False, size=20), device=CPU
    )
    assert (losses.dtype, right.dtype) == (torch.float64, torch.bool)
    assert copies == [(2, 8, 20), (2, 8, 20), (2, 8, 10)]


def test_a_failure_in_one_thread_stops_all():
    supernet = Supernet(SPACE, seed=0)
    images = torch.randn(4, 3, 8, 8)  # the space has two channels
    drawn = Sandwich(SPACE).step(random.Random(0))
    with side_by_side(2, CPU) as run, pytest.raises(RuntimeError, match="channels"):
        accumulate_gradients(supernet, drawn, images, torch.zeros(4, dtype=torch.long), run=run)


def test_the_smaller_networks_learn_what_the_largest_says():
    supernet = to_device(Supernet(SPACE, seed=0), CPU)
    drawn = Sandwich(SPACE, num_random=0).step(random.Random(0))
    images, labels = next(batches().epoch(0))
    loss = accumulate_gradients(supernet, drawn, images, labels)
    ours = [p.grad.clone() for p in supernet.parameters()]
    supernet.zero_grad(set_to_none=True)
    logits = [supernet.logits(supernet.rows_of(arch), images) for arch in drawn]
    cross_entropy = torch.nn.functional.cross_entropy
    teacher = cross_entropy(logits[0], labels)
    (teacher + cross_entropy(logits[1], logits[0].detach().softmax(1))).backward()
    assert loss.item() == pytest.approx(teacher.item())
    for mine, p in zip(ours, supernet.parameters(), strict=True):
        assert mine.stride() == p.stride()  # or a fused optimizer would mix them up
        assert torch.allclose(mine, torch.zeros_like(p) if p.grad is None else p.grad, atol=1e-6)


@pytest.mark.parametrize("every", [1, 50])
def test_a_batch_with_a_nan_is_survived_and_named(every, monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", every)
    supernet = Supernet(SPACE, seed=0)
    history = train_supernet(supernet, Spoilt(batches(), 1, 2), BUDGET, device=CPU)
    assert weights(supernet).isfinite().all()
    (event,) = history.returns
    assert "nan" in event.reason
    assert event.step == (9 if every == 1 else 12)
    assert event.lr_scale == 0.5
    assert history.steps == 18


def test_a_training_whose_last_look_diverges_is_ended(tmp_path):
    path = tmp_path / "supernet.pt"
    history = train_supernet(
        Supernet(SPACE), Spoilt(batches(), 2, 5), BUDGET, device=CPU, checkpoint=path
    )
    assert [event.step for event in history.returns] == [18]
    train_supernet(
        Supernet(SPACE), batches(), BUDGET, device=CPU, checkpoint=path,
        progress=lambda *_: pytest.fail("a finished training goes on"),
    )  # fmt: skip


def test_the_networks_of_the_looks_before_are_checked_where_the_last_one_diverges(monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 2)
    history = train_supernet(Supernet(SPACE), Spoilt(batches(), 2, 5), BUDGET, device=CPU)
    assert [event.step for event in history.returns] == [18]
    assert history.checks[-1].step == 18


def test_a_training_that_never_stays_finite_is_given_up_with_a_reason(monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 1)
    spoilt = Split(DATA.train.images, DATA.train.labels)
    bad = Batches(spoilt, (math.nan, 0), DATA.std, batch_size=16, shuffle=True)
    with pytest.raises(TrainingFailed, match=r"the 6th time: lower accuracy.budget.training.lr"):
        train_supernet(Supernet(SPACE), bad, BUDGET, device=CPU)


def test_a_collapse_is_seen(monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 2)
    wild = replace(BUDGET, training=replace(TRAINING, epochs=6, clip_norm=0.0))
    supernet = Supernet(SPACE, seed=0)

    def blow(done: float, left: float, history) -> None:
        if history.steps == 24:
            with torch.no_grad():
                supernet.places["classifier"]["linear"].linear.linear.weight.mul_(-30)

    history = train_supernet(supernet, batches(), wild, device=CPU, progress=blow)
    assert any("collapsed" in event.reason for event in history.returns)
    assert history.checks[-1].loss < math.log(4)


class Killed(Exception):  # noqa: N818 - what a kill looks like from inside
    pass


def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 2)
    monkeypatch.setattr("nas.supernet.training.SAVE_SECONDS", 0.0)
    val = batches(DATA.val, shuffle=False, size=50)

    def train(progress=None, checkpoint=None):
        supernet = Supernet(SPACE, seed=0)
        history = train_supernet(
            supernet, Spoilt(batches(), 0, 3), BUDGET, device=CPU, seed=4, probe=val,
            checkpoint=checkpoint, progress=progress,
        )  # fmt: skip
        return weights(supernet), history

    whole, straight = train()
    path = tmp_path / "supernet.pt"
    for at in (3, 11):  # the second one dies in the training that the first one left
        steps = []

        def kill(done: float, left: float, history, at=at, steps=steps) -> None:
            steps.append(history.steps)
            if history.steps == at:
                raise Killed

        with pytest.raises(Killed):
            train(kill, path)
        assert [p.name for p in tmp_path.iterdir()] == ["supernet.pt"]
        assert steps[0] == {3: 1, 11: 4}[at]
    resumed, history = train(checkpoint=path)
    assert torch.equal(resumed, whole)
    assert [replace(c, seconds=0, agreement=0) for c in history.checks] == [
        replace(c, seconds=0, agreement=0) for c in straight.checks
    ]
    agreements = [[c.agreement for c in h.checks] for h in (history, straight)]
    assert np.array_equal(*agreements, equal_nan=True)
    assert history.returns == straight.returns != []
    again, _ = train(lambda *_: pytest.fail("a finished training goes on"), path)
    assert torch.equal(again, whole)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "supernet.pt"
    train_supernet(Supernet(SPACE), batches(), SHORT, device=CPU, checkpoint=path)
    with pytest.raises(UserError, match="holds a supernet that began with other settings"):
        train_supernet(Supernet(SPACE), batches(), BUDGET, device=CPU, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot read the supernet"):
        train_supernet(Supernet(SPACE), batches(), BUDGET, device=CPU, checkpoint=path)


def test_limits_are_kept_over_a_kill_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 2)
    monkeypatch.setattr("nas.supernet.training.SAVE_SECONDS", 0.0)
    trellis = Trellis(SPACE)
    middle = np.median(trellis.costs(trellis.random(999, np.random.default_rng(0))).macs)
    path, val = tmp_path / "supernet.pt", batches(DATA.val, shuffle=False, size=50)

    def train(most, checkpoint=None, progress=None):
        supernet = Supernet(SPACE, seed=0)
        train_supernet(
            supernet, batches(), SHORT, device=CPU, probe=val, checkpoint=checkpoint,
            feasible=lambda genomes: trellis.costs(genomes).macs <= most, progress=progress,
        )  # fmt: skip
        return weights(supernet)

    def kill(done: float, left: float, history) -> None:
        if history.steps == 3:
            raise Killed

    with pytest.raises(Killed):
        train(middle, path, kill)
    whole = train(middle)
    assert torch.equal(train(middle, path), whole)
    assert not torch.equal(train(math.inf), whole)
    with pytest.raises(UserError, match="holds a supernet that began with other settings"):
        train(math.inf, path)


def test_training_by_the_clock_ends_when_it_says_and_goes_on_from_where_it_was(tmp_path):
    ticks = iter(range(10_000))
    budget = replace(BUDGET, seconds=12.0)
    history = train_supernet(
        Supernet(SPACE), batches(), budget, device=CPU, clock=lambda: float(next(ticks)),
        checkpoint=tmp_path / "supernet.pt",
    )  # fmt: skip
    assert history.seconds == 12.0
    assert history.steps == 12
    more = train_supernet(
        Supernet(SPACE), batches(), budget, device=CPU, clock=lambda: float(next(ticks)),
        checkpoint=tmp_path / "supernet.pt",
    )  # fmt: skip
    assert more == history or math.isnan(more.checks[0].agreement)


def test_training_stops_when_the_ranking_has_settled(monkeypatch):
    monkeypatch.setattr("nas.supernet.training.CHECK_EVERY", 1)
    monkeypatch.setattr("nas.supernet.training.kendall", lambda a, b: 0.99)
    budget = replace(BUDGET, checks=6, settled=0.95)
    val = batches(DATA.val, shuffle=False, size=50)
    history = train_supernet(Supernet(SPACE), batches(), budget, device=CPU, probe=val)
    assert history.settled
    assert [c.step for c in history.checks] == [3, 6, 9]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seconds": 0}, "above 0"),
        ({"threads": 0}, "from 1, not"),
        ({"num_random": 1.5}, "from 0, not"),
        ({"settled": 2}, "from 0 to 1"),
        ({"training": Budget(epochs=1, label_smoothing=0.1)}, "leave out .*label_smoothing="),
        ({"training": Budget(epochs=1, norms="frozen")}, "and norms="),
    ],
)
def test_budgets_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        SupernetBudget(**wrong)
