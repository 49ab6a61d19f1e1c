"""Training: its schedule, its randomness, what it makes of failures; and scoring."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas.core.errors import UserError
from nas.training.evaluation import TrainingFailed, evaluate
from nas.training.loop import (
    CHECK_EVERY,
    NORMS,
    Budget,
    _Run,
    lr_factor,
    make_optimizer,
    set_training,
    train,
)

CPU = torch.device("cpu")
BUDGETS = sorted((Path(__file__).parents[2] / "conf" / "budget").glob("*.yaml"))
SHORT = Budget(epochs=3, batch_size=16, lr=0.05, precision="fp32")


class Squares:
    """Images of two classes: a bright square on the left or on the right, with noise."""

    def __init__(self, num_batches=6, batch_size=16, seed=0):
        draws = torch.Generator().manual_seed(seed)
        self.batches = []
        for _ in range(num_batches):
            labels = torch.randint(0, 2, (batch_size,), generator=draws)
            images = torch.randn(batch_size, 1, 8, 8, generator=draws)
            images[labels == 0, :, 2:6, :4] += 2
            images[labels == 1, :, 2:6, 4:] += 2
            self.batches.append((images, labels))

    def __len__(self):
        return len(self.batches)

    def epoch(self, number):
        yield from self.batches[number % 2 :] + self.batches[: number % 2]


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(128, 2),
        )


def weights(module):
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_it_learns(optimizer, precision):
    lr = 0.01 if optimizer == "adamw" else 0.05
    budget, net = Budget(4, 16, optimizer, lr, precision=precision), network()
    assert evaluate(net, Squares(seed=1), device=CPU).accuracy < 0.8
    history = train(net, Squares(), budget, device=CPU, seed=0)
    assert history.epochs[-1].loss < history.epochs[0].loss / 2
    assert evaluate(net, Squares(seed=1), device=CPU).accuracy > 0.95
    assert history.seconds == sum(epoch.seconds for epoch in history.epochs) > 0
    assert not net.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_seeds_give_equal_bits_and_no_generator_is_touched(precision):
    budget = Budget(2, 16, precision=precision)
    runs = []
    for seed in (0, 0, 1):
        net = network()
        torch.manual_seed(seed + 100)  # must not matter
        state = torch.get_rng_state()
        runs.append((train(net, Squares(), budget, device=CPU, seed=seed), weights(net)))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(runs[0][1], runs[1][1])
    assert [e.loss for e in runs[0][0].epochs] == [e.loss for e in runs[1][0].epochs]
    assert not torch.equal(runs[0][1], runs[2][1])  # dropout


def test_it_ends_where_it_is_told_to_and_is_as_it_was_then():
    asked, halfway, whole = [], network(), network()

    def stop(done):
        asked.append(done)
        assert not halfway.training
        return done == 2

    history = train(halfway, Squares(), SHORT, device=CPU, stop=stop)
    assert asked == [1, 2]
    assert len(history.epochs) == 2
    asked.clear()
    looked = train(whole, Squares(), SHORT, device=CPU, stop=lambda done: asked.append(done))
    assert asked == [1, 2]  # nobody is asked after the last
    assert [e.loss for e in looked.epochs][:2] == [e.loss for e in history.epochs]


def test_progress_and_validation():
    seen = []
    history = train(
        network(),
        Squares(),
        SHORT,
        device=CPU,
        progress=lambda *done: seen.append(done),
        validation=Squares(seed=1),
    )
    assert seen == [(i + 1, 18) for i in range(18)]
    assert [epoch.score.num_images for epoch in history.epochs] == [96] * 3
    assert history.epochs[-1].score.accuracy > 0.9


@given(st.integers(1, 500), st.floats(0, 0.99))
def test_the_learning_rate_climbs_and_falls(steps, warmup):
    factors = [lr_factor(step, steps, warmup) for step in range(steps)]
    top = max(range(steps), key=factors.__getitem__)
    assert factors[top] == 1
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert all(0 < factor <= 1 for factor in factors)
    assert top <= warmup * steps


def test_every_step_has_its_own_learning_rate(monkeypatch):
    rates = []
    original = torch.optim.SGD.step

    def step(self, *args):
        rates.append({group["lr"] for group in self.param_groups})
        return original(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train(network(), Squares(), SHORT, device=CPU)
    assert rates == [{0.05 * lr_factor(i, 18, SHORT.warmup)} for i in range(18)]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_do_not_decay(optimizer):
    net = network()
    net[0].weight.requires_grad_(False)
    decay, rest = make_optimizer(net, Budget(1, optimizer=optimizer)).param_groups
    assert {id(p) for p in decay["params"]} == {id(net[3].weight), id(net[6].weight)}
    assert {id(p) for p in rest["params"]} == {id(p) for p in (*net[1].parameters(), net[6].bias)}
    assert (decay["weight_decay"], rest["weight_decay"]) == (5e-4, 0)


def test_the_gradient_is_clipped():
    budget = Budget(1, lr=1, momentum=0, weight_decay=0, warmup=0, clip_norm=1e-3)
    for clip, moved in ((1e-3, pytest.approx(1e-3, rel=1e-3)), (0, pytest.approx(1, abs=0.99))):
        net = network()
        before = nn.utils.parameters_to_vector(net.parameters()).detach()
        budget = Budget(1, lr=1, momentum=0, weight_decay=0, warmup=0, clip_norm=clip)
        train(net, Squares(num_batches=1), budget, device=CPU)
        after = nn.utils.parameters_to_vector(net.parameters()).detach()
        assert (after - before).norm().item() == moved


def test_the_loss_is_smoothed():
    net = network().eval()
    (images, labels), *_ = Squares(num_batches=1).epoch(0)
    net[1].train()
    with torch.no_grad():
        wanted = F.cross_entropy(net(images), labels, label_smoothing=0.3).item()
    net[4].p = 0.0
    budget = Budget(1, label_smoothing=0.3, precision="fp32")
    assert train(net, Squares(num_batches=1), budget, device=CPU).epochs[0].loss == pytest.approx(
        wanted, rel=1e-5
    )


def test_a_loss_that_is_not_finite_is_named():
    with pytest.raises(
        TrainingFailed, match=r"loss became (nan|inf) .* lower budget.lr=1e\+18"
    ) as e:
        train(network(), Squares(), Budget(3, lr=1e18, clip_norm=0, warmup=0), device=CPU)
    assert e.value.reason == "not_finite"
    again = pickle.loads(pickle.dumps(e.value))
    assert (again.reason, str(again)) == ("not_finite", str(e.value))
    assert "\n" not in str(e.value)


def test_the_loss_is_looked_at_now_and_then_only(monkeypatch):
    looks = []
    monkeypatch.setattr(_Run, "check_finite", lambda run, total: looks.append(run.step))
    train(network(), Squares(num_batches=CHECK_EVERY + 2), Budget(2), device=CPU)
    assert looks == [CHECK_EVERY, CHECK_EVERY + 2, 2 * CHECK_EVERY, 2 * CHECK_EVERY + 4]


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.weight = error, nn.Parameter(torch.zeros(2))

    def forward(self, x):
        raise self.error


class Huge(Raises):
    def forward(self, x):
        return torch.empty(2**60) + self.weight.sum()


@pytest.mark.parametrize(
    "module",
    [
        Huge(None),  # what this machine's allocator really says
        Raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")),
        Raises(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")),
        Raises(MemoryError()),
        Raises(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
        Raises(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")),
        Raises(RuntimeError("GET was unable to find an engine to execute this computation")),
    ],
)
def test_running_out_of_memory_is_named(module):
    with pytest.raises(TrainingFailed, match=r"while training: lower budget.batch_size") as e:
        train(module, Squares(), SHORT, device=CPU)
    assert e.value.reason == "out_of_memory"
    with pytest.raises(TrainingFailed, match="while scoring"):
        evaluate(module, Squares(), device=CPU)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyboardInterrupt()])
def test_other_failures_pass_through(error):
    net = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2, bias=False), Raises(error))
    with pytest.raises(type(error)):
        train(net, Squares(), SHORT, device=CPU)
    assert type(net[0]) is nn.Conv2d


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "budget.epochs must be a whole number from 1, not 0"),
        ({"epochs": 2.5}, "budget.epochs must be a whole number from 1, not 2.5"),
        ({"batch_size": True}, "budget.batch_size must be a whole number from 1, not true"),
        ({"optimizer": "sgdd"}, "unknown budget.optimizer 'sgdd'; did you mean sgd"),
        ({"precision": "fp16"}, "unknown budget.precision 'fp16'"),
        ({"lr": 0}, "budget.lr must be a number above 0, not 0"),
        ({"lr": "fast"}, "budget.lr must be a number above 0, not 'fast'"),
        ({"lr": math.nan}, "budget.lr must be a number above 0, not nan"),
        ({"weight_decay": -1}, "budget.weight_decay must be a number from 0, not -1"),
        ({"momentum": 1}, "budget.momentum must be a number from 0 to below 1, not 1"),
        ({"warmup": 1.0}, "budget.warmup must be a number from 0 to below 1, not 1.0"),
        (
            {"label_smoothing": 1.5},
            "budget.label_smoothing must be a number from 0 to below 1, not 1.5",
        ),
        ({"clip_norm": math.inf}, "budget.clip_norm must be a number from 0, not inf"),
        ({"augment": "yes"}, "budget.augment must be true or false, not 'yes'"),
        ({"norms": "warm"}, "unknown budget.norms 'warm' (allowed: frozen, batch)"),
    ],
)
def test_a_budget_that_makes_no_sense(change, message):
    with pytest.raises(UserError) as e:
        Budget(**({"epochs": 1} | change))
    assert message in str(e.value)


def test_the_budgets_that_come_with_it():
    budgets = {path.stem: instantiate(yaml.safe_load(path.read_text())) for path in BUDGETS}
    assert list(budgets) == ["dense", "full", "qat", "quick", "standard", "transfer"]
    assert all(isinstance(budget, Budget) for budget in budgets.values())
    assert budgets["quick"].epochs < budgets["standard"].epochs < budgets["full"].epochs
    frozen = {name for name, budget in budgets.items() if budget.norms == "frozen"}
    assert frozen == {"qat", "transfer"}
    for path in BUDGETS:  # every knob can be seen, and set, on the command line
        knobs = set(Budget.__annotations__)
        if path.stem not in {*frozen, "dense"}:
            knobs.remove("norms")  # from scratch there are no statistics to keep
        assert set(yaml.safe_load(path.read_text())) - {"_target_"} == knobs


def test_frozen_norms_keep_their_statistics_and_learn_the_rest():
    for norms in NORMS:
        net = network()
        with torch.no_grad():
            net[1].running_mean.uniform_(-0.1, 0.1)  # as first weights bring them
            net[1].running_var.uniform_(0.5, 1.5)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        history = train(net, Squares(), replace(SHORT, norms=norms), device=CPU)
        same = {key for key, value in net.state_dict().items() if torch.equal(value, before[key])}
        statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
        assert same == (statistics if norms == "frozen" else set())
        assert history.epochs[-1].loss < history.epochs[0].loss / 2
        assert not any(module.training for module in net.modules())


def test_frozen_norms_normalise_by_their_statistics_in_training_too():
    """An image's answer does not depend on the others of its batch; dropout still draws."""
    net = network()
    set_training(net, "frozen")
    assert [m.training for m in net] == [True, False, True, True, True, True, True]
    body, images = net[:4], torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(body(images)[:1], body(images[:1]), atol=1e-5)
    set_training(net)
    assert all(module.training for module in net.modules())


