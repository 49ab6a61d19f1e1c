"""The steps of inheriting, from a file of weights to a network that is trained again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from made_networks import NETWORKS, made_network, space_of
from stripes import DATA

from nas.accuracy import inheritance_worker
from nas.accuracy.inheritance_worker import InheritanceWorker
from nas.accuracy.inherited import Inherited, InheritedSettings
from nas.accuracy.judge import JudgeContext
from nas.accuracy.worker_pool import WorkerPool
from nas.arch.arch import Arch
from nas.arch.cost import layers_cost
from nas.arch.operators import network_id, operators
from nas.arch.scaling import for_resolution
from nas.data import load_data
from nas.inheritance.files import load_tensors, read_replacements, replacements_path, weights_path
from nas.network.modules import build
from nas.space.choices import choices, fill, random_picks
from nas.training.first_weights import FirstWeights
from nas.training.loop import Budget
from search_spaces.inherited import LEAST_SIDE, LEFT_OUT, at_resolution, replacement_rows

BUDGET = Budget(
    epochs=1, batch_size=16, optimizer="adamw", lr=1e-3, precision="fp32", norms="frozen"
)
SIDES = {"mobilenet_v2": (32, 16), "mobilenet_v3": (24,), "fused": (16,), "uib": (32,)}
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    for name, number in (("NUM_STUDIED", 150), ("NUM_REFITTED", 100), ("NUM_SCORED", 24)):
        monkeypatch.setattr(inheritance_worker, name, number)


@cache
def digits():
    return load_data("embedded", train=60, val=40, test=40)


def stripes():
    return DATA


LOADS = {"mobilenet_v2": stripes, "mobilenet_v3": digits, "fused": digits, "uib": digits}


@dataclass
class Made:
    """A network's file of weights, made for other pictures, and the space of what it can be."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        arch = NETWORKS[self.name]
        self.weights = str(self.folder / "weights.pt")
        torch.save(made_network(arch).state_dict(), self.weights)
        data = LOADS[self.name]()
        arch = replace(arch, channels=data.channels, classes=data.num_classes)
        self.space = space_of(arch, self.folder, *SIDES[self.name])

    def open(self, run: str = "run", seed: int = 0) -> InheritanceWorker:
        folder = self.folder / run
        folder.mkdir(exist_ok=True)
        weights = FirstWeights(self.weights, None)
        load = LOADS[self.name]
        return InheritanceWorker.open(load, weights, self.space, BUDGET, "cpu", seed, folder)

    def whole(self, side: int | None = None) -> Arch:
        return at_resolution(self.space, side or SIDES[self.name][0])

    def small(self, seed: int) -> Arch:
        picks = random_picks(self.space, random.Random(seed))
        droppable = [key for key, labels in choices(self.space).items() if LEFT_OUT in labels]
        return fill(self.space, picks | {droppable[0]: LEFT_OUT})

    def kept(self, arch: Arch, task: str, run: str = "run"):
        found = load_tensors(weights_path(self.folder / run, arch, task))
        del found["estimate"]["seconds"]  # of the clock
        return found


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """By name: networks trained on at every side, with all replacements."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inheritance_worker, "NUM_STUDIED", 150)
        patch.setattr(inheritance_worker, "NUM_SCORED", 24)
        for name in NETWORKS:
            made = Made(name, tmp_path_factory.mktemp("made") / name)
            worker = made.open()
            for side in SIDES[name]:
                estimate = worker(made.whole(side), "train")
                assert estimate.val
                assert estimate.seconds > 0
            for side in SIDES[name]:
                worker(made.whole(side), "study")
            found[name] = made
    return found


def equal(first, second):
    """Whether two trees of tensors and plain values are equal to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    return first == second


@every_network
def test_training_is_kept_with_what_it_gets_right(name, studied):
    made = studied[name]
    data = LOADS[name]()
    for side in SIDES[name]:
        kept = made.kept(made.whole(side), "train")
        build(made.whole(side)).load_state_dict(kept["weights"])
        assert kept["test_correct"].shape == (len(data.test),)
        assert all(t.isfinite().all() for t in kept["weights"].values())
        assert kept["weights"]["stem.conv.conv.weight"].shape[1] == data.channels


@every_network
def test_a_study_keeps_every_label_and_scores_the_block_itself_zero(name, studied):
    made = studied[name]
    for side in SIDES[name]:
        rows = replacement_rows(made.space, side)
        found = read_replacements(made.folder / "run", made.space, side)
        assert {k: list(known) for k, known in found.items()} == {
            k: list(known) for k, known in rows.items()
        }
        for key, known in found.items():
            for i, (label, kept) in enumerate(known.items()):
                assert math.isfinite(kept["score"])
                assert (kept["score"] == 0) == (i == 0)
                assert bool(kept["weights"]) == (label != LEFT_OUT)
                assert rows[key][label] or label == LEFT_OUT


@every_network
def test_a_study_that_was_killed_gives_the_same_replacements(name, studied):
    made = studied[name]
    for side in SIDES[name]:
        keys = list(replacement_rows(made.space, side))
        paths = [replacements_path(made.folder / "run", side, key) for key in keys]
        before = [load_tensors(path) for path in paths]
        for path in paths[1::2]:
            path.unlink()
        untouched = [path.stat().st_mtime_ns for path in paths[::2]]
        made.open()(made.whole(side), "study")
        assert all(equal(a, load_tensors(p)) for a, p in zip(before, paths, strict=True))
        assert untouched == [path.stat().st_mtime_ns for path in paths[::2]]
        made.open()(made.whole(side), "study")  # nothing is left to do


