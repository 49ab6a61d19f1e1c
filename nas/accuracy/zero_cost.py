"""Accuracy guessed without training, from one mini-batch and random weights; good to rank by.

A proxy is a pure function of a module, images float (B, C, H, W) and labels int64 (B,): it works
on a copy, and higher is better.  Modules are in training mode (norms use the batch) without
dropout and stochastic depth.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, islice
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.accuracy.estimate import Estimate
from nas.accuracy.judge import Estimates, JudgeContext, JudgeSettings, Thresholds, one_by_one
from nas.arch.arch import Arch
from nas.arch.cost import cost
from nas.core.typed import Among, Count, Range, check_fields
from nas.data.batches import batches_for
from nas.data.dataset import ImageData
from nas.network.device import resolve_device, to_device
from nas.network.modules import ACTIVATIONS, OperatorModule, build
from nas.training.evaluation import name_failures

ZEN_REPEATS = 4  # of the noise, each a whole mini-batch of it
ZEN_MIX = 1e-2  # of the second noise, as the official code has it
ZICO_PARTS = 2  # batches whose gradients are compared, as in Li et al. 2023

Proxy = Callable[[nn.Module, Tensor, Tensor], float]


def naswot(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Log-determinant of the kernel of activation codes (NASWOT, Mellor et al. 2021).

    Entry (i, j) counts the units on which images i and j agree, whether they are on or off;
    -inf where two images have one code.
    """
    size = len(images)
    kernel = torch.zeros(size, size, dtype=torch.float64)

    def add(_: nn.Module, __: Any, output: Tensor) -> None:
        codes = (output.reshape(size, -1) > 0).float()  # (B, units); exact sums below 2^24 units
        on, units = codes @ codes.T, codes.shape[1]
        active = on.diagonal()
        kernel.add_((2 * on - active[:, None] - active[None, :] + units).cpu().double())

    net = _copy(module)
    for each in net.modules():
        if isinstance(each, tuple(ACTIVATIONS.values())):
            each.register_forward_hook(add)
    with torch.no_grad():
        net(images)
    if (kernel == kernel.diagonal()).sum() > size:  # singular, which rounding would hide
        return -math.inf
    return float(torch.linalg.slogdet(kernel)[1])


def _distinct(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch without later copies of an image."""
    images, labels = batch
    first = {image.cpu().numpy().tobytes(): i for i, image in reversed(list(enumerate(images)))}
    kept = sorted(first.values())
    return images[kept], labels[kept]


def grad_norm(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over layers of the Euclidean norm of the loss's gradient (Abdelfattah et al. 2021)."""
    return float(sum(g.norm().item() for g in _gradients(_copy(module), images, labels)))


def zico(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over layers of log sum (mean of |gradient| / deviation) over batches (Li et al. 2023).

    The batches are ZICO_PARTS of the mini-batch; weights whose gradients do not vary are left out.
    """
    net, score = _copy(module), 0.0
    batches = zip(images.chunk(ZICO_PARTS), labels.chunk(ZICO_PARTS), strict=True)
    for layer in zip(*(_gradients(net, x, y) for x, y in batches), strict=True):
        gradients = torch.stack(layer).cpu().double()
        deviation, size = gradients.std(0, correction=0), gradients.abs().mean(0)
        varies = deviation > 0
        if varies.any():
            score += (size[varies] / deviation[varies]).sum().log().item()
    return score


def zen(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Zen score (Lin et al. 2021): log change of the features before the last pool under noise.

    Weights are standard normal, residual branches stand alone, and what norms divide by is given
    back.  Of images only the shape matters.
    """
    net, noise = _copy(module), torch.Generator().manual_seed(0)
    scales: list[float] = []
    features: list[Tensor] = []

    def keep_scale(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        scales.append(inputs[0].var((0, 2, 3)).mean().sqrt().log().item())

    for each in net.modules():
        if isinstance(each, OperatorModule):
            each.residual = False
        elif isinstance(each, nn.Conv2d):
            each.weight.data.copy_(torch.randn(each.weight.shape, generator=noise))
        elif isinstance(each, nn.BatchNorm2d):
            each.register_forward_pre_hook(keep_scale)
    pools = [each for each in net.modules() if isinstance(each, nn.AdaptiveAvgPool2d)]
    pools[-1].register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].clone()))
    scores = []
    for _ in range(ZEN_REPEATS):
        first, second = torch.randn((2, *images.shape), generator=noise).to(images.device)
        with torch.no_grad():
            net(first + ZEN_MIX * second)
            scales.clear()
            net(first)
        change = (features[-1] - features[-2]).abs().sum((1, 2, 3)).mean()
        scores.append(change.log().item() + sum(scales))
    return statistics.fmean(scores)