def test_a_budget_that_freezes_norms_is_not_for_networks_from_scratch():
    Budget(1).check_from_scratch()
    with pytest.raises(UserError, match="statistics of first weights, and there are none"):
        Budget(1, norms="frozen").check_from_scratch()


class Soft(Squares):
    """The same images; of each class `trust` of the probability is the label's."""

    def __init__(self, trust, **squares):
        super().__init__(**squares)
        for i, (images, labels) in enumerate(self.batches):
            even = torch.full((len(labels), 2), (1 - trust) / 2)
            self.batches[i] = (images, even + trust * F.one_hot(labels, 2))


def test_labels_may_be_probabilities():
    """Those of one class alone are as good as the class; even ones teach nothing."""
    budget = replace(SHORT, label_smoothing=0.1)
    hard, soft, even = network(), network(), network()
    by_class = train(hard, Squares(), budget, device=CPU)
    by_share = train(soft, Soft(1.0), budget, device=CPU)
    assert weights(soft).numpy() == pytest.approx(weights(hard).numpy(), rel=1e-3, abs=1e-5)
    for ours, theirs in zip(by_share.epochs, by_class.epochs, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    history = train(even, Soft(0.0), SHORT, device=CPU)
    assert history.epochs[-1].loss == pytest.approx(math.log(2), abs=0.05)


@pytest.mark.parametrize("norms", NORMS)
def test_a_killed_training_goes_on_to_the_same_weights(norms, tmp_path):
    """Dropout included: the generators' states are kept too."""
    path, data, budget = tmp_path / "training.pt", Squares(), replace(SHORT, norms=norms)
    whole = network()
    straight = train(whole, data, budget, device=CPU, seed=5, validation=Squares(seed=1))

    class Killed(Exception):  # noqa: N818 - stands for a signal
        pass

    def kill(step, steps):
        if step == 2 * len(data) + 1:  # in the third epoch
            raise Killed

    with pytest.raises(Killed):
        train(network(), data, budget, device=CPU, seed=5, validation=Squares(seed=1),
              progress=kill, checkpoint=path)  # fmt: skip
    steps, resumed = [], network(seed=9)
    history = train(
        resumed, data, budget, device=CPU, seed=5, validation=Squares(seed=1), checkpoint=path,
        progress=lambda step, _: steps.append(step),
    )  # fmt: skip
    assert steps[0] == 2 * len(data) + 1
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))
    assert [row.loss for row in history.epochs] == [row.loss for row in straight.epochs]
    assert [row.score for row in history.epochs] == [row.score for row in straight.epochs]
    again = train(finished := network(), data, budget, device=CPU, seed=5, checkpoint=path,
                  progress=lambda *_: pytest.fail("a finished training goes on"))  # fmt: skip
    assert again.epochs == history.epochs
    assert not finished.training
    with pytest.raises(UserError, match="training that began with other settings"):
        train(network(), data, budget, device=CPU, seed=6, checkpoint=path)
    (other,) = set(NORMS) - {norms}
    with pytest.raises(UserError, match="training that began with other settings"):
        train(network(), data, replace(SHORT, norms=other), device=CPU, seed=5, checkpoint=path)
    hard = network()
    hard[2] = nn.Hardswish()  # whose state has the same names and shapes
    with pytest.raises(UserError, match=r"other settings \(network or space, seed, number of"):
        train(hard, data, budget, device=CPU, seed=5, checkpoint=path)
    state = torch.load(path, weights_only=True)
    del state["network"]  # as version 0.1 wrote it
    torch.save(state, path)
    old = train(network(), data, budget, device=CPU, seed=5, checkpoint=path)
    assert old.epochs == history.epochs
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot read the training"):
        train(network(), data, budget, device=CPU, seed=5, checkpoint=path)
