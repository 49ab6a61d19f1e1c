"""Weights of images by how well they tell networks apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.stats.correlation import kendall
from nas.supernet.image_weights import image_weights


def losses_of(ability, telling, noise, generator):
    """Networks (A,) of some ability on images (N,) that tell it more or less well."""
    base = torch.rand(len(telling), generator=generator, dtype=torch.float64)
    shape = (len(ability), len(telling))
    random = torch.randn(shape, generator=generator, dtype=torch.float64)
    return base - ability[:, None] * telling + noise * random


def test_weights_follow_what_an_image_tells_and_rank_better_than_the_mean():
    generator = torch.Generator().manual_seed(0)
    ability = torch.rand(300, generator=generator, dtype=torch.float64)
    telling = torch.cat([torch.ones(100), torch.zeros(900)]).double()
    losses = losses_of(ability, telling, 0.5, generator)
    weights = image_weights(losses[:150])
    assert weights.min() >= 0
    assert weights.mean().item() == pytest.approx(1)
    assert weights[:100].mean() > 5 * weights[100:].mean()
    true, unseen = ability[150:].numpy(), losses[150:]
    weighed = kendall(-(unseen @ weights).numpy(), true)
    assert weighed > kendall(-unseen.mean(1).numpy(), true) + 0.05


def test_the_sign_is_that_of_the_loss():
    generator = torch.Generator().manual_seed(1)
    ability = torch.linspace(0, 1, 40, dtype=torch.float64)
    losses = losses_of(ability, torch.ones(60).double(), 0.1, generator)
    scores = -(losses @ image_weights(losses)).numpy()
    assert kendall(scores, ability.numpy()) > 0.9
    for order in (torch.arange(39, -1, -1), torch.randperm(40, generator=generator)):
        assert torch.allclose(image_weights(losses[order]), image_weights(losses))


def test_networks_that_do_not_differ_give_equal_weights():
    losses = torch.rand(20, dtype=torch.float64).expand(5, -1)
    assert np.array_equal(image_weights(losses), np.ones(20))
    assert np.array_equal(image_weights(losses[:1]), np.ones(20))


def test_losses_that_are_not_finite_are_left_out():
    generator = torch.Generator().manual_seed(2)
    ability = torch.linspace(0, 1, 40, dtype=torch.float64)
    losses = losses_of(ability, torch.rand(30, generator=generator).double(), 0.1, generator)
    spoilt = torch.cat((losses, losses[:2]))
    spoilt[-2, 3], spoilt[-1] = torch.nan, torch.inf
    assert torch.equal(image_weights(spoilt), image_weights(losses))
    assert torch.equal(image_weights(spoilt[-2:]), torch.ones(30, dtype=torch.float64))
