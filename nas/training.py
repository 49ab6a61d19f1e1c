"""Training and scoring of any image classifier; knows neither architectures nor searches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.depthwise import quick_depthwise
from nas.device import (
    PRECISIONS,
    autocast,
    keep_freed_memory,
    layout,
    moved,
    own_randomness,
    resolve_precision,
)
from nas.device import resolve_device as resolve_device
from nas.errors import UserError, unknown

OPTIMIZERS = ("sgd", "adamw")
CHECK_EVERY = 50  # steps between looks at the loss, each of which makes a GPU wait
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # torch's wordings
Progress = Callable[[int, int], None]  # steps done, steps in all


class Batches(Protocol):
    """What `train` and `evaluate` read: images float (B, C, H, W) and labels int64 (B,)."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of that epoch, the same each time it is asked for."""


class TrainingFailed(RuntimeError):  # noqa: N818 - an outcome, and named like one
    """A network that cannot be trained like this; `reason`: "not_finite" or "out_of_memory"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it can pass between processes
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Budget:
    """How long and how a network is trained.

    The learning rate climbs linearly over the first part `warmup` of all steps (Goyal et al.
    2017) and falls to zero along a cosine (Loshchilov and Hutter 2017); `lr` belongs to
    `batch_size`.  `momentum` is for sgd, with Nesterov's correction.  `clip_norm` bounds the norm
    of each step's gradient, 0: no bound.  `precision` is fp32, bf16 (autocast) or auto: whichever
    is quicker there.  `augment` is for whoever makes the batches.
    Raises UserError for what makes no sense.
    """

    epochs: int
    batch_size: int = 64
    optimizer: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup: float = 0.1
    label_smoothing: float = 0.0
    clip_norm: float = 5.0
    precision: str = "auto"
    augment: bool = True

    def __post_init__(self) -> None:
        sets = {"optimizer": OPTIMIZERS, "precision": PRECISIONS, "augment": (False, True)}
        for name, allowed in sets.items():
            if getattr(self, name) not in allowed:
                raise unknown(f"budget.{name}", getattr(self, name), allowed)
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UserError(f"budget.{name}={value!r} is no whole number from 1 on")
        for name in ("lr", "weight_decay", "clip_norm"):
            _check_number(name, getattr(self, name), math.inf)
        for name in ("momentum", "warmup", "label_smoothing"):
            _check_number(name, getattr(self, name), 1)
        if self.lr == 0:
            raise UserError("budget.lr=0 trains nothing; give a positive number")


def _check_number(name: str, value: object, below: float) -> None:
    if type(value) not in (int, float) or not 0 <= value < below:  # type: ignore[operator]
        raise UserError(f"budget.{name}={value!r} is no number in [0, {below})")


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: mean loss (nats), seconds, score if one was asked for."""

    loss: float
    seconds: float
    score: Score | None = None


@dataclass(frozen=True)
class History:
    """What a training did, epoch by epoch."""

    epochs: tuple[Epoch, ...]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all epochs, scoring included."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class Score:
    """Accuracy (fraction) and cross-entropy (nats) over `num_images`, with standard errors."""

    accuracy: float
    accuracy_se: float
    cross_entropy: float
    cross_entropy_se: float
    num_images: int


