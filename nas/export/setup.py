"""What one export works with: a trained network as it was left, its images, its run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.arch.serialization import load
from nas.core.config import Component
from nas.core.errors import UserError
from nas.core.files import parse_yaml, user_path
from nas.core.run_folder import folder_name, lock_folder, open_folder
from nas.data.batches import Resized, batches_for
from nas.data.dataset import ImageData
from nas.data.decoding import EIGHT_BITS
from nas.data.dense import DenseData
from nas.data.dense_batches import DenseBatches
from nas.export.settings import ExportSettings
from nas.network.device import resolve_device
from nas.network.modules import Network, build
from nas.network.weight_files import read_weights
from nas.tasks.task import Task

KEPT = "what nas.train or a search with weights= left"
NETWORK = "network.yaml"  # of a training; a search's are winner.yaml and front/01.yaml
CPU = torch.device("cpu")
ANSWERING = ("onnx", "onnx_int8")  # what a network for boxes or masks is written as
SPLITS = ("train", "val", "test")
LEFT = (NETWORK, "winner.yaml")


@dataclass(frozen=True)
class Files:
    """Where a trained network lies: its YAML, its weights, its ONNX model, its configuration."""

    network: Path
    weights: Path
    model: Path
    config: Path

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.config.parent

    @property
    def name(self) -> str:
        """The run's, and of a search's networks which one it is."""
        run = self.folder.resolve().name
        return run if self.network.name == NETWORK else f"{run}-{self.network.stem}"


@dataclass(frozen=True)
class ExportRun:
    """One export, its folder opened and locked.

    facts    metadata of the ONNX model that was left: classes, mean, std, range, ...
    config   config.yaml of the run that left it.
    task     boxes or masks; None for classes.
    summary  summary.json of that run.
    """

    settings: ExportSettings
    files: Files
    folder: Path
    arch: Arch
    net: Network
    facts: Mapping[str, str]
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    data: ImageData | DenseData
    device: torch.device
    task: Task | None = None

    @property
    def new(self) -> Path:
        """Where files lie until all are there, and take the place of an earlier export's."""
        return self.folder / "new"

    @property
    def is_same_data(self) -> bool:
        """Whether the images are those of the training, and its test images still unseen."""
        names = ("data_fingerprint", "images")  # a stopped training's config.yaml may be newer
        said = (facts.get(name) for facts in (self.summary, self.config) for name in names)
        recorded = next((text for text in said if isinstance(text, str)), None)
        return recorded == self.data.fingerprint

    @property
    def trained_on(self) -> Mapping[str, int]:
        """Images by split, as the run had them that left the network; here where it says nothing.

        A training's summary.json has them by name, a search's in order.
        """
        recorded = self.summary.get("images") or [len(getattr(self.data, key)) for key in SPLITS]
        return recorded if isinstance(recorded, dict) else dict(zip(SPLITS, recorded, strict=True))

    @property
    def classes(self) -> list[str]:
        """Their names, in the order of the logits."""
        return [str(name) for name in json.loads(self.facts["classes"])]

    def batches(self, split: str, **training: Any) -> Resized | DenseBatches:
        """Batches of that split as the network takes them."""
        mean, std = (json.loads(self.facts[key]) for key in ("mean", "std"))
        how: dict[str, Any] = {"device": CPU, "seed": self.settings.seed} | training
        if isinstance(self.data, DenseData):
            return DenseBatches(getattr(self.data, split), mean, std, flip=self.data.flip, **how)
        return batches_for(self.data, split, self.arch.resolution, mean=mean, std=std, **how)


@contextmanager
def open_run(settings: ExportSettings) -> Iterator[ExportRun]:
    """Find the network, load it and its images, and lock the folder that files go to."""
    files = find_files(settings)
    arch = load(files.network)
    facts = read_facts(files.model, arch)
    net = build(arch)
    load_own_weights(net, files.weights)
    config = read_mapping(files.config)
    summary = files.folder / "summary.json"
    task = task_of(config, arch)
    if task:
        check_asked(settings, task)
    data = load_images(settings, config, files.config, arch.resolution if task else None)
    if list(data.classes) != json.loads(facts["classes"]):
        raise UserError(
            f"the images have the classes {', '.join(data.classes)[:80]}, the network others: give "
            "root= of those that it was trained on"
        )
    if data.channels != arch.channels:
        raise UserError(
            f"the images have {data.channels} channels, the network takes {arch.channels}: give "
            "root= of those that it was trained on"
        )
    if settings.preprocess and json.loads(facts["range"]) != list(EIGHT_BITS):
        raise UserError(
            f"preprocess=true is for pictures of 8 bits, these have values {facts['range']}: leave "
            "it out"
        )
    name = settings.run or folder_name(files.name)
    folder = open_folder(Path(settings.results) / "export" / name)
    with lock_folder(folder):
        yield ExportRun(
            settings=settings,
            files=files,
            folder=folder,
            arch=arch,
            net=net.eval(),
            facts=facts,
            config=config,
            summary=read_mapping(summary) if summary.exists() else {},
            data=data,
            device=resolve_device(settings.device),
            task=task,
        )


