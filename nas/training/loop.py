"""Training of any network on images; knows neither architectures nor searches."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.core.errors import UserError
from nas.core.typed import Among, Amount, Count, Range, Share, check_fields
from nas.network.device import (
    PRECISIONS,
    autocast,
    isolated_rng,
    layout,
    random_state,
    resolve_precision,
    set_random_state,
    to_device,
    tune_malloc,
)
from nas.network.quick import quick_gradients
from nas.training.captured import CapturedStep, pays
from nas.training.checkpoint import read, write
from nas.training.evaluation import Loader, Score, TrainingFailed, evaluate, name_failures
from nas.training.processes import (
    average_over_ranks,
    draw_apart,
    first_goes_first,
    rank,
    take_from_first,
    together,
)
from nas.training.whole_batch_norm import norms_of_whole_batch

NORMS = ("frozen", "batch")
MIN_STEPS = 16  # an epoch, of few images
MIN_BATCH = 8  # or norms have nothing to count
CHECK_EVERY = 50  # steps between looks at the loss, each of which makes a GPU wait
Progress = Callable[[int, int], None]  # steps done, steps in all
Loss = Callable[[Tensor, Tensor, float], Tensor]  # answers, labels, label smoothing: a mean


@dataclass(frozen=True)
class Budget:
    """How long and how a network is trained; UserError for what makes no sense.

    The learning rate climbs linearly to `lr`, which belongs to `batch_size`, over the first part
    `warmup` of all steps (Goyal et al. 2017), and falls to zero along a cosine (Loshchilov and
    Hutter 2017).  `momentum` is sgd's, Nesterov's.  `clip_norm` bounds the norm of each step's
    gradient, 0: no bound.  `precision` auto is the quicker of fp32 and bf16 (autocast).
    `augment` is for whoever makes the batches.  `norms` frozen keeps the statistics of batch norms
    as they are, for first weights that were trained on more pictures than there are here; their
    factors and offsets are trained.
    """

    epochs: Count
    batch_size: Count = 64
    optimizer: Annotated[str, Among(("sgd", "adamw"))] = "sgd"
    lr: Annotated[float, Range(0, math.inf, above=True, below=True)] = 0.1
    weight_decay: Amount = 5e-4
    momentum: Share = 0.9
    warmup: Share = 0.1
    label_smoothing: Share = 0.0
    clip_norm: Amount = 5.0
    precision: Annotated[str, Among(PRECISIONS)] = "auto"
    augment: bool = True
    # the repr is in files of earlier runs
    norms: Annotated[str, Among(NORMS)] = field(default="batch", repr=False)

    def __post_init__(self) -> None:
        check_fields(self, "budget")

    def check_from_scratch(self) -> None:
        """UserError where it keeps statistics that only first weights bring."""
        if self.norms == "frozen":
            raise UserError(
                "budget.norms=frozen keeps the statistics of first weights, and there are none: "
                "give budget.norms=batch, or to nas.train weights=pretrained or file"
            )


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images: mean loss (nats), seconds, score if one was asked for."""

    loss: float
    seconds: float
    score: Score | None = None


@dataclass(frozen=True)
class History:
    """What a training did."""

    epochs: tuple[Epoch, ...]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all epochs, scoring included."""
        return sum(epoch.seconds for epoch in self.epochs)


def fit_batch(budget: Budget, num_images: int) -> Budget:
    """The budget with a batch small enough for MIN_STEPS steps an epoch.

    The learning rate of sgd goes with it (Goyal et al. 2017).
    """
    if budget.batch_size < 2:
        raise UserError("budget.batch_size=1 gives norms nothing to count: give 2 or more")
    size = min(budget.batch_size, max(MIN_BATCH, num_images // MIN_STEPS))
    share = size / budget.batch_size if budget.optimizer == "sgd" else 1.0
    return replace(budget, batch_size=size, lr=budget.lr * share)


def make_optimizer(module: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW, without weight decay on norms and biases.

    That is "no bias decay" of Bag of Tricks (He et al. 2019, section 3.1).
    """
    weights = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": budget.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if budget.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=budget.lr, fused=True)
    momentum = budget.momentum
    return torch.optim.SGD(groups, budget.lr, momentum, nesterov=momentum > 0, fused=True)


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Of logits (B, classes) and classes (B,), or the probability of each (B, classes)."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def set_training(
    module: nn.Module, norms: str = "batch", unfrozen: Collection[nn.Module] = ()
) -> None:
    """Put `module` into training mode, its batch norms only where they are not frozen."""
    module.train()
    if norms == "frozen":
        for child in module.modules():
            if isinstance(child, nn.BatchNorm2d) and child not in unfrozen:
                child.eval()


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """What `lr` is multiplied by at `step` of `steps`: up to 1 linearly, then a cosine to 0."""
    climb = int(warmup * steps)
    if step < climb:
        return (step + 1) / climb
    return (1 + math.cos(math.pi * (step - climb) / (steps - climb))) / 2


