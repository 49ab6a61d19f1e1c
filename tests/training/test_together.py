"""Two processes train and score as one does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stripes import CPU, DATA
from torch import Tensor, nn
from two_processes import by_two

from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.blocks import Block
from nas.core.errors import UserError
from nas.data.augment import Batches
from nas.data.share import ALL, Share
from nas.network.modules import build
from nas.training.evaluation import TrainingFailed, evaluate, image_losses
from nas.training.loop import NORMS, Budget, train
from nas.training.processes import joined, num_started, own_share
from nas.training.ridge import start_classifier
from nas.training.whole_batch_norm import norms_of_whole_batch

# Smooth, or a difference in the last bit grows over a kink
ARCH = Arch(
    (Stage(8, 2, 2, Block(expand=2, act="swish", kernel=5)), Stage(16, 1, 1, Block(act="swish"))),
    Stem(8, stride=1, act="swish"),
    Head(16, act="swish", dropout=0.0),
    resolution=8,
    channels=2,
    classes=4,
)
DROPPING = replace(ARCH, head=replace(ARCH.head, dropout=0.5))
# 96 images: 13 batches of 7, of which processes take 4 and 3, and one of 5
BUDGET = Budget(epochs=1, batch_size=7, lr=0.01, label_smoothing=0.1, precision="fp32")
BUDGETS = {
    f"{optimizer}, {norms}": replace(BUDGET, optimizer=optimizer, lr=lr, norms=norms)
    for optimizer, lr in (("sgd", 0.01), ("adamw", 1e-4))
    for norms in NORMS
}


def batches(share: Share, part=DATA.train, *, size: int = 7, training: bool = True) -> Batches:
    how: dict[str, Any] = {"augment": True, "share": share} if training else {}
    return Batches(
        part if training else share.part(part), DATA.mean, DATA.std, batch_size=size, **how
    )


def trained(budget: Budget, share: Share, net: nn.Module | None = None, **more: Any) -> Any:
    net = net or build(ARCH, seed=own_share().rank)  # that of rank 0 counts
    val = batches(share, DATA.val, size=20, training=False)
    history = train(net, batches(share), budget, device=CPU, validation=val, **more)
    return net.state_dict(), [(e.loss, e.score and e.score.cross_entropy) for e in history.epochs]


def all_budgets(share: Share) -> dict[str, Any]:
    return {name: trained(budget, share) for name, budget in BUDGETS.items()}


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor], **how: float) -> None:
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, **how, msg=lambda m, n=name: f"{n}: {m}")


def test_they_end_with_the_weights_of_one(done):
    ours, theirs = done(all_budgets)
    for name, (weights, losses) in all_budgets(ALL).items():
        # where a norm undoes an offset, its gradient is rounding, of which adamw makes steps
        atol = 1e-3 if name == "adamw, batch" else 1e-4
        assert_alike(ours[name][0], weights, rtol=1e-3, atol=atol)
        assert_alike(theirs[name][0], ours[name][0], rtol=0, atol=0)
        assert ours[name][1] == theirs[name][1]
        assert ours[name][1] == [pytest.approx(pair, rel=1e-5) for pair in losses]


def normed(share: Share) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(0)
    x, wanted = (torch.randn(7, 3, 4, 5, generator=draws) * 3 + 5 for _ in range(2))
    x, wanted = (t[share.rows].to(memory_format=torch.channels_last) for t in (x, wanted))
    norm, x = nn.BatchNorm2d(3, momentum=0.2), x.requires_grad_()
    nn.init.uniform_(norm.weight, generator=draws)
    with norms_of_whole_batch(norm):
        assert (type(norm) is nn.BatchNorm2d) == (share == ALL)
        out = norm(x)
        (out - wanted).square().mean((1, 2, 3)).sum().backward()
    assert type(norm) is nn.BatchNorm2d
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    found = {"out": out.detach(), "x": x.grad, "w": norm.weight.grad, "b": norm.bias.grad}
    return found | norm.state_dict()


def test_a_norm_sees_the_images_of_both(done):
    first, second = done(normed)
    whole = normed(ALL)
    for key in ("out", "x"):
        joint = torch.empty_like(whole[key])
        joint[::2], joint[1::2] = first.pop(key), second.pop(key)
        torch.testing.assert_close(joint, whole.pop(key))
    for key in ("w", "b"):
        torch.testing.assert_close(first.pop(key) + second.pop(key), whole.pop(key))
    assert_alike(first, whole)
    assert_alike(second, first, rtol=0, atol=0)


def scored(share: Share) -> tuple[Tensor, ...]:
    val = batches(share, DATA.val, size=8, training=False)
    net = build(ARCH, seed=0)
    fit = start_classifier(net, val, device=CPU)
    nn.init.zeros_(net.classifier.linear.linear.weight[0])  # for some answers to be wrong
    return *image_losses(net, val, device=CPU), fit.weight


def test_scores_and_features_come_in_the_order_of_the_images(done):
    whole = scored(ALL)
    assert 0 < whole[1].sum() < len(DATA.val)
    for found in done(scored):
        for ours, wanted in zip(found, whole, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


def resumed(share: Share) -> Any:
    """What is dropped in each process; and weights, whole and gone on from a checkpoint."""
    masks: list[Tensor] = []
    seen = build(DROPPING, seed=0)
    (dropout,) = (m for m in seen.modules() if isinstance(m, nn.Dropout))
    dropout.register_forward_hook(lambda _, x, out: masks.append((out == 0) & (x[0] != 0)))
    budget, checkpoint = replace(BUDGET, epochs=3), Path("resumed.pt")
    whole = trained(budget, share, seen, seed=3)[0]
    parts = build(DROPPING, seed=0)
    trained(budget, share, parts, seed=3, checkpoint=checkpoint, stop=lambda done: done == 2)
    ended = trained(budget, share, build(DROPPING, seed=1), seed=3, checkpoint=checkpoint)[0]
    return masks[0], whole, ended


def test_they_drop_apart_and_go_on_to_the_same_weights(done):
    (ours, whole, ended), (theirs, *_) = done(resumed)
    assert not torch.equal(ours[:3], theirs[:3])
    assert_alike(ended, whole, rtol=0, atol=0)


def begun(share: Share, **more: Any) -> Any:
    return trained(replace(BUDGET, epochs=2), share, checkpoint=Path("begun.pt"), **more)


def half(share: Share) -> Any:
    return begun(share, stop=lambda done: True)


def test_one_goes_on_with_what_two_began(done):
    done(half)
    whole = trained(replace(BUDGET, epochs=2), ALL)[0]
    assert_alike(begun(ALL)[0], whole, rtol=1e-3, atol=1e-4)


def failing(share: Share) -> str:
    with pytest.raises(TrainingFailed, match="loss became") as failed:
        trained(replace(BUDGET, lr=1e18, clip_norm=0, warmup=0), share)
    return str(failed.value)


def test_they_fail_alike(done):
    ours, theirs = done(failing)
    assert ours == theirs


def everything(share: Share) -> dict[str, Any]:
    works = (all_budgets, normed, scored, resumed, half, failing)
    return {work.__name__: work(share) for work in works}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a function above: what it returned in the first process, and in the second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("two"))
        ours, theirs = by_two(everything, folder)
        yield lambda work: (ours[work.__name__], theirs[work.__name__])


def test_what_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert num_started() == 1, "a scheduler's alone is no torchrun"
    monkeypatch.setenv("RANK", "2")
    assert num_started() == 4
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, words in (("cuda", "there are 2: give"), ("mps", "cannot share device=mps")):
        with pytest.raises(UserError, match=words), joined(torch.device(device)):
            pass


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MASTER_ADDR": ""}, "RANK and WORLD_SIZE are set, MASTER_ADDR is not: start with torch"),
        ({"MASTER_PORT": ""}, "WORLD_SIZE are set, MASTER_PORT is not: .* or unset both"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT must be a whole number from 0, not 'http': start"),
        ({"RANK": "first"}, "RANK must be a whole number from 0, not 'first'"),
        ({"RANK": "2"}, "RANK must be below WORLD_SIZE=2, not 2"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number from 0, not 'two'"),
        ({"LOCAL_RANK": "", "device": "cuda"}, "WORLD_SIZE are set, LOCAL_RANK is not"),
    ],
)
def test_half_of_what_torchrun_says_is_refused(change, words, monkeypatch):
    told = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}
    device = torch.device(change.get("device", "cpu"))
    for name, value in (told | change).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words) as error, joined(device):
        pass
    assert "\n" not in str(error.value)


def test_alone_nothing_changes():
    val = batches(ALL, DATA.val, training=False)
    with joined(CPU):
        assert own_share() == ALL
        assert evaluate(build(ARCH, 0), val, device=CPU).num_images == len(DATA.val)
