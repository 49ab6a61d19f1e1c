"""The training itself, with progress, for every task."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console
from torch import nn

from nas.core.progress import ProgressBar
from nas.network.modules import Network
from nas.train.setup import TrainingRun
from nas.training.loop import History, Loss, cross_entropy
from nas.training.loop import train as train_epochs


def train_net(
    run: TrainingRun,
    net: Network,
    console: Console,
    loss: Loss = cross_entropy,
    unfrozen: Collection[nn.Module] = (),
) -> History:
    """Train `net` in place; a killed training goes on."""
    size = run.budget.batch_size
    batches = run.batches("train", batch_size=size, augment=run.budget.augment)
    with ProgressBar(console, "train") as bar:

        def on_step(done: int, steps: int) -> None:
            bar.start(steps, done - 1)  # only now is it known how much an earlier call has done
            epoch, epochs = -(-done // len(batches)), steps // len(batches)
            bar(done, f"epoch {epoch} of {epochs} · batches of {size}")

        return train_epochs(
            net,
            batches,
            run.budget,
            device=run.device,
            seed=run.settings.seed,
            progress=on_step,
            validation=None if run.task else run.batches("val"),
            checkpoint=run.checkpoint,
            loss=loss,
            unfrozen=unfrozen,
        )
