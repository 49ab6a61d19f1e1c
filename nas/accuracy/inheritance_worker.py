"""The steps of inheriting, each for one network in a process of its own."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from nas.accuracy.estimate import Estimate
from nas.accuracy.inheritance_tasks import BoxesOrMasks, Classes, ImageTask
from nas.accuracy.judge import Load
from nas.accuracy.pool import part_done
from nas.arch.arch import Arch
from nas.arch.operators import network_id, operators
from nas.core.errors import UserError
from nas.data.batches import Resized
from nas.data.dataset import ImageData
from nas.data.dense import DenseData
from nas.inheritance.files import (
    load_replacements,
    load_tensors,
    replacements_path,
    save_replacements,
    save_tensors,
    weights_path,
)
from nas.inheritance.refit import Answers, inherit
from nas.inheritance.replacements import (
    PIXELS,
    Images,
    Replacement,
    score_blocks,
    study_blocks,
)
from nas.network.device import layout, resolve_device, to_device
from nas.network.modules import Network, build
from nas.tasks.task import Task
from nas.training.evaluation import Loader, Score
from nas.training.first_weights import FirstWeights, first_weights
from nas.training.loop import Budget, fit_batch, train
from nas.training.soft_labels import SoftLabels
from search_spaces.inherited import at_resolution, place_of, replacement_rows, sides_of
from search_spaces.lookup import plain_name

NUM_STUDIED = 2000  # pictures from which replacements are solved
NUM_SCORED = 256  # validation pictures, without their labels, on which replacements are scored
NUM_TESTED = 500  # test images that networks are scored on which are not trained again
NUM_REFITTED = 1000  # pictures to which a whole network is fitted, block by block
AT_ONCE = 50  # of those pictures
MAX_BYTES = 400e6  # of one map of all pictures that a network is fitted to
STUDY_EPOCH, REFIT_EPOCH = 10_000, 20_000  # of augmentation, which no training sees
Source = tuple[Network, dict[str, list[Replacement]], Answers, Images]
FIDELITY = {"inherit": "inherited", "finish": "trained again"}


@dataclass(eq=False)
class InheritanceWorker:
    """Does one step for one network, and keeps its weights in `folder`: `worker(arch, task)`.

    train      train the published network on, at the side of `arch`
    study      solve and score what each of its blocks can be replaced by there
    inherit    a network of the space, in closed form
    finish     train that on, with soft labels of the largest side's network
    baseline   a published network from its own weights, trained as long and alike
    """

    images: ImageTask
    weights: FirstWeights
    space: Arch
    budget: Budget
    device: torch.device
    seed: int
    folder: Path
    epochs: int = 0  # of training again
    sources: dict[int, Source] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    began: float = 0.0

    @classmethod
    def open(
        cls,
        load: Load,
        weights: FirstWeights,
        space: Arch,
        budget: Budget,
        device: str,
        seed: int,
        folder: Path,
        precision: str = "float32",
        task: Task | None = None,
        load_at: Callable[..., DenseData] | None = None,
    ) -> InheritanceWorker:
        """For processes that load their own data; UserError where they have not the run folder.

        precision   int8: scores are those of networks in 8 bits.
        task        boxes or masks, of pictures that `load_at` gives at a `resolution`.
        """
        if not folder.is_dir():
            raise UserError(
                f"a worker on {platform.node()} does not see {folder}: with weights the workers of "
                "executor=ray need results= on a file system that all machines share"
            )
        data: ImageData | DenseData = load()
        budget, on = fit_batch(budget, len(data.train)), resolve_device(device)
        images: ImageTask
        if isinstance(data, DenseData):
            assert task
            assert load_at
            images = BoxesOrMasks(task, load_at, on, seed, {data.resolution: data})
        else:
            images = Classes(data, on, seed, precision)
        return cls(images, weights, space, budget, on, seed, folder)

    def __call__(self, arch: Arch, task: str, epochs: int | None = None) -> Estimate:
        """The network's scores on validation and test images after that step.

        Seconds are those of the processor's cores together, or on a GPU of the clock.  `epochs`
        are of training again, in the place of the budget's.
        """
        steps = {
            "train": self._train,
            "study": self._study,
            "inherit": self._inherit,
            "finish": self._finish,
            "baseline": self._baseline,
        }
        self.epochs = epochs or self.budget.epochs
        path = weights_path(self.folder, arch, self._name(task))
        if path.exists():
            return read_estimate(path)
        self.clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self.began = self.clock()
        return steps[task](arch)

    def _name(self, task: str) -> str:
        """Of the file of weights that the task leaves."""
        longer = task == "baseline" and self.epochs != self.budget.epochs
        return f"{task}-{self.epochs}" if longer else task

    def _training(self, side: int, weights: FirstWeights) -> Loader:
        size, augment = self.budget.batch_size, self.budget.augment
        return self.images.batches("train", side, weights, batch_size=size, augment=augment)

    def _kept(self, net: Network, arch: Arch, task: str, weights: FirstWeights) -> Estimate:
        """Judge the network and keep it, with what compares it with others on test images."""
        tested = NUM_TESTED if task == "inherit" else None  # many are
        said = self.images.judge(net, arch, weights, tested)
        words, seconds = FIDELITY.get(task, task), self.clock() - self.began
        estimate = Estimate(
            said.value, said.error, seconds, words, said.val, said.test, float_val=said.float_val
        )
        kept = {
            "weights": {k: t.cpu().contiguous() for k, t in net.state_dict().items()},
            **said.kept,
            "estimate": asdict(estimate),
        }
        save_tensors(weights_path(self.folder, arch, self._name(task)), kept)
        for checkpoint in (self.folder / "checkpoints").glob(f"{network_id(arch)}-{task}*"):
            checkpoint.unlink()
        return estimate

    def _fit(
        self, net: Network, arch: Arch, task: str, weights: FirstWeights, *, again: bool
    ) -> None:
        """Train in place.  `again`: of classes with soft labels."""
        batches, budget = self._training(arch.resolution, weights), self.budget
        if again:
            budget = replace(budget, epochs=self.epochs)
        if again and isinstance(batches, Resized):
            side = sides_of(self.space)[0]
            theirs, folder = self._training(side, self.weights), self.folder / "soft_labels"
            assert isinstance(theirs, Resized)
            batches = SoftLabels(batches, theirs, self._trained(side), folder)
        name = f"{network_id(arch)}-{task}{f'-again-{self.epochs}' if again else ''}.pt"
        checkpoint = self.folder / "checkpoints" / name
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        train(
            net,
            batches,
            budget,
            device=self.device,
            seed=self.seed,
            progress=part_done,
            checkpoint=checkpoint,
            loss=self.images.loss(arch),
            unfrozen=self.images.unfrozen(net),
        )

    def _begin(self, arch: Arch, weights: FirstWeights) -> Network:
        net = build(arch, seed=self.seed)
        self.images.begin(net, arch, weights)
        return net

    def _train(self, arch: Arch) -> Estimate:
        net = self._begin(arch, self.weights)
        self._fit(net, arch, "train", self.weights, again=False)
        return self._kept(net, arch, "train", self.weights)

    def _baseline(self, arch: Arch) -> Estimate:
        same = self._is_same(arch)
        weights = self.weights if same else first_weights(plain_name(arch.name))
        if same and weights_path(self.folder, arch, "train").exists():
            net = self._trained(arch.resolution)
        else:
            net = self._begin(arch, weights)
            self._fit(net, arch, "baseline", weights, again=False)
        self._fit(net, arch, "baseline", weights, again=True)
        return self._kept(net, arch, "baseline", weights)

    def _is_same(self, arch: Arch) -> bool:
        """Whether it is the space's own network; at a small side with fewer strides."""
        whole = at_resolution(self.space, sides_of(self.space)[0])
        return len({network_id(without_strides(a, whole.resolution)) for a in (arch, whole)}) == 1

    def _trained(self, side: int) -> Network:
        """The network that was trained on at that side, ready to answer."""
        arch = replace(at_resolution(self.space, sides_of(self.space)[0]), resolution=side)
        net = build(arch, seed=self.seed)
        net.load_state_dict(load_tensors(weights_path(self.folder, arch, "train"))["weights"])
        to_device(net, self.device)
        return net.eval()

    def _images(self, side: int, number: int, epoch: int) -> Images:
        """`number` training pictures, cropped and mirrored, from that epoch of augmentation on."""
        batches = self.images.batches("train", side, self.weights, batch_size=AT_ONCE, augment=True)

        def images() -> Iterator[Tensor]:
            every = (x for n in count(epoch) for x, _ in batches.epoch(n))
            seen = 0
            while seen < number:
                x = next(every)
                seen += len(x)
                yield x.contiguous(memory_format=layout(self.device))

        return images

    def _fewer(self, number: int) -> int:
        """As many pictures fewer as more pixels of each are read."""
        return number * PIXELS // self.images.pixels

    def _study(self, arch: Arch) -> Estimate:
        side = arch.resolution
        net, rows = self._trained(side), replacement_rows(self.space, side)
        paths = {key: replacements_path(self.folder, side, key) for key in rows}
        wanted = {
            place_of(key): [row for row in rows[key].values() if row]
            for key, path in paths.items()
            if not path.exists()
        }
        keys = {place_of(key): key for key in rows}
        scoring = self.images.batches("val", side, self.weights, NUM_SCORED)
        studied = self._images(side, self._fewer(NUM_STUDIED), STUDY_EPOCH)
        pixels = self.images.pixels
        studies = study_blocks(net, arch, wanted, studied, pixels) if wanted else {}

        def images() -> Iterator[Tensor]:
            return (x.contiguous(memory_format=layout(self.device)) for x, _ in scoring.epoch(0))

        scores = score_blocks(net, studies, images, self.images.divergence)
        for done, (place, found) in enumerate(scores, 1):
            save_replacements(paths[keys[place]], rows[keys[place]], found)
            part_done(done, len(studies))
        nothing = float("nan")
        return Estimate(nothing, nothing, self.clock() - self.began, "study")

    def _source(self, side: int) -> Source:
        """What networks of that side inherit from; read and computed once in this process."""
        if side not in self.sources:
            arch, net = at_resolution(self.space, side), self._trained(side)
            largest = max(row.cout * row.side_out**2 for row in operators(arch))
            most = self._fewer(NUM_REFITTED)
            number = int(max(AT_ONCE, min(most, MAX_BYTES / (4 * largest))))
            images = self._images(side, number, REFIT_EPOCH)
            table = load_replacements(self.folder, self.space, side, self.device)
            answers = Answers.of(net, images, self.images.pixels)
            self.sources[side] = net, table, answers, images
        return self.sources[side]

    def _inherit(self, arch: Arch) -> Estimate:
        net, table, answers, images = self._source(arch.resolution)
        small = inherit(net, arch, table, answers, images)
        return self._kept(small, arch, "inherit", self.weights)

    def _inherited(self, arch: Arch) -> Network:
        path = weights_path(self.folder, arch, "inherit")
        if not path.exists():
            self._inherit(arch)
        net = build(arch, seed=self.seed)
        net.load_state_dict(load_tensors(path)["weights"])
        return net

    def _finish(self, arch: Arch) -> Estimate:
        net = self._inherited(arch)
        self._fit(net, arch, "finish", self.weights, again=True)
        return self._kept(net, arch, "finish", self.weights)


def without_strides(arch: Arch, side: int) -> Arch:
    """The layers of a classifier at so many pixels: what tells networks apart at whatever side."""
    stem, stages = replace(arch.stem, stride=1), (replace(s, stride=1) for s in arch.stages)
    return replace(arch, stem=stem, stages=tuple(stages), resolution=side, dense=None)


def read_estimate(path: Path) -> Estimate:
    """What was said of a network when its weights were kept."""
    kept = load_tensors(path)["estimate"]
    names = ("val", "test", "float_val")
    scores = {split: Score(**kept[split]) for split in names if kept.get(split)}
    return Estimate(**kept | scores)