def make_optimizer(module: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW, without weight decay on norms and biases.

    That is "no bias decay" of Bag of Tricks (He et al. 2019, section 3.1): only weights with
    more than one dimension decay.
    """
    weights = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": budget.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if budget.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=budget.lr, fused=True)
    rate, momentum = budget.lr, budget.momentum
    return torch.optim.SGD(groups, rate, momentum, nesterov=momentum > 0, fused=True)


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """What `lr` is multiplied by at `step` of `steps`: up to 1 linearly, then a cosine to 0."""
    climb = int(warmup * steps)
    if step < climb:
        return (step + 1) / climb
    return (1 + math.cos(math.pi * (step - climb) / (steps - climb))) / 2


def train(
    module: nn.Module,
    batches: Batches,
    budget: Budget,
    *,
    device: torch.device,
    seed: int = 0,
    progress: Progress | None = None,
    validation: Batches | None = None,
    stop: Callable[[int], bool] | None = None,
) -> History:
    """Train `module` on `device`, in place, and leave it there, ready to be evaluated.

    `seed` is for what the module draws while it trains (dropout, stochastic depth); torch's own
    generators are given back as they were.  `progress(steps done, steps)` is called after every
    step.  With `validation` every epoch is scored.  `stop(epochs done)` is asked after every epoch
    but the last, when the module can be evaluated, and ends the training if true.  Equal seeds
    give equal weights on a CPU with an equal number of threads.  Raises TrainingFailed.
    """
    if device.type == "cpu":
        keep_freed_memory()
    with failures_named("training"), own_randomness(seed, device), quick_depthwise(module):
        moved(module, device)
        run = _Run(module, batches, budget, device, progress)
        rows = []
        for number in range(budget.epochs):
            start = time.perf_counter()
            module.train()
            loss = run.epoch(number)
            module.eval()
            score = evaluate(module, validation, device=device) if validation else None
            last = number + 1 == budget.epochs or (stop is not None and stop(number + 1))
            rows.append(Epoch(loss, time.perf_counter() - start, score))
            if last:
                break
    return History(tuple(rows))


class _Run:
    """The state of one training: what changes from step to step."""

    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        budget: Budget,
        device: torch.device,
        progress: Progress | None,
    ) -> None:
        self.module, self.batches, self.budget, self.device = module, batches, budget, device
        self.progress = progress
        self.optimizer = make_optimizer(module, budget)
        self.dtype = resolve_precision(budget.precision, device)
        self.step, self.steps = 0, budget.epochs * len(batches)

    def epoch(self, number: int) -> float:
        """Train on the batches of that epoch; their mean loss."""
        total = torch.zeros((), device=self.device)
        first = self.step
        for images, labels in self.batches.epoch(number):
            total += self.update(images, labels)
            self.step += 1
            if self.step % CHECK_EVERY == 0:
                self.check(total)
            if self.progress is not None:
                self.progress(self.step, self.steps)
        self.check(total)
        return total.item() / (self.step - first)

    def update(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step of the optimizer; the loss, which stays on the device."""
        budget, images = self.budget, images.contiguous(memory_format=layout(self.device))
        for group in self.optimizer.param_groups:
            group["lr"] = budget.lr * lr_factor(self.step, self.steps, budget.warmup)
        with autocast(self.device, self.dtype):
            logits = self.module(images)  # (B, classes)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=budget.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if budget.clip_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), budget.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def check(self, total: Tensor) -> None:
        """Raise TrainingFailed if a loss so far was not finite."""
        if not math.isfinite(value := total.item()):
            raise TrainingFailed(
                "not_finite",
                f"the loss became {value} by step {self.step} of {self.steps}: "
                f"lower budget.lr={self.budget.lr:g} or set a budget.clip_norm",
            )


def evaluate(
    module: nn.Module, batches: Batches, *, device: torch.device, precision: str = "fp32"
) -> Score:
    """Score `module` on the batches of epoch 0.  Raises TrainingFailed for want of memory."""
    return scored(*image_losses(module, batches, device=device, precision=precision))


def scored(losses: Tensor, correct: Tensor) -> Score:
    """The Score of what `image_losses` found, (N,) each; TrainingFailed where it is not finite."""
    if not losses.isfinite().all():
        raise TrainingFailed("not_finite", "the network answers with numbers that are not finite")
    number = len(losses)
    accuracy = correct.double().mean().item()
    return Score(
        accuracy,
        accuracy_se=math.sqrt(accuracy * (1 - accuracy) / number),
        cross_entropy=losses.mean().item(),
        cross_entropy_se=losses.std(correction=0).item() / math.sqrt(number),
        num_images=number,
    )


def image_losses(
    module: nn.Module, batches: Batches, *, device: torch.device, precision: str = "fp32"
) -> tuple[Tensor, Tensor]:
    """Cross-entropy (N,), float64, and whether the answer is right (N,), bool, image by image.

    Both on the CPU and in the order of the batches, so that two networks scored on the same ones
    can be compared by `paired_difference`.  The module is left in evaluation mode.
    """
    dtype = resolve_precision(precision, device)
    moved(module, device).eval()
    losses, correct = [], []
    with failures_named("scoring"), torch.inference_mode():
        for images, labels in batches.epoch(0):
            with autocast(device, dtype):
                logits = module(images.contiguous(memory_format=layout(device)))
            losses.append(F.cross_entropy(logits.float(), labels, reduction="none"))
            correct.append(logits.argmax(1) == labels)
    return torch.cat(losses).cpu().double().clone(), torch.cat(correct).cpu().clone()


def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean of first - second over the same images, (N,) each, and its standard error."""
    difference = first.double() - second.double()
    return difference.mean().item(), difference.std(correction=0).item() / math.sqrt(len(first))


@contextmanager
def failures_named(task: str) -> Iterator[None]:
    """Turn every way of torch's to say that memory ran out into TrainingFailed."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not short and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        advice = "lower budget.batch_size, data.resolution or workers"
        raise TrainingFailed("out_of_memory", f"out of memory while {task}: {advice}") from error
