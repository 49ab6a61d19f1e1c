"""Proxies against what can be computed another way, and what they must not do."""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared
from spaces import SPACES
from stripes import DATA, SPACE, archs
from torch import nn

from nas.accuracy.judge import JudgeContext
from nas.accuracy.zero_cost import (
    PROXIES,
    ZeroCost,
    ZeroCostSettings,
    _distinct,
    naswot,
    synflow,
    zico,
)
from nas.arch.cost import cost
from nas.arch.scaling import scaled
from nas.core.errors import UserError
from nas.data import augment
from nas.data.dataset import load_data
from nas.network.modules import build
from nas.space.choices import choices, fill
from nas.stats.correlation import kendall
from search_spaces.nas_bench_macro import nas_bench_macro

IMAGES = torch.randn(8, 2, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4


def test_naswot_is_the_determinant_of_agreements():
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 40), nn.ReLU())
    with torch.no_grad():
        codes = net(IMAGES).numpy() > 0
    kernel = (codes[:, None] == codes[None]).sum(-1).astype(float)
    assert naswot(net, IMAGES, LABELS) == pytest.approx(np.linalg.slogdet(kernel)[1])


def test_naswot_looks_after_every_activation():
    found: list[float] = []
    for last in (nn.Identity(), nn.Hardswish(), nn.SiLU(), nn.ReLU6()):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(128, 40), nn.ReLU(), nn.Linear(40, 40), last)
        found.append(naswot(net, IMAGES, LABELS))
    assert found[0] < found[1] == found[2] == found[3]


def test_two_images_with_one_code_have_no_determinant():
    images = IMAGES.clone()
    images[1] = images[0]
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 40), nn.ReLU())
    assert naswot(net, images, LABELS) < naswot(net, IMAGES, LABELS) - 10


def test_log_macs_are_those_of_the_arithmetic():
    judge = ZeroCostSettings("log_macs").open(JudgeContext(SPACE, lambda: DATA))
    for arch in archs():
        assert judge(arch).value == math.log(cost(arch).macs)


def test_synflow_of_linear_layers_is_the_product_of_positive_weights():
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 5, bias=False), nn.Linear(5, 4, bias=False))
    first, second = (layer.weight.detach().abs() for layer in list(net)[1:])
    flow = (second @ first).sum().item()
    # every layer carries the whole flow once
    assert synflow(net, IMAGES, LABELS) == pytest.approx(math.log(2 * flow), rel=1e-5)


def test_zico_of_equal_batches_counts_nothing():
    net = build(archs(1)[0], seed=0)
    twice, labels = torch.cat((IMAGES, IMAGES)), torch.cat((LABELS, LABELS))
    assert zico(net, twice, labels) == 0
    assert zico(net, IMAGES, LABELS) > 0


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_a_pure_function(name):
    arch = replace(archs(3)[2], drop_path=0.3)
    net = build(arch, seed=0).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    random = torch.get_rng_state()
    values = [PROXIES[name](net, IMAGES, LABELS) for _ in range(2)]
    assert values[0] == values[1]
    assert math.isfinite(values[0])
    assert torch.equal(torch.get_rng_state(), random)
    assert not net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_take_squeeze_and_excitation_and_every_activation(name):
    space = SPACES["mobilenet_v3_small_32"]
    arch = fill(space, {key: labels[-1] for key, labels in choices(space).items()})
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert math.isfinite(PROXIES[name](build(arch, seed=0), images, LABELS[:4]))


def test_draws_give_the_standard_error_of_their_mean():
    arch = archs(1)[0]
    once = ZeroCostSettings(batch_size=16, draws=1)
    one = [ZeroCost(DATA, once, "cpu", seed)(arch) for seed in (0, 0, 1)]
    assert one[0].value == one[1].value != one[2].value
    assert math.isnan(one[0].standard_error)
    three = ZeroCost(DATA, ZeroCostSettings(batch_size=16, draws=3), "cpu")(arch)
    assert three.standard_error > 0


def test_a_device_is_given_the_mini_batches_once_and_no_other_images(monkeypatch):
    judge = ZeroCost(DATA, ZeroCostSettings(batch_size=16, draws=7), "cpu")
    judge(archs(1)[0])
    assert [len(labels) for _, labels in judge._batches] == [16] * 7  # more than an epoch has
    kept = judge._batches
    monkeypatch.setattr("nas.accuracy.zero_cost.batches_for", lambda *_: pytest.fail("read again"))
    judge(archs(2)[1])
    assert judge._batches is kept
    monkeypatch.undo()
    monkeypatch.setattr("nas.accuracy.zero_cost.resolve_device", torch.device)
    assert all(x.is_meta and y.is_meta for x, y in ZeroCost(DATA, judge.settings, "meta")._batches)
    assert {device.type for device in augment._copies[DATA.train]} == {"cpu"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"proxy": "nazwot"}, "did you mean naswot"), ({"draws": 0}, "from 1"),
     ({"batch_size": 2.5}, "from 4")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        ZeroCostSettings(**wrong)


def test_a_proxy_that_is_not_finite_is_said_to_be(monkeypatch):
    monkeypatch.setitem(PROXIES, "naswot", lambda *_: -math.inf)
    with pytest.raises(ValueError, match="naswot is not finite"):
        ZeroCost(DATA, ZeroCostSettings(), "cpu")(
            fill(SPACE, {k: v[0] for k, v in choices(SPACE).items()})
        )


def test_images_of_one_code_are_no_kernel_and_copies_are_left_out():
    net = build(fill(SPACE, {k: v[0] for k, v in choices(SPACE).items()}), seed=0)
    images, labels = ZeroCost(DATA, ZeroCostSettings(batch_size=8), "cpu")._batches[0]
    assert math.isfinite(naswot(net, images, labels))
    twice = torch.cat((images, images[2:3])), torch.cat((labels, labels[2:3]))
    assert naswot(net, *twice) == -math.inf
    kept, kept_labels = _distinct(twice)
    assert torch.equal(kept, images)
    assert torch.equal(kept_labels, labels)


@needs_shared
def test_naswot_ranks_nas_bench_macro():
    """tau is .75 on 100 networks at full width; 20 spread ones at half width suffice here."""
    with gzip.open(SHARED / "data" / "nas_bench_macro.csv.gz", "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["mean_acc"]))[::340]
    data = load_data("cifar10", root=str(SHARED / "data"), resolution=16, train=64, val=10, test=10)
    space = scaled(nas_bench_macro(resolution=16), width=0.5)
    judge = ZeroCost(data, ZeroCostSettings(batch_size=32, draws=1), "cpu")
    keys = list(choices(space))
    nets = [fill(space, dict(zip(keys, row["arch"], strict=True))) for row in rows]
    found = np.array([judge(net).value for net in nets])
    assert kendall(found, np.array([float(row["mean_acc"]) for row in rows])) > 0.5
