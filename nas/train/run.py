"""`python -m nas.train`: one network, trained to the end, scored and exported."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from nas.arch.cost import cost, describe_network
from nas.arch.notation import arch_string
from nas.arch.operators import network_id
from nas.arch.serialization import dumps
from nas.core.config import make
from nas.core.errors import UserError
from nas.core.files import write_bytes, write_text
from nas.core.progress import ProgressBar
from nas.core.run_folder import (
    check_config,
    environment,
    folder_name,
    lock_folder,
    open_folder,
    write_json,
    write_yaml,
)
from nas.data.batches import Resized, batches_for
from nas.network.device import resolve_device
from nas.network.export import export_onnx, largest_difference
from nas.network.modules import Network, build
from nas.network.pretrained import fetch_pretrained
from nas.network.weights import load_weights, read_weights
from nas.train.settings import checked
from nas.train.setup import budget_for, images_for, network_for, normalisation, side_of, source_of
from nas.training.evaluation import Score, TrainingFailed, image_losses, scored
from nas.training.loop import Budget, Epoch, History, train

# The settings that decide what is trained, and not where.
DECIDING = ("arch", "resolution", "data", "budget", "weights", "seed")
CHECKED = 64  # images on which the ONNX model must answer as the network does


def train_one(settings: dict[str, Any]) -> None:
    """Train what `settings` (conf/train.yaml) names into results/train/<run>/."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    settings = checked(settings)
    with ExitStack() as stack:
        try:
            Run(settings, console, stack)()
        except KeyboardInterrupt:
            console.print("stopped   whole epochs are kept; the same command goes on")
            raise


