"""The classifier's start, against the regressions that it stands for, each solved by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from nas.training import ridge
from nas.training.ridge import classifier_of, features_of, fit_ridge, start_classifier

CPU = torch.device("cpu")
CLASSES = 3


def drawn(num_images, num_features, seed=0):
    """Features (N, d) that tell a little of their classes (N,), each of its own mean and size."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % CLASSES
    features = rng.normal(size=(num_images, num_features)) + rng.normal(size=num_features)
    features[:, :CLASSES] += 1.5 * np.eye(CLASSES)[labels]
    features *= np.exp(rng.normal(size=num_features))
    return torch.tensor(features, dtype=torch.float32), torch.tensor(labels)


class Plain:
    """The definition: centred features of mean squared length 1, and a constant."""

    def __init__(self, features, labels):
        x = features.double().numpy()
        self.labels, self.mean = labels.numpy(), x.mean(0)
        self.length = np.sqrt(((x - self.mean) ** 2).sum(1).mean())
        self.x = np.column_stack(((x - self.mean) / self.length, np.ones(len(x))))
        self.y = np.eye(CLASSES)[self.labels] - 1 / CLASSES

    def solved(self, strength, rows=slice(None)):
        """Coefficients (d + 1, classes) of the regression on these rows; the constant's too pay."""
        x, y = self.x[rows], self.y[rows]
        return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)

    def left_out(self, strength):
        """The answer for each image (N, classes) by the regression on all others."""
        rows = range(len(self.x))
        return np.array(
            [self.x[i] @ self.solved(strength, [j for j in rows if j != i]) for i in rows]
        )

    def cross_entropy(self, answers):
        return -log_softmax(answers, axis=1)[np.arange(len(answers)), self.labels].mean()


@pytest.fixture
def grid(monkeypatch):
    """A function that fits on a grid of these strengths and scales only."""

    def fitted(features, labels, strengths, scales):
        monkeypatch.setattr(ridge, "STRENGTHS", strengths)
        monkeypatch.setattr(ridge, "SCALES", scales)
        return fit_ridge(features, labels, CLASSES)

    return fitted


@pytest.mark.parametrize("shape", [(40, 6), (15, 30)], ids=["N > d", "N < d"])
@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_leaving_out_is_the_regression_on_the_others(shape, strength, grid):
    features, labels = drawn(*shape)
    plain = Plain(features, labels)
    answers = plain.left_out(strength)
    for scale in (1.0, 8.0):
        fit = grid(features, labels, (strength,), (scale,))
        assert fit.strength == strength
        assert fit.cross_entropy == pytest.approx(plain.cross_entropy(scale * answers), rel=1e-8)
        assert fit.accuracy == (answers.argmax(1) == plain.labels).mean()


@pytest.mark.parametrize("shape", [(40, 6), (15, 30)], ids=["N > d", "N < d"])
def test_the_least_cross_entropy_of_the_grid_is_taken(shape):
    features, labels = drawn(*shape)
    plain, losses = Plain(features, labels), {}
    for strength in ridge.STRENGTHS:
        answers = plain.left_out(strength)
        for scale in ridge.SCALES:
            losses[strength, scale] = plain.cross_entropy(scale * answers)
    strength, scale = min(losses, key=losses.__getitem__)
    fit = fit_ridge(features, labels, CLASSES)
    assert fit.strength == strength
    assert fit.cross_entropy == pytest.approx(losses[strength, scale], rel=1e-8)
    # and the logits are those of the regression on all images, as large as the scale says
    logits = features.numpy() @ fit.weight.numpy().T + fit.bias.numpy()
    assert logits == pytest.approx(scale * plain.x @ plain.solved(strength), rel=1e-4, abs=1e-4)
    assert fit.weight.dtype == fit.bias.dtype == torch.float32


def test_channels_that_say_nothing_change_nothing():
    features, labels = drawn(40, 6)
    silent = torch.stack((torch.zeros(40), torch.full((40,), 0.3), torch.full((40,), 1e4)), 1)
    fit = fit_ridge(features, labels, CLASSES)
    more = fit_ridge(torch.cat((features, silent), 1), labels, CLASSES)
    assert (more.strength, more.accuracy) == (fit.strength, fit.accuracy)
    assert more.cross_entropy == pytest.approx(fit.cross_entropy, rel=1e-8)
    assert more.weight[:, :6].numpy() == pytest.approx(fit.weight.numpy(), rel=1e-4)
    assert more.weight[:, 6:].abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_of_features_that_all_say_nothing_the_answer_is_even(value):
    features, labels = torch.full((30, 4), value), torch.arange(30) % CLASSES
    fit = fit_ridge(features, labels, CLASSES)
    logits = features @ fit.weight.T + fit.bias
    assert logits.abs().max() < 1e-3
    assert fit.cross_entropy == pytest.approx(np.log(CLASSES), rel=0.01)


class Batches:
    """The same images in two batches."""

    def __init__(self, images, labels):
        self.parts = list(zip(images.split(25), labels.split(25), strict=True))

    def __len__(self):
        return len(self.parts)

    def epoch(self, number):
        yield from self.parts


def test_a_network_answers_as_the_regression_on_its_own_features():
    """In evaluation mode, whatever mode it came in; nothing but the classifier is touched."""
    torch.manual_seed(0)
    images, labels = torch.randn(40, 1, 6, 6), torch.arange(40) % CLASSES
    images[labels == 0] += 1
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(64, CLASSES)).train()
    before = {key: value.clone() for key, value in body.state_dict().items()}
    features, same = features_of(net, Batches(images, labels), device=CPU)
    assert classifier_of(net) is net[1]
    assert torch.equal(same, labels)
    with torch.no_grad():
        assert features.numpy() == pytest.approx(body.eval()(images).numpy(), abs=1e-5)
    net.train()
    fit = start_classifier(net, Batches(images, labels), device=CPU)
    with torch.no_grad():
        logits = net(images).numpy()
    wanted = fit_ridge(features, labels, CLASSES)
    assert (fit.strength, fit.cross_entropy) == (wanted.strength, wanted.cross_entropy)
    assert logits == pytest.approx((features @ wanted.weight.T + wanted.bias).numpy(), abs=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())
    assert not net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
