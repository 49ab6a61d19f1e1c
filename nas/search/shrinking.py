"""The steps of NetAdapt: proposals take over weights, are trained shortly and scored, one is kept.

Every score is written down as soon as it is known, so that what is killed goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, count, islice
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from nas.accuracy.estimate import Failure, call_safely
from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.journal import KeyedJournal
from nas.core.progress import ProgressBar
from nas.data.batches import batches_for
from nas.data.dataset import ImageData
from nas.inheritance.files import load_tensors, save_tensors
from nas.inheritance.narrowing import narrowed
from nas.network.modules import Network, build
from nas.search.netadapt import Price, Proposal, Scored, best, proposals
from nas.training.evaluation import Loader, evaluate
from nas.training.loop import Budget, Progress, train

# Of the budget's learning rate, in a short training: "1/10th of the initial pre-training rate",
# which makes progress and does not clobber the weights (Girshick et al. 2014, section 2.3).
GENTLE = 0.1


# Trains a network in place for that step, 0: from scratch; the cross-entropy, in nats, that it then
# has on the validation images.
Trainer = Callable[[Network, Arch, int, Progress], float]


@dataclass(frozen=True)
class ImageTrainer:
    """`trainer(net, arch, step, progress)`: in step 0 by the whole budget, from `checkpoint` on.

    In later steps by `batches` batches, the same for all networks of a step, at GENTLE times the
    learning rate.  Raises TrainingFailed.
    """

    data: ImageData
    budget: Budget
    device: torch.device
    seed: int
    batches: int
    checkpoint: Path

    def __call__(self, net: Network, arch: Arch, step: int, progress: Progress) -> float:
        """The cross-entropy of the network, which it trains."""
        batches = partial(batches_for, self.data, side=arch.resolution, device=self.device)
        budget, size = self.budget, self.budget.batch_size
        images: Loader = batches("train", seed=self.seed, batch_size=size, augment=budget.augment)
        if step:
            budget = replace(budget, epochs=1, lr=GENTLE * budget.lr)
            images = SomeBatches(images, self.batches, step)
        train(
            net,
            images,
            budget,
            device=self.device,
            seed=self.seed,
            progress=progress,
            checkpoint=None if step else self.checkpoint,
        )
        return evaluate(net, batches("val"), device=self.device).cross_entropy


@dataclass(frozen=True)
class SomeBatches:
    """`number` batches of `images`, others in each `step`."""

    images: Loader
    number: int
    step: int

    def __len__(self) -> int:
        return self.number

    def epoch(self, _: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches, the same each time."""
        first = self.step * math.ceil(self.number / len(self.images))
        epochs = (self.images.epoch(number) for number in count(first))
        return islice(chain.from_iterable(epochs), self.number)