class Run:
    """One call of the command."""

    def __init__(self, settings: dict[str, Any], console: Console, stack: ExitStack) -> None:
        self.settings, self.console = settings, console
        budget: Budget = make(settings["budget"])
        self.timer, self.device = make(settings["latency"]), resolve_device(settings["device"])
        self.source = source_of(settings)
        side = side_of(settings, self.source)
        self.data = images_for(settings, side)
        self.arch, self.origin = network_for(settings, side, self.data)
        self.budget = budget_for(budget, len(self.data.train))
        (self.mean, self.std), self.whose = normalisation(settings, self.data, self.source)
        name = folder_name(str(settings["run"] or self.arch.name))
        self.folder = open_folder(Path(str(settings["results"])) / "train" / name)
        stack.enter_context(lock_folder(self.folder))
        asked = {key: settings[key] for key in DECIDING}
        asked |= {"images": self.data.fingerprint, "network": network_id(self.arch)}
        asked["choices"] = {"weights": settings["choices"]["weights"]}
        self.checkpoint, config = self.folder / "checkpoint.pt", self.folder / "config.yaml"
        if self.checkpoint.exists():
            if not config.exists():
                raise UserError(f"{self.checkpoint} has no config.yaml: remove it, or choose run=")
            check_config(config, asked)
        write_yaml(config, asked)

    def __call__(self) -> None:
        """Train, score, export, and write it all down."""
        self.say("network", describe_network(self.arch, self.origin))
        self.say("data", self.data.described())
        net = build(self.arch, self.settings["seed"])
        if self.settings["choices"]["weights"] != "none" and not self.checkpoint.exists():
            self.begin(net)
        try:
            history = self.trained(net)
            scores = self.scores(net)
        except TrainingFailed as error:
            raise UserError(f"{self.arch.name} cannot be trained like this: {error}") from None
        size, off = self.exported(net)
        self.say("onnx", f"{size / 1e6:.3g} MB · largest difference from torch {off:.1g}")
        self.write(history, scores, self.latency(), off)
        self.say("wrote", f"{self.folder}/: model.onnx weights.pt network.yaml summary.json ...")

    def latency(self) -> float | None:
        """Milliseconds of the network; None, with the reason said, where there are none."""
        if not self.settings["measure"]:
            return None
        try:
            found = float(self.timer.measure(self.arch).median_ms)
        except UserError as error:
            self.say("latency", f"none: {error}")
            return None
        self.say("latency", f"{found:.4g} ms ({self.timer.name})")
        return found

    def say(self, label: str, text: str) -> None:
        """One line below its label."""
        self.console.print(f"{label:<9} {text}")

    def begin(self, net: Network) -> None:
        """Put the asked-for weights into `net`, and say whose they are and what is new."""
        path, whose = self.settings["weights"]["path"], ""
        if self.source and self.settings["choices"]["weights"] == "pretrained":
            path = path or fetch_pretrained(self.source.name)
            whose = f"{self.source.library} · {self.source.accuracy:g}% on ImageNet · "
        new = load_weights(net, read_weights(path))
        self.say("weights", f"{whose}{path}" + (f" · anew: {', '.join(new)}" if new else ""))
        self.say("colours", f"mean and spread {self.whose}")

    def batches(self, split: str, **training: Any) -> Resized:
        """Batches of that split at the network's resolution."""
        return batches_for(
            self.data, split, self.arch.resolution, mean=self.mean, std=self.std,
            device=self.device, seed=self.settings["seed"], **training,
        )  # fmt: skip

    def trained(self, net: Network) -> History:
        """Train `net` in place, with progress; a killed training goes on."""
        bars: list[ProgressBar] = []
        size = self.budget.batch_size
        batches = self.batches("train", batch_size=size, augment=self.budget.augment)
        epoch = len(batches)
        with ExitStack() as stack:

            def told(done: int, steps: int) -> None:
                if not bars:  # only now is it known how much an earlier call has done
                    live = ProgressBar(self.console, "train", steps, done - 1)
                    bars.append(stack.enter_context(live))
                bars[0](done, f"epoch {-(-done // epoch)} of {steps // epoch} · batches of {size}")

            return train(
                net, batches, self.budget, device=self.device, seed=self.settings["seed"],
                progress=told, validation=self.batches("val"), checkpoint=self.checkpoint,
            )  # fmt: skip

    def scores(self, net: Network) -> dict[str, Score]:
        """Accuracy on the validation and test images; by class in classes.csv."""
        found, by_class = {}, pd.DataFrame({"class": self.data.classes})
        for split in ("val", "test"):
            batches = self.batches(split)
            with ProgressBar(self.console, "score", len(batches), 0) as live:
                told = partial(live, say=f"batches of the {split} images")
                losses, correct = image_losses(net, batches, device=self.device, progress=told)
            found[split] = scored(losses, correct)
            labels = getattr(self.data, split).labels.numpy()
            right = pd.Series(correct.numpy()).groupby(labels)
            by_class[f"{split}_images"], by_class[f"{split}_accuracy"] = right.size(), right.mean()
        write_text(self.folder / "classes.csv", by_class.to_csv(index=False))
        val, test = found["val"], found["test"]
        self.say("accuracy", f"{shown(val)} (test {shown(test)})")
        worst = by_class.nsmallest(3, "test_accuracy")[["class", "test_accuracy"]]
        named = ", ".join(f"{name} {part:.0%}" for name, part in worst.itertuples(index=False))
        self.say("weakest", f"{named} (of the class's test images)")
        return found

    def exported(self, net: Network) -> tuple[int, float]:
        """Write weights and ONNX model; its size in bytes, and how far its answers are off."""
        net.to("cpu").eval()
        weights = io.BytesIO()
        torch.save(net.state_dict(), weights)
        model = export_onnx(net, self.arch, self.data.classes, self.mean, self.std)
        images = next(iter(self.batches("test").epoch(0)))[0][:CHECKED].cpu()
        off = largest_difference(model, net, images)
        write_bytes(self.folder / "weights.pt", weights.getvalue())
        write_bytes(self.folder / "model.onnx", model)
        write_text(self.folder / "network.yaml", dumps(self.arch))
        return len(model), off

    def write(
        self,
        history: History,
        scores: Mapping[str, Score],
        latency: float | None,
        off: float,
    ) -> None:
        """history.csv, summary.json and environment.json."""
        rows = [
            {"epoch": i, "loss": row.loss, "seconds": row.seconds, **val_of(row)}
            for i, row in enumerate(history.epochs, 1)
        ]
        write_text(self.folder / "history.csv", pd.DataFrame(rows).to_csv(index=False))
        counts, settings = cost(self.arch), self.settings
        summary = {
            "name": self.arch.name,
            "arch": arch_string(self.arch),
            "id": network_id(self.arch),
            "resolution": self.arch.resolution,
            "macs": counts.macs,
            "params": counts.params,
            "classes": list(self.data.classes),
            "mean": self.mean,
            "std": self.std,
            "weights": settings["choices"]["weights"],
            "pretrained": asdict(self.source) if self.source else None,
            "data": self.data.name,
            "images": {part: len(getattr(self.data, part)) for part in ("train", "val", "test")},
            "budget": settings["choices"]["budget"],
            "seed": settings["seed"],
            "seconds": history.seconds,
            **{part: asdict(score) for part, score in scores.items()},
            "latency_ms": latency,
            "onnx_difference": off,
        }
        write_json(self.folder / "summary.json", summary)
        made = environment(
            seed=settings["seed"], device=str(self.device), latency=self.timer.describe()
        )
        write_json(self.folder / "environment.json", made)


def val_of(row: Epoch) -> dict[str, float]:
    """The validation scores of an epoch, as columns."""
    if row.score is None:
        return {}
    return {"val_accuracy": row.score.accuracy, "val_cross_entropy": row.score.cross_entropy}


def shown(score: Score) -> str:
    """An accuracy with its standard error over the images."""
    return f"{score.accuracy:.1%} ± {score.accuracy_se:.1%}"
