"""Training a supernet: the sandwich rule with distillation from the largest network in place.

Processes that are joined (`nas.training.processes`) train one supernet, each on its share of every
batch, with the same networks at every step, as one process would on whole batches.  Rank 0 alone
reads and writes the checkpoint, and sees the ranking settle.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.core.errors import UserError
from nas.core.typed import Count, Natural, Positive, Range, check_fields
from nas.network.device import layout, resolve_precision, to_device, tune_malloc
from nas.stats.correlation import kendall
from nas.supernet.history import Check, Rollback, SupernetHistory, history_of
from nas.supernet.sampling import FeasibleMask, FeasibleSampler
from nas.supernet.sandwich import Sandwich, accumulate_gradients
from nas.supernet.scoring import side_by_side, subnet_losses
from nas.supernet.supernet import Supernet
from nas.training.checkpoint import read, write
from nas.training.evaluation import Loader, TrainingFailed, name_failures
from nas.training.loop import CHECK_EVERY, Budget, lr_factor, make_optimizer
from nas.training.processes import (
    average_over_ranks,
    check_equal_parts,
    decided_by_first,
    rank,
    together,
    told_by_first,
)

SAVE_SECONDS = 30.0  # at most so much of a training, and a step, is lost to a kill
MAX_ROLLBACKS = 5  # before a training is given up
TRAINING = Budget(epochs=20, batch_size=64, lr=0.08, warmup=0.05)


@dataclass(frozen=True)
class SupernetBudget:
    """How a supernet is trained; the epochs of `training` count unless `seconds` are given."""

    training: Budget = TRAINING
    seconds: Positive | None = None  # of the clock, checks included; the schedule follows the clock
    num_random: Natural = 2  # networks a step, beside the largest and the smallest
    threads: Count = 1  # networks of a step that are computed side by side on a CPU, one core each
    checks: Count = 8  # how often the ranking of `num_probes` random networks is looked at
    num_probes: Annotated[int, Range(2)] = 24
    # Kendall tau between checks that, twice in a row, ends it; 0 for never
    settled: Annotated[float, Range(0, 1)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "supernet")
        if self.training.label_smoothing or self.training.norms != "batch":
            raise UserError(
                "a supernet learns from its largest network, by the norms of each batch: leave out "
                "accuracy.budget.training.label_smoothing= and norms="
            )


SupernetProgress = Callable[[float, float, SupernetHistory], None]  # part done, seconds left


def train_supernet(
    supernet: Supernet,
    batches: Loader,
    budget: SupernetBudget,
    *,
    device: torch.device,
    seed: int = 0,
    feasible: FeasibleMask | None = None,
    probe: Loader | None = None,
    checkpoint: Path | None = None,
    progress: SupernetProgress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> SupernetHistory:
    """Train `supernet` in place: networks that are `feasible`, which `seed` draws.

    By the images of `probe` the ranking is seen to settle; `checkpoint` is a file to go on from.
    `clock` gives seconds: `time.process_time` is for machines that others use too.

    Equal seeds and epochs give equal weights on a CPU, resumed or not, with any number of threads
    from two; one computes as the others where torch itself has one.
    Raises TrainingFailed where the loss does not stay finite, or memory runs out.
    """
    if device.type == "cpu":
        tune_malloc()
    check_equal_parts(len(batches), device)
    to_device(supernet, device)
    threads = 1 if together() else budget.threads  # norms of all ask each other in one order
    advice = "lower accuracy.budget.training.batch_size or data.resolution"
    with name_failures("training the supernet", advice), side_by_side(threads, device) as run:
        sampler = FeasibleSampler(supernet.space, feasible, seed) if feasible else None
        sandwich = Sandwich(supernet.space, budget.num_random, sampler)
        training = _Training(supernet, batches, budget, device, seed, sandwich, run)
        training.probe, training.checkpoint = probe, checkpoint
        training.progress, training.clock = progress, clock
        return training.run_to_end()


@dataclass(eq=False)
class _Training:
    supernet: Supernet
    batches: Loader
    budget: SupernetBudget
    device: torch.device
    seed: int
    sandwich: Sandwich
    run: Callable[..., Any]
    probe: Loader | None = None
    checkpoint: Path | None = None
    progress: SupernetProgress | None = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        budget = self.budget.training
        self.weights = list(self.supernet.parameters())
        self.optimizer = make_optimizer(self.supernet, budget)
        self.dtype = resolve_precision(budget.precision, self.device)
        self.guess = math.log(self.supernet.space.classes)  # nats
        self.history = SupernetHistory()
        self.num_steps = budget.epochs * len(self.batches)  # where no seconds are given
        self.every = CHECK_EVERY  # steps from one look to the next
        if self.budget.seconds is None:
            self.every = max(1, min(CHECK_EVERY, self.num_steps // self.budget.checks))
        self.lr_scale, self.min_loss = 1.0, math.inf  # the least between two looks
        self.total, self.count = torch.zeros((), device=self.device), 0  # loss since the last look
        self.losses: list[float] = []  # at the looks since the last check
        self.probed: list[float] = []  # cross-entropy of the probe networks at the last check

    def run_to_end(self) -> SupernetHistory:
        self.good = self.resume() or self.state()
        self.began, self.saved = self.clock() - self.history.seconds, time.monotonic()
        while self.part_done() < 1:
            epoch, past = divmod(self.history.steps, len(self.batches))
            for images, labels in islice(self.batches.epoch(epoch), past, None):
                self.step(images, labels)
                if self.part_done() >= 1:
                    break
        return self.history

    def part_done(self) -> float:
        if self.history.settled:
            return 1.0
        if self.budget.seconds is not None:
            return min(1.0, self.history.seconds / self.budget.seconds)
        return self.history.steps / self.num_steps

    def step(self, images: Tensor, labels: Tensor) -> None:
        history, budget = self.history, self.budget.training
        archs = self.sandwich.step(random.Random(f"{self.seed}:0:{history.steps}"))
        images = images.contiguous(memory_format=layout(self.device))
        # together no image may weigh more where it is with fewer
        count, how = (len(labels), "sum") if together() else (1, "mean")
        loss = accumulate_gradients(
            self.supernet, archs, images, labels, dtype=self.dtype, run=self.run, reduction=how
        )
        seconds = count * (self.clock() - self.began)
        loss, spent = average_over_ranks(self.weights, loss, seconds, count=count)
        norm = nn.utils.clip_grad_norm_(self.weights, budget.clip_norm or math.inf)
        factor = lr_factor(int(self.part_done() * 10_000), 10_000, budget.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = budget.lr * factor * self.lr_scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.total += loss + 0 * norm  # not a number where a gradient is none
        self.count += 1
        history.steps, history.seconds = history.steps + 1, float(spent)
        if history.steps % self.every == 0 or self.part_done() >= 1:
            self.look()
        late = time.monotonic() - self.saved > SAVE_SECONDS
        if self.checkpoint and rank() == 0 and (late or self.part_done() >= 1):
            # between two looks a roll back needs the last good state too
            between = self.state() | {"good": self.good} if self.count else None
            write(self.checkpoint, between or self.good)
            self.saved = time.monotonic()
        if self.progress is not None:
            done = self.part_done()
            self.progress(done, history.seconds * (1 / max(done, 1e-9) - 1), history)

    def look(self) -> None:
        """Take the state as a good one, or roll back to the last."""
        loss = float(self.total) / self.count
        self.total, self.count = torch.zeros((), device=self.device), 0
        if reason := self.divergence(loss):
            self.roll_back(reason)
        else:
            self.min_loss = min(self.min_loss, loss)
            self.losses.append(loss)
        done = self.part_done()
        due = done >= 1 or int(done * self.budget.checks) > len(self.history.checks)
        if due and self.losses:  # without any the weights are those of the last check
            self.check()
        self.good = self.state()

    def divergence(self, loss: float) -> str | None:
        if not math.isfinite(loss):
            return f"the loss or a gradient became {loss}"
        # a network that knew something and is now worse than equal odds for all classes
        if loss > self.guess and self.min_loss < 0.9 * self.guess:
            return f"the loss collapsed from {self.min_loss:.2f} to {loss:.2f}, worse than guessing"
        return None

    def roll_back(self, reason: str) -> None:
        """Take the last good state; the images go on, so that no bad batch is met again."""
        history = self.history
        if len(history.returns) == MAX_ROLLBACKS:
            raise TrainingFailed(
                "not_finite",
                f"{reason} by step {history.steps}, the {MAX_ROLLBACKS + 1}th time: "
                f"lower accuracy.budget.training.lr={self.budget.training.lr:g}",
            )
        self.restore(self.good)
        self.lr_scale /= 2
        history.returns.append(Rollback(history.steps, reason, self.lr_scale))

    def check(self) -> None:
        history, budget, agreement = self.history, self.budget, math.nan
        if self.probe is not None and rank() == 0:
            rng = random.Random(f"{self.seed}:probes")
            archs = self.sandwich.sample(budget.num_probes, rng)
            losses, _ = subnet_losses(
                self.supernet,
                archs,
                self.probe,
                device=self.device,
                precision=budget.training.precision,
                threads=budget.threads,
            )
            before, self.probed = self.probed, losses.mean(1).tolist()
            if before:
                agreement = kendall(np.array(before), np.array(self.probed))
        mean = sum(self.losses) / len(self.losses)
        history.checks.append(Check(history.steps, history.seconds, mean, agreement))
        self.losses = []
        level, last = budget.settled, [c.agreement for c in history.checks[-2:]]
        settled = level > 0 and len(last) == 2 and all(a >= level for a in last)
        history.settled = decided_by_first(settled, self.device)

    def state(self) -> dict[str, Any]:
        """A copy of all that the next step depends on, in plain types and tensors."""
        return deepcopy(
            {
                "settings": self.settings(),
                "weights": dict(self.supernet.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "history": asdict(self.history),
                "numbers": [self.lr_scale, self.min_loss],
                "since": [self.total, self.count],
                "losses": self.losses,
                "probed": self.probed,
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        self.supernet.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))

    def settings(self) -> str:
        """Changes with whatever would make another training."""
        budget = replace(self.budget, threads=1)  # how many there are changes nothing
        text = repr((budget, self.seed, self.supernet.space, len(self.batches)))
        text += self.sandwich.sampler.digest if self.sandwich.sampler else ""
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def resume(self) -> dict[str, Any] | None:
        """Go on from the checkpoint; the last good state in it, if there is one."""
        state: dict[str, Any] | None = None
        if self.checkpoint and rank() == 0 and self.checkpoint.exists():
            state = read(self.checkpoint, "supernet", self.settings(), torch.device("cpu"))
        if state := told_by_first(state):
            self.restore(state)
            self.lr_scale, self.min_loss = state["numbers"]
            self.losses, self.probed = state["losses"], state["probed"]
            self.history = history_of(state["history"])
            if since := state.get("since"):  # version 0.1 saved at looks alone
                self.total, self.count = since[0].to(self.device), since[1]
        return state and state.get("good")