def synflow(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Log of the sum of |weight x gradient| (Tanaka et al. 2020), without norms.

    Weights are positive, the input is all ones, and what the outputs sum to is differentiated.
    """
    net = _copy(module).cpu().double()
    for row in list(net.modules()):
        for name, child in row.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(row, name, nn.Identity())
    for weight in net.parameters():
        weight.data.abs_()
    weights = _weights(net)
    total = net(torch.ones(1, *images.shape[1:], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, weights)
    return math.log(sum((w * g).sum().item() for w, g in zip(weights, gradients, strict=True)))


PROXIES: dict[str, Proxy] = {f.__name__: f for f in (naswot, grad_norm, zen, zico, synflow)}
LOG_MACS = "log_macs"  # size alone, to compare with: arithmetic, without images or weights


def _copy(module: nn.Module) -> nn.Module:
    """A copy in training mode that draws nothing at random."""
    net = deepcopy(module).train()
    for each in net.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
        elif isinstance(each, OperatorModule):
            each.drop_path = 0.0
    return net


def _weights(net: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers."""
    return [weight for weight in net.parameters() if weight.ndim > 1]


def _gradients(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(F.cross_entropy(net(images), labels), _weights(net))


@dataclass(frozen=True)
class ZeroCostSettings(JudgeSettings):
    """A proxy, the mean over so many `draws` of random weights and a mini-batch."""

    proxy: Annotated[str, Among((*PROXIES, LOG_MACS))] = "naswot"
    batch_size: Annotated[int, Range(4)] = 64
    draws: Count = 2

    def __post_init__(self) -> None:
        check_fields(self, "accuracy")

    def infeasible_score(self, num_classes: int) -> float:
        """Proxies have no value of guessing."""
        return 0.0

    def open(self, context: JudgeContext) -> ZeroCost:
        """A judge that has the data."""
        return ZeroCost(context.load(), self, context.device, context.seed)


@dataclass(frozen=True)
class ZeroCost:
    """A proxy as a judge, `judge(arch)`, with the same images and seeds for all networks.

    The standard error is that of the mean of the draws, NaN for one draw.
    """

    data: ImageData
    settings: ZeroCostSettings
    device: str = "auto"
    seed: int = 0

    def estimate(self, archs: Sequence[Arch], thresholds: Sequence[Thresholds] = ()) -> Estimates:
        """A Failure where a network has no finite proxy."""
        return one_by_one(self, archs)

    def __call__(self, arch: Arch) -> Estimate:
        """The proxy of `arch`, in its own unit; ValueError where it has no finite one."""
        start, device, proxy = time.perf_counter(), resolve_device(self.device), self.settings.proxy
        if proxy == LOG_MACS:
            return Estimate(math.log(cost(arch).macs), 0.0, time.perf_counter() - start, proxy)
        values = []
        with name_failures("scoring"):
            for draw, (images, labels) in enumerate(self._batches):
                net = to_device(build(arch, seed=self.seed + draw), device)
                values.append(PROXIES[proxy](net, images, labels))
        if not all(math.isfinite(value) for value in values):
            raise ValueError(f"{proxy} is not finite for this network: {values}")
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return Estimate(statistics.fmean(values), error, time.perf_counter() - start, proxy)

    @cached_property
    def _batches(self) -> list[tuple[Tensor, Tensor]]:
        """A mini-batch of the training images for each draw, on the device, no image twice."""
        data, size, device = self.data, self.settings.batch_size, resolve_device(self.device)
        cpu = torch.device("cpu")  # or all images would go to the device
        batches = batches_for(
            data, "train", data.resolution, batch_size=size, device=cpu, seed=self.seed
        )
        drawn = islice(chain.from_iterable(map(batches.epoch, count())), self.settings.draws)
        return [(images.to(device), labels.to(device)) for images, labels in map(_distinct, drawn)]
