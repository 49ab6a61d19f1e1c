"""What one training needs, opened and checked: images, network, first weights, run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.scaling import for_resolution
from nas.core.config import Component
from nas.core.errors import UserError, unknown
from nas.core.run_folder import check_config, folder_name, lock_folder, open_folder, write_yaml
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ANY_SIZE, ImageData
from nas.data.dense import DenseData
from nas.data.dense_batches import DenseBatches
from nas.data.share import ALL, Share
from nas.data.splits import SPLIT_NAMES
from nas.latency.timing import Backend
from nas.network.device import resolve_device
from nas.network.pretrained import PRETRAINED, Pretrained
from nas.tasks.task import Task
from nas.train.settings import TrainSettings
from nas.training.first_weights import ChannelStats, FirstWeights
from nas.training.loop import Budget, fit_batch
from nas.training.processes import first_goes_first, own_share
from search_spaces.inherited import BN_MOMENTUM, LEAST_SIDE
from search_spaces.lookup import (
    newest_winner,
    plain_name,
    resolve_baseline,
    resolve_network,
    side_of_head,
)

OWN = "the training images'"
READING = ("task.min_score", "task.nms_iou", "task.most")  # how answers are read, after training


@dataclass(frozen=True)
class TrainingRun:
    """One training, its folder opened and locked.

    origin       where the network is from, in words.
    weights      what it begins with, unless it is trained from scratch.
    share        what this process does of it, where torchrun started several.
    task         boxes or masks; None for classes.
    """

    settings: TrainSettings
    folder: Path
    data: ImageData | DenseData
    arch: Arch
    origin: str
    weights: FirstWeights | None
    budget: Budget
    stats: ChannelStats
    timer: Backend
    device: torch.device
    share: Share
    task: Task | None = None

    @property
    def checkpoint(self) -> Path:
        """The file from which a killed training goes on."""
        return self.folder / "checkpoint.pt"

    def batches(self, split: str, **training: Any) -> Resized | DenseBatches:
        """This process's share of that split at the network's resolution.

        For `training` rows of every batch, else batches of a part of the images.
        """
        images = getattr(self.data, split)
        if isinstance(self.data, DenseData):
            how: dict[str, Any] = {
                "device": self.device,
                "flip": self.data.flip,
                "seed": self.settings.seed,
            }
            return DenseBatches(images, self.stats.mean, self.stats.std, **how, **training)
        return batches_for(
            self.data,
            images if training else self.share.part(images),
            self.arch.resolution,
            mean=self.stats.mean,
            std=self.stats.std,
            device=self.device,
            seed=self.settings.seed,
            share=self.share if training else ALL,
            **training,
        )


@contextmanager
def open_run(settings: TrainSettings) -> Iterator[TrainingRun]:
    """Open and lock what `settings` ask for; UserError where the folder holds another training."""
    budget: Budget = settings.budget.make()
    if settings.from_scratch:
        budget.check_from_scratch()
    timer: Backend = settings.latency.make()
    pretrained = pretrained_source(settings)
    resolution = input_resolution(settings, pretrained)
    task: Task | None = None if settings.task.name == "classification" else settings.task.make()
    if task and own_share().processes > 1:
        raise UserError(f"task={task.name} trains in one process: start it without torchrun")
    source = sized_data(settings, resolution)
    with first_goes_first():
        data: ImageData | DenseData = source.make()
    arch, origin = network_for(settings, resolution, data)
    if task and isinstance(data, DenseData):
        arch = task.with_head(arch, data)
    elif arch.dense:
        raise UserError(f"{arch.name} answers boxes or masks: give task= and data= for them")
    weights = None
    if not settings.from_scratch:
        weights = FirstWeights(settings.weights_path, pretrained, settings.weights_key)
    run = TrainingRun(
        settings=settings,
        folder=Path(settings.results) / "train" / (settings.run or folder_name(arch.name)),
        data=data,
        arch=arch,
        origin=origin,
        weights=weights,
        budget=fit_batch(budget, len(data.train)),
        stats=weights.stats(data) if weights else ChannelStats(data.mean, data.std, OWN),
        timer=timer,
        device=resolve_device(settings.device),
        share=own_share(),
        task=task,
    )
    check_shares(run)
    if run.share.rank:
        yield run
        return
    with lock_folder(open_folder(run.folder)):
        record_config(run, source)
        yield run


def sized_data(settings: TrainSettings, resolution: int | None) -> Component:
    """The data's settings with the side that their pictures are to have."""
    source = settings.data
    if source.node["name"] in ANY_SIZE:
        source = source.filled(resolution=resolution)
    if settings.task.name == "classification":
        return source
    name = settings.arch or newest_winner(settings.results, classes_only=False)
    side = settings.resolution or source.node["resolution"] or side_of_head(name)
    return source.updated(resolution=side)