def train(
    module: nn.Module,
    batches: Loader,
    budget: Budget,
    *,
    device: torch.device,
    seed: int = 0,
    progress: Progress | None = None,
    validation: Loader | None = None,
    stop: Callable[[int], bool] | None = None,
    checkpoint: Path | None = None,
    loss: Loss = cross_entropy,
    unfrozen: Collection[nn.Module] = (),
) -> History:
    """Train `module` on `device`, in place, and leave it there, ready to be evaluated.

    The batches' labels are what `loss` takes: classes (B,), or the probability of each class
    (B, classes), float.  `unfrozen` are norms that no first weights brought, which learn their
    statistics also where those of the others are frozen.
    `validation` is scored after every epoch.  `stop` is called after every epoch but the last,
    with the epochs done and the module ready to be evaluated; true ends the training.
    `checkpoint`, a file to go on from, is written after every epoch.  Equal seeds give equal
    weights on a CPU with equally many threads, killed and resumed or not; torch's own generators
    are given back as they were.  Raises TrainingFailed, and UserError for a checkpoint of another
    seed, budget, number of batches or network; that the images are the same nobody checks.

    Processes that are joined (`nas.training.processes`) train one network, each on its share of
    every batch, as one process would on whole ones; `stop` must answer alike in all.
    """
    if device.type == "cpu":
        tune_malloc()
    network = hashlib.sha256(repr(module).encode()).hexdigest()[:16]
    with (
        name_failures("training"),
        isolated_rng(seed, device),
        quick_gradients(module),
        norms_of_whole_batch(module),
    ):
        to_device(module, device)
        run = _Run(module, batches, budget, device, network, progress, loss)
        began = f"{budget!r} {seed} {len(batches)}"
        began += " frozen norms" if budget.norms == "frozen" else ""
        rows = run.resume(checkpoint, began) if checkpoint and checkpoint.exists() else []
        take_from_first(module)
        for number in range(len(rows), budget.epochs):
            start = time.perf_counter()
            set_training(module, budget.norms, unfrozen)
            draw_apart(seed, number)
            mean = run.epoch(number)
            module.eval()
            score = evaluate(module, validation, device=device) if validation else None
            last = number + 1 == budget.epochs or (stop is not None and stop(number + 1))
            rows.append(Epoch(mean, time.perf_counter() - start, score))
            if checkpoint:
                with first_goes_first():
                    if rank() == 0:
                        write(checkpoint, run.state(rows, began))
            if last:
                break
    return History(tuple(rows))


@dataclass
class _Run:
    """One training, `step` steps into it."""

    module: nn.Module
    batches: Loader
    budget: Budget
    device: torch.device
    network: str  # digest of the module's layers
    progress: Progress | None
    loss: Loss = cross_entropy
    step: int = 0

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.module, self.budget)
        self.dtype = resolve_precision(self.budget.precision, self.device)
        self.steps = self.budget.epochs * len(self.batches)
        self.together = together()
        # NCCL inside of a CUDA graph was never tried
        captured = pays(self.device, self.steps) and not self.together
        self.do = CapturedStep(self.update, self.optimizer) if captured else self.eager

    def epoch(self, number: int) -> float:
        """Train on the batches of that epoch; their mean loss."""
        total, first = torch.zeros((), device=self.device), self.step
        for images, labels in self.batches.epoch(number):
            lr = self.budget.lr * lr_factor(self.step, self.steps, self.budget.warmup)
            total += self.do(images.contiguous(memory_format=layout(self.device)), labels, lr)
            self.step += 1
            if self.step % CHECK_EVERY == 0:
                self.check_finite(total)
            if self.progress is not None:
                self.progress(self.step, self.steps)
        self.check_finite(total)
        return total.item() / (self.step - first)

    def eager(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        """One step of the optimizer at that learning rate; the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return self.update(images, labels)

    def update(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step of the optimizer; the loss, which stays on the device."""
        budget = self.budget
        with autocast(self.device, self.dtype):
            answers = self.module(images)  # logits (B, classes), or what `loss` takes
        loss = self.loss(answers.float(), labels, budget.label_smoothing)
        if self.together:  # norms join the images of all processes: no image may weigh more
            loss = loss * len(labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.together:
            weights = list(self.module.parameters())
            (loss,) = average_over_ranks(weights, loss.detach(), count=len(labels))
        if budget.clip_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), budget.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def state(self, rows: Sequence[Epoch], began: str) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "settings": began,
            "network": self.network,
            "weights": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(self.device),
            "epochs": [asdict(row) for row in rows],
        }

    def resume(self, checkpoint: Path, began: str) -> list[Epoch]:
        """Take over what `state` wrote; the epochs that were done."""
        state = read(checkpoint, "training", began, self.device, self.network)
        self.module.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        set_random_state(state["random"], self.device)
        rows = [Epoch(**r | {"score": r["score"] and Score(**r["score"])}) for r in state["epochs"]]
        self.step = len(rows) * len(self.batches)
        self.module.eval()
        return rows

    def check_finite(self, total: Tensor) -> None:
        if not math.isfinite(value := total.item()):
            where = f"the loss became {value} by step {self.step} of {self.steps}"
            advice = f"lower budget.lr={self.budget.lr:g} or set a budget.clip_norm"
            raise TrainingFailed("not_finite", f"{where}: {advice}")