@every_network
def test_inherited_and_finished_networks_are_equal_in_a_second_worker(name, studied):
    made = studied[name]
    arch = made.small(1)
    worker = made.open()
    inherited = worker(arch, "inherit")
    finished = worker(arch, "finish")
    assert (inherited.fidelity, finished.fidelity) == ("inherited", "trained again")
    assert finished.seconds > 0 < inherited.seconds
    data = LOADS[name]()
    for estimate, task in ((inherited, "inherit"), (finished, "finish")):
        assert estimate.value == -estimate.val.cross_entropy
        assert (estimate.val.num_images, estimate.test.num_images) == (
            len(data.val),
            len(data.test),
        )
        kept = made.kept(arch, task)
        assert kept["test_correct"].double().mean() == pytest.approx(estimate.test.accuracy)
        build(arch).load_state_dict(kept["weights"])
    before = {task: made.kept(arch, task) for task in ("inherit", "finish")}
    assert not equal(before["inherit"]["weights"], before["finish"]["weights"])
    weights_path(made.folder / "run", arch, "inherit").unlink()
    weights_path(made.folder / "run", arch, "finish").unlink()
    for path in (made.folder / "run" / "checkpoints").glob(f"{network_id(arch)}-finish*"):
        path.unlink()
    again = made.open()
    assert again(arch, "finish").val == finished.val  # inherits first, where that is not done
    assert again(arch, "inherit").val == inherited.val
    assert equal(before, {task: made.kept(arch, task) for task in before})


def test_from_the_start_in_another_folder_all_is_equal(studied, tmp_path):
    made = studied["mobilenet_v3"]
    worker, side = made.open("other"), SIDES["mobilenet_v3"][0]
    worker(made.whole(), "train")
    assert equal(made.kept(made.whole(), "train"), made.kept(made.whole(), "train", "other"))
    worker(made.whole(), "study")
    first, second = (
        read_replacements(made.folder / run, made.space, side) for run in ("run", "other")
    )
    assert equal(first, second)


@every_network
def test_the_whole_network_inherits_itself(name, studied):
    made = studied[name]
    worker = made.open()
    for side in SIDES[name]:
        arch = made.whole(side)
        trained, estimate = worker(arch, "inherit"), made.kept(arch, "train")["weights"]
        assert trained.val.cross_entropy == pytest.approx(
            score_of(worker, arch, estimate), abs=1e-2
        )


def score_of(worker, arch, weights):
    net = build(arch).eval()
    net.load_state_dict(weights)
    batches = worker.images.batches("val", arch.resolution, worker.weights)
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(net(x), y, reduction="sum")
            for x, y in batches.epoch(0)
        ]
    return sum(losses).item() / len(worker.images.data.val)


def test_a_network_of_the_smaller_side_learns_from_the_largest_sides(studied):
    made = studied["mobilenet_v2"]
    picks = random_picks(made.space, random.Random(2)) | {"resolution": 16}
    arch = fill(made.space, picks)
    estimate = made.open()(arch, "finish")
    assert estimate.val.num_images == 50
    (path,) = (made.folder / "run" / "soft_labels").iterdir()
    assert path.name == "0-8-0.pt"
    labels = torch.load(path, weights_only=True)
    assert all(part.shape == (8, 4) for part in labels)
    assert torch.cat(labels).float().sum(1) == pytest.approx(1, abs=2e-3)


def test_a_baseline_of_the_own_network_goes_on_from_its_training(studied):
    made = studied["mobilenet_v2"]
    worker = made.open()
    # one that was trained on, one that was not, and one too small for all strides
    for side in (32, 24, 6):
        arch = for_resolution(made.whole(32), side, LEAST_SIDE)
        estimate = worker(arch, "baseline")
        assert estimate.fidelity == "baseline"
        assert estimate.seconds > 0
        assert made.kept(arch, "baseline")["weights"].keys() == build(arch).state_dict().keys()


def test_a_judge_scores_and_proposes(studied):
    made = studied["mobilenet_v2"]
    context = JudgeContext(
        made.space,
        stripes,
        train=WorkerPool(partial(made.open), 1),
        checkpoint=made.folder / "run" / "judge.pt",
    )
    judge = InheritedSettings(str(made.folder / "network.yaml"), made.weights).open(context)
    assert isinstance(judge, Inherited)
    scores = judge.scores(32)
    assert scores.keys() == replacement_rows(made.space, 32).keys()

    def macs(row):
        return layers_cost(row.layers)[0]

    picks = judge.propose(macs, 6)
    assert 2 <= len(picks) <= 6
    assert {p["resolution"] for p in picks} == {32, 16}
    archs = [fill(made.space, p) for p in picks]
    assert network_id(archs[0]) == network_id(made.whole(32))
    assert len({network_id(arch) for arch in archs}) == len(archs)
    found = dict(judge.estimate(archs[:2]))
    assert [found[i].fidelity for i in range(2)] == ["inherited"] * 2


def test_few_and_grey_pictures_are_enough(tmp_path, monkeypatch):
    made = Made("fused", tmp_path / "few")
    data = load_data("embedded", train=10, val=10, test=10)
    worker = made.open()
    worker = replace(worker, images=replace(worker.images, data=data))
    worker(made.whole(), "train")
    worker(made.whole(), "study")
    arch = made.small(3)
    for task in ("inherit", "finish"):
        estimate = worker(arch, task)
        assert math.isfinite(estimate.value)
        weights = made.kept(arch, task)["weights"]
        assert all(t.isfinite().all() for t in weights.values())
    assert len(operators(arch)) < len(operators(made.whole()))