@dataclass(frozen=True)
class Shrinking:
    """One network on its way to `target_ms`; what is known of it is kept in `folder`.

    Each step cuts the part `step` of its first latency at least (`nas.search.netadapt.proposals`).

    scores.jsonl   a line for each network that was scored: its step, latency and cross-entropy
    ID.pt          weights of the first network, the one at hand, and the best of its proposals
    """

    start: Arch
    price: Price
    target_ms: float
    step: float
    trainer: Trainer
    seed: int
    folder: Path
    console: Console

    @cached_property
    def journal(self) -> KeyedJournal:
        """The scores by step and network."""
        return KeyedJournal(self.folder / "scores.jsonl")

    def steps(self) -> list[Scored]:
        """The first network, and what each step made of it; UserError where it is in vain."""
        steps = [self._first()]
        with ProgressBar(self.console, "refine") as bar:
            while steps[-1].proposal.ms > self.target_ms:
                steps.append(self._next(steps, bar))
        return steps

    def _first(self) -> Scored:
        """The first network, trained from scratch."""
        first = Proposal(self.start, self.price(self.start), "")
        if known := self._known(0, first):
            return known
        with ProgressBar(self.console, "start") as bar:

            def on_progress(done: int, total: int) -> None:
                bar.start(total)
                bar(done, "batches of the network to shrink")

            net = build(self.start, self.seed)
            loss = call_safely(self.trainer, net, self.start, 0, on_progress)
        if isinstance(loss, Failure):
            raise UserError(f"the network to shrink cannot be trained: {loss.reason}")
        self._save(self.start, net)
        return self._add(0, Scored(first, loss))

    def _next(self, steps: Sequence[Scored], bar: ProgressBar) -> Scored:
        """The best proposal of the next step."""
        hand, scored = steps[-1], list[Scored]()
        cut_ms = self.step * steps[0].proposal.ms
        found = proposals(hand.proposal.arch, self.price, cut_ms, self.target_ms)
        for i, proposal in enumerate(found):
            if known := self._known(len(steps), proposal):
                scored.append(known)
                continue

            def on_progress(done: int, total: int, before: int = i) -> None:
                self._show(bar, steps, cut_ms * (before + done / total) / len(found))

            net = narrowed(self._load(hand.proposal.arch), hand.proposal.arch, proposal.arch)
            loss = call_safely(self.trainer, net, proposal.arch, len(steps), on_progress)
            scored.append(Scored(proposal, math.inf if isinstance(loss, Failure) else loss))
            if best(hand, scored) is scored[-1]:
                self._save(proposal.arch, net)
            self._add(len(steps), scored[-1])
            self._tidy([steps[0], hand, best(hand, scored)])
        if all(one.cross_entropy == math.inf for one in scored):
            raise UserError(
                f"no smaller network of {hand.proposal.ms:.3g} ms could be trained; the target is "
                f"{self.target_ms:.3g} ms: give a larger target= or refine.start="
            )
        return best(hand, scored)

    def _show(self, bar: ProgressBar, steps: Sequence[Scored], cut_ms: float) -> None:
        """Of 100 so much of the way to the target is done as the milliseconds that are cut."""
        first, hand = steps[0].proposal.ms, steps[-1].proposal.ms
        now = max(hand - cut_ms, self.target_ms)
        bar.start(100, int(100 * (first - hand) / (first - self.target_ms)))
        part = int(100 * (first - now) / (first - self.target_ms))
        bar(part, f"% of the way, step {len(steps)} from {hand:.3g} ms")

    def _known(self, step: int, proposal: Proposal) -> Scored | None:
        """What the journal says of the proposal."""
        if (key := _key(step, proposal)) not in self.journal:
            return None
        loss = self.journal[key]["cross_entropy"]
        return Scored(proposal, math.inf if loss is None else loss)

    def _add(self, step: int, scored: Scored) -> Scored:
        """Write down what is known of a network."""
        proposal, loss = scored
        row = {"key": _key(step, proposal), "what": proposal.what, "latency_ms": proposal.ms}
        self.journal.add({**row, "cross_entropy": loss})
        return scored

    def _path(self, arch: Arch) -> Path:
        return self.folder / f"{network_id(arch)}.pt"

    def _save(self, arch: Arch, net: Network) -> None:
        save_tensors(self._path(arch), {name: t.cpu() for name, t in net.state_dict().items()})

    def _load(self, arch: Arch) -> Network:
        """The network with its weights; UserError where somebody took them away."""
        net, path = build(arch, self.seed), self._path(arch)
        if not path.exists():
            raise UserError(f"{path} is missing: remove {self.folder}, and it is refined anew")
        net.load_state_dict(load_tensors(path))
        return net

    def _tidy(self, kept: Sequence[Scored]) -> None:
        """Remove all weights but those of the networks that are kept."""
        paths = {self._path(one.proposal.arch) for one in kept}
        for path in set(self.folder.glob("*.pt")) - paths:
            path.unlink()


def _key(step: int, proposal: Proposal) -> str:
    return f"{step}:{network_id(proposal.arch)}"