def check_shares(run: TrainingRun) -> None:
    """UserError where a process would have nothing to do."""
    shared = {f"budget.batch_size={run.budget.batch_size}": run.budget.batch_size}
    sizes = {part: len(getattr(run.data, part)) for part in SPLIT_NAMES}
    shared |= {f"{size} {part} images": size for part, size in sizes.items()}
    for what, number in shared.items():
        run.share.check(what, number)


def record_config(run: TrainingRun, data: Component) -> None:
    """Write config.yaml; UserError where it began with another, but for READING."""
    settings, path = run.settings, run.folder / "config.yaml"
    config: dict[str, Any] = {
        "arch": settings.arch,
        "resolution": settings.resolution,
        "data": dict(data.node),
        "budget": dict(settings.budget.node),
        "weights": dict(settings.weights.node),
        "weights_sha256": run.weights.digest() if run.weights else None,
        "seed": settings.seed,
        "images": run.data.fingerprint,
        "network": network_id(run.arch),
        "choices": {"weights": settings.weights.name},
    }
    if run.task:  # earlier runs had no other task
        config["task"] = dict(settings.task.node)
        config["choices"] = {"task": settings.task.name, "weights": settings.weights.name}
    if run.checkpoint.exists():
        if not path.exists():
            raise UserError(f"{run.checkpoint} has no config.yaml: remove it, or choose run=")
        check_config(path, config, READING)
    write_yaml(path, config)


def pretrained_source(settings: TrainSettings) -> Pretrained | None:
    """What is known of the network's published weights, unless it is trained from scratch."""
    if settings.from_scratch or settings.published_name is None:
        return None
    name = plain_name(settings.published_name)
    if settings.weights.name == "pretrained" and name not in PRETRAINED:
        raise unknown("network with published weights", settings.arch, PRETRAINED)
    return PRETRAINED.get(name)


def input_resolution(settings: TrainSettings, pretrained: Pretrained | None) -> int | None:
    """The input's side in pixels, where anything but the images tells it."""
    node, name = settings.data.node, settings.published_name
    of_data: int | None = node["resolution"] if node["name"] in ANY_SIZE else None
    if asked := settings.resolution or of_data:
        return asked
    if settings.arch is None or (name and settings.from_scratch):
        return None
    own = resolve_network(settings.arch)[0].resolution
    if name and pretrained and own == resolve_network(plain_name(name))[0].resolution:
        return pretrained.resolution
    return own


def network_for(
    settings: TrainSettings, resolution: int | None, data: ImageData | DenseData
) -> tuple[Arch, str]:
    """The network for these images, and where it is from.

    From scratch a published network is sized for the data.  With weights it stays as they were
    trained, norms and padding included, at `resolution` pixels.
    """
    name = settings.published_name
    if settings.from_scratch or name is None:
        return resolve_baseline(
            settings.arch,
            settings.results,
            lambda: data.spec,
            trained=True,
            classes_only=False,
            resolution=settings.resolution or settings.data.node.get("resolution"),
        )
    published, origin = resolve_network(name)
    arch = for_resolution(published, resolution or data.resolution, LEAST_SIDE)
    arch = replace(arch, channels=data.channels, classes=data.num_classes)
    return replace(arch, bn_momentum=BN_MOMENTUM), origin
