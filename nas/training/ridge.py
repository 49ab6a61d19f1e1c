"""The last layer of a classifier in closed form: ridge regression on the features before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.network.device import layout, to_device
from nas.training.evaluation import Loader, name_failures
from nas.training.processes import joined_rows

# Strengths that are tried, in mean squared lengths of a feature, and scales of the answers, which
# a regression on 0 and 1 leaves far too small for a softmax.
STRENGTHS = tuple(10.0 ** (i / 2) for i in range(-8, 5))
SCALES = tuple(2.0 ** (i / 2) for i in range(0, 13))


@dataclass(frozen=True)
class RidgeFit:
    """A linear classifier: logits = features @ weight.T + bias.

    weight (classes, d), bias (classes,); `accuracy` and `cross_entropy` (nats) are leave-one-out:
    of each image by the regression on all others.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    accuracy: float
    cross_entropy: float


def fit_ridge(features: Tensor, labels: Tensor, num_classes: int) -> RidgeFit:
    """The ridge regression of one-hot labels (N,) on features (N, d), a constant among them.

    Leave-one-out cross-entropy chooses its strength and the scale of the answers.  One
    eigendecomposition gives all of them: with H = X (X'X + l)^-1 X', the answer for an image that
    is left out is (Hy - h y) / (1 - h) (Allen 1974, PRESS).
    """
    x = features.double()
    mean = x.mean(0)
    length = (x - mean).square().sum(1).mean().sqrt().clamp_min(1e-12)
    x = torch.cat([(x - mean) / length, x.new_ones(len(x), 1)], 1)  # (N, d + 1)
    y = F.one_hot(labels, num_classes).double() - 1 / num_classes
    values, vectors = torch.linalg.eigh(x.T @ x)  # (d + 1,), (d + 1, d + 1)
    values, basis = values.clamp_min(0), x @ vectors  # (N, d + 1)
    inner = basis.T @ y  # (d + 1, classes)
    best = None
    for strength in STRENGTHS:
        shrunk = 1 / (values + strength)
        leverage = (basis.square() * shrunk).sum(1, keepdim=True).clamp_max(1 - 1e-9)  # (N, 1)
        left_out = (basis @ (inner * shrunk[:, None]) - leverage * y) / (1 - leverage)
        for scale in SCALES:
            loss = F.cross_entropy(scale * left_out, labels).item()
            if best is None or loss < best[0]:
                right = (left_out.argmax(1) == labels).double().mean().item()
                best = loss, strength, scale, right
    assert best is not None
    loss, strength, scale, right = best
    solution = scale * (vectors @ (inner / (values + strength)[:, None]))  # (d + 1, classes)
    weight = solution[:-1] / length
    bias = solution[-1] - mean @ weight
    return RidgeFit(weight.T.float(), bias.float(), strength, right, loss)


def classifier_of(module: nn.Module) -> nn.Linear:
    """The last linear layer of a network."""
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert linear, "the network has no linear layer"
    return linear[-1]


def features_of(
    module: nn.Module, batches: Loader, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What the classifier reads (N, d) and the labels (N,) of the batches of epoch 0, on the CPU.

    Joined processes give a part of the images each and get all.  The module is left on `device`, in
    evaluation mode.
    """
    to_device(module, device).eval()
    features: list[Tensor] = []
    labels = []
    last = classifier_of(module)
    hook = last.register_forward_pre_hook(lambda _, given: features.append(given[0].float().cpu()))
    try:
        with name_failures("reading features"), torch.inference_mode():
            for images, own in batches.epoch(0):
                module(images.contiguous(memory_format=layout(device)))
                labels.append(own.cpu())
    finally:
        hook.remove()
    return joined_rows(torch.cat(features).clone(), torch.cat(labels).clone())


def start_classifier(module: nn.Module, batches: Loader, *, device: torch.device) -> RidgeFit:
    """Set the classifier of `module`, in place, to the ridge regression on these images."""
    last = classifier_of(module)
    fit = fit_ridge(*features_of(module, batches, device=device), last.out_features)
    with torch.no_grad():
        last.weight.copy_(fit.weight)
        last.bias.copy_(fit.bias)
    return fit