def check_asked(settings: ExportSettings, task: Task) -> None:
    """UserError for what is there for classes alone."""
    other = [name for name in settings.to if name not in ANSWERING]
    asked = {
        f"to={','.join(other)}": other,
        "preprocess=true": settings.preprocess,
        "qat=true": settings.qat,
        "batch=free": settings.batch == "free",
    }
    for what in (what for what, given in asked.items() if given):
        raise UserError(
            f"{what} is for classes: a network for task={task.name} is written as "
            f"{' and '.join(ANSWERING)}, one picture a call; leave it out"
        )


def task_of(config: Mapping[str, Any], arch: Arch) -> Task | None:
    """What the run was for; None for classes."""
    node = dict(config.get("task") or {})
    name = node.pop("name", None) or config.get("choices", {}).get("task")
    made: Task | None = Component(str(name), node).make() if arch.dense else None
    return made.for_network(arch, CPU) if made else None


def find_files(settings: ExportSettings) -> Files:
    """Where what is to be exported lies; UserError where a part of it is not there."""
    path = user_path(settings.arch) if settings.arch else newest_training(settings.results)
    if not path.exists():
        raise UserError(
            f"there is no file or folder arch={path}: give {KEPT} (a published network is trained "
            f"first: python -m nas.train arch={path})"
        )
    network = path
    if path.is_dir():
        network = next((file for name in LEFT if (file := path / name).is_file()), path / NETWORK)
    own = network.name == NETWORK
    weights = network.with_name("weights.pt") if own else network.with_suffix(".pt")
    model = network.with_name("model.onnx") if own else network.with_suffix(".onnx")
    folder = network.parent.parent if network.parent.name == "front" else network.parent
    files = Files(
        network,
        user_path(settings.weights) if settings.weights else weights,
        model,
        folder / "config.yaml",
    )
    if network.suffix == ".yaml" and network.is_file() and not files.weights.is_file():
        other = ", or give weights=" if files.model.is_file() else ""  # which needs that file too
        raise UserError(
            f"{network} has no weights ({files.weights}): train it first, python -m nas.train "
            f"arch={network}{other}"
        )
    for file in (files.network, files.weights, files.model, files.config):
        if not file.is_file():
            raise UserError(f"arch={path} lacks {file}: give {KEPT}")
    return files


def load_own_weights(net: Network, path: Path) -> None:
    """Put a file's weights into `net`; UserError where they are not of this very network."""
    given, own = read_weights(path), net.state_dict()
    for name, tensor in own.items():
        if name not in given or given[name].shape != tensor.shape:
            found = tuple(given[name].shape) if name in given else "absent"
            raise UserError(
                f"{path} holds weights of another network ({name} is {found}, not "
                f"{tuple(tensor.shape)}): give those that were trained with it"
            )
    net.load_state_dict({name: given[name] for name in own})


def newest_training(results: str) -> Path:
    """The folder of the newest training; UserError where there is none."""
    found = list(Path(results).glob(f"train/*/{NETWORK}"))
    if not found:
        raise UserError(
            f"there is no trained network in {results}/train: run nas.train first, or give arch="
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def read_facts(model: Path, arch: Arch) -> dict[str, str]:
    """The metadata of an ONNX model of ours; UserError where it is another network's."""
    try:
        loaded = onnx.load_model_from_string(model.read_bytes())
    except Exception as error:  # protobuf's own, of which there are several
        raise UserError(f"{model} is no ONNX model ({type(error).__name__}): train again") from None
    facts = {entry.key: entry.value for entry in loaded.metadata_props}
    if facts.get("network_id") != network_id(arch):
        raise UserError(f"{model} is not of the network beside it: give {KEPT}")
    return facts


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML or JSON file that holds a mapping."""
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no settings")
    return found


def load_images(
    settings: ExportSettings, config: Mapping[str, Any], path: Path, side: int | None
) -> ImageData | DenseData:
    """The images that the network was trained on, `side` pixels where its head asks for that.

    UserError where they are not there any more.
    """
    node = config.get("data")
    if not isinstance(node, dict) or "name" not in node:
        raise UserError(f"{path} does not say which images were trained on: give {KEPT}")
    source = Component(str(node["name"]), node)
    if settings.root:
        source = source.updated(root=settings.root)
    try:
        data: ImageData | DenseData = (source.updated(resolution=side) if side else source).make()
        if side and node.get("resolution") not in (None, side):  # one of a search's smaller sides
            data = replace(data, fingerprint=source.make().fingerprint)
    except UserError as error:
        raise UserError(str(error).replace("data.root", "root")) from None
    return data
