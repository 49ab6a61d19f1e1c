"""Captured training steps, with graphs that compute what they captured each time anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_loop import CPU, SHORT, Squares, network, weights
from torch import Tensor

from nas.network.cuda_graph import WARM_UP, CaptureFailed
from nas.training import captured, loop
from nas.training.captured import CapturedStep, pays
from nas.training.loop import train

Replay = Callable[[], None]


class Graphs:
    """Counts warm-ups, captures and replays; a capture computes nothing, a replay on CPU does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.warmed, self.captured, self.replayed = 0, 0, 0
        monkeypatch.setattr(captured, "warm_up", self.warm_up)
        monkeypatch.setattr(captured, "capture", self.capture)
        monkeypatch.setattr(loop, "pays", lambda device, steps: True)

    def warm_up(self, work: Callable[[], object], times: int) -> None:
        self.warmed += times
        for _ in range(times):
            work()

    def capture(self, work: Any) -> tuple[Replay, Tensor]:
        self.captured += 1
        loss, groups = torch.zeros(()), work.__self__.optimizer.param_groups
        settings = [dict(group) for group in groups]  # which a graph would hold

        def replay() -> None:
            self.replayed += 1
            now = [dict(group) for group in groups]
            for group, held in zip(groups, settings, strict=True):
                group.update(held)
            loss.copy_(work())
            for group, held in zip(groups, now, strict=True):
                group.update(held)

        return replay, loss


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_replayed_steps_train_as_eager_ones_do(optimizer, monkeypatch):
    budget = replace(SHORT, optimizer=optimizer, lr=0.01)
    eager, replayed, few = network(), network(), Squares()
    straight = train(eager, few, budget, device=CPU, seed=3)
    graphs = Graphs(monkeypatch)
    history = train(replayed, few, budget, device=CPU, seed=3)
    assert (graphs.warmed, graphs.captured, graphs.replayed) == (WARM_UP, 1, 18 - WARM_UP)
    # the learning rate is a float32 on the device
    assert weights(replayed).numpy() == pytest.approx(weights(eager).numpy(), rel=1e-4, abs=1e-6)
    for ours, theirs in zip(history.epochs, straight.epochs, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_a_captured_training_goes_on_from_its_file(tmp_path, monkeypatch):
    Graphs(monkeypatch)
    whole, again, path = network(), network(), tmp_path / "training.pt"
    train(whole, Squares(), SHORT, device=CPU)

    class Killed(Exception):  # noqa: N818 - stands for a signal
        pass

    def kill(step: int, steps: int) -> None:
        if step == 13:
            raise Killed

    with pytest.raises(Killed):
        train(again, Squares(), SHORT, device=CPU, checkpoint=path, progress=kill)
    groups = torch.load(path, weights_only=True)["optimizer"]["param_groups"]
    assert all(isinstance(group["lr"], float) for group in groups)
    train(again, Squares(), SHORT, device=CPU, checkpoint=path)
    assert weights(again).numpy() == pytest.approx(weights(whole).numpy(), rel=1e-4, abs=1e-6)


def test_what_cannot_be_captured_is_trained_eagerly_and_says_so_once(monkeypatch):
    graphs, eager, tried = Graphs(monkeypatch), network(), network()

    def refuse(work: object) -> None:
        graphs.captured += 1
        raise CaptureFailed("not permitted")

    monkeypatch.setattr(captured, "capture", refuse)
    with pytest.warns(UserWarning, match="no CUDA graph, trained layer by layer: not permitted"):
        train(tried, Squares(), replace(SHORT, optimizer="adamw"), device=CPU)
    assert graphs.captured == 1
    monkeypatch.undo()
    train(eager, Squares(), replace(SHORT, optimizer="adamw"), device=CPU)
    assert torch.equal(weights(tried), weights(eager))


def test_a_batch_of_another_shape_is_no_replay(monkeypatch):
    graphs = Graphs(monkeypatch)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    seen: list[tuple[int, float]] = []

    def step(images: Tensor, labels: Tensor) -> Tensor:
        seen.append((len(images), float(optimizer.param_groups[0]["lr"])))
        return images.sum()

    do = CapturedStep(step, optimizer)
    for i, size in enumerate([4, 4, 4, 4, 3, 4]):
        loss = do(torch.full((size, 1, 2, 2), float(i)), torch.zeros(size), lr=i + 1)
        assert loss.item() == 4 * i * size
    assert graphs.replayed == 2
    assert [size for size, _ in seen] == [4, 4, 4, 4, 3, 4]
    assert seen[4] == (3, 5.0)  # the eager one has a rate of its own


def test_it_pays_on_a_gpu_and_for_more_than_a_few_steps():
    cuda = torch.device("cuda")
    assert (pays(cuda, 100), pays(cuda, 99), pays(CPU, 10_000)) == (True, False, False)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_on_a_gpu(optimizer, monkeypatch):
    budget = replace(SHORT, epochs=20, optimizer=optimizer, lr=0.01)
    cuda, nets = torch.device("cuda"), []
    pairs = Squares()
    pairs.batches = [(x.cuda(), y.cuda()) for x, y in pairs.batches]
    for steps in (0, 10**9):
        monkeypatch.setattr(captured, "MIN_STEPS", steps)
        net = network()
        net[4].p = 0.0
        train(net, pairs, budget, device=cuda)
        nets.append(weights(net.cpu()).numpy())
    assert nets[0] == pytest.approx(nets[1], rel=0.05, abs=0.02)
