"""What a search that inherits weights adds to the report: rows, comparisons, networks to use."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from nas.accuracy.inherited import InheritedSettings
from nas.arch.arch import Arch
from nas.arch.layers import Conv
from nas.arch.operators import network_id
from nas.core.files import write_all_bytes, write_text
from nas.inheritance.files import load_tensors, read_replacements, weights_path
from nas.network.export import export_onnx, largest_difference
from nas.network.modules import build
from nas.report.frames import COMPARED
from nas.search.evaluations import Role
from nas.search.inheriting import (
    baselines,
    best_finished,
    controls,
    finalists,
    has_baselines,
    has_files,
)
from nas.search.metrics import Metrics
from nas.search.setup import SearchRun
from nas.space.choices import choices, picks_of
from nas.stats.jackknife import jackknife_error
from nas.tasks.choice import CLASSES
from nas.tasks.onnx_answers import with_answers
from nas.training.evaluation import paired_difference
from search_spaces.inherited import at_resolution, place_of, replacement_rows, sides_of

TIE = 1e-9  # of a score, so that the winner comes first
CPU = torch.device("cpu")
CHECKED = 8  # pictures on which an ONNX model must answer as its network does
TASKS = {Role.CONTROL: "finish", Role.REFERENCE: "baseline"}
UNTOUCHED = "weights inherited, not trained since"


def inherited_rows(run: SearchRun) -> list[dict[str, Any]]:
    """Every network of the space, inherited or, where it was, trained again.

    Training again raises the accuracy on images that nobody saw, but not the cross-entropy: what is
    solved by least squares is less sure of itself.  So of classes scores, by which the front is
    ranked, are those of inherited weights.  The winner, the best of those trained again, has the
    best score within the target, though inherited weights have a better figure now and then.
    """
    trials = run.study.rows()
    known = {row["id"] for row in trials}
    others = [r | {"number": None} for r in run.evaluations.rows(Role.CHOICE)]
    again = {row["id"]: row for row in run.evaluations.rows(Role.FINALIST)}
    scores = ("score", "score_se") if run.settings.task.name == CLASSES else ()
    rows = []
    for row in [*trials, *(row for row in others if row["id"] not in known)]:
        finished = again.get(row["id"])
        if finished and finished["state"] == "complete":
            kept = {key: row[key] for key in ("number", "name", *scores)}
            row = row | finished | kept | {"reason": again_by(run)}
        elif row["state"] == "complete":
            row = row | {"reason": UNTOUCHED}
        rows.append(row)
    return with_winner(rows, best_finished(run), run.problem.target_ms)


def with_winner(
    rows: Sequence[dict[str, Any]], best: Metrics | None, target_ms: float
) -> list[dict[str, Any]]:
    """The rows, of which that of the winner has the best score within the target."""
    within = (r for r in rows if r["state"] == "complete" and r["latency_ms"] <= target_ms)
    top = {"score": max((row["score"] for row in within), default=0.0) + TIE}
    return [row | top if best and row["id"] == best.id else row for row in rows]


def again_by(run: SearchRun) -> str:
    """How the best were trained again."""
    return "trained again" + (" with soft labels" if run.settings.task.name == CLASSES else "")


def task_of(fidelity: str) -> str:
    """The step that left the weights of a network that was judged so."""
    return "finish" if fidelity == "trained again" else "inherit"


def compared(run: SearchRun, winner: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The winner's gain over each control and baseline, in points, on the same test images.

    As far as they were trained: an interrupted search lacks some.
    """
    if winner is None:
        return []
    arch, found = run.arch_of(winner["id"]), []
    path = weights_path(run.folder, arch, "finish")
    if not path.exists():
        return []  # no network within the target was trained again
    ours, measured = load_tensors(path), run.store.note("measured", dict)
    references = baselines(run)[0] if has_baselines(run) else []
    rivals = {Role.REFERENCE: references, Role.CONTROL: controls(run)[0]}
    for role, archs in rivals.items():
        known = {row["id"]: row for row in run.evaluations.rows(role)}
        for other in archs:
            row, path = known.get(network_id(other)), weights_path(run.folder, other, TASKS[role])
            if row and row["state"] == "complete" and path.exists():
                gain, error = gain_over(ours, load_tensors(path))
                kept = {k: row[k] for k in COMPARED}
                kept["measured_ms"] = measured.get(row["id"])
                found.append({"role": role.value, **kept, "gain": gain, "gain_se": error})
    return found


def gain_over(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[float, float]:
    """What one network has over another on the test images, and its standard error, by files.

    Paired: image by image, or where the figure is no mean by what it is without each tenth.
    """
    if "test_correct" in ours:
        return paired_difference(ours["test_correct"], theirs["test_correct"])
    gain = ours["estimate"]["test"]["accuracy"] - theirs["estimate"]["test"]["accuracy"]
    return gain, jackknife_error((ours["test_left_out"] - theirs["test_left_out"]).numpy())


def describe_inheriting(run: SearchRun, winner: Mapping[str, Any] | None) -> dict[str, Any]:
    """What summary.json says beside other searches' figures.

    mean, std          by which images are normalised, for who trains or exports the networks
    prepared           seconds of training on and of studying blocks, by step and network
    finished_seconds   of training the best again
    compared           the winner against each control and baseline
    """
    assert isinstance(run.judge, InheritedSettings)
    stats = run.judge.weights.stats(run.data)
    ours = {network_id(arch) for arch in finalists(run)}
    finished = [row for row in run.evaluations.rows(Role.FINALIST) if row["id"] in ours]
    return {
        "weights": run.settings.arch,
        "mean": stats.mean,
        "std": stats.std,
        "prepared": run.store.note("prepared", dict),
        "finished_seconds": sum(row["seconds"] for row in finished),
        "compared": compared(run, winner),
    }


def block_frame(run: SearchRun, winner: Mapping[str, Any] | None) -> pd.DataFrame:
    """Every replacement of every block: a row each, as in blocks.csv.

    side (pixels), place, label, hidden (channels, 0 where it is left out), kernel, ms by the
    table, nats that it alone costs, own (the network's own block), chosen (by the winner).
    """
    space, latency = run.problem.space, run.problem.latency
    chosen = picks_of(space, run.arch_of(winner["id"])) if winner else {}
    rows = []
    for side in sides_of(space):
        known = read_replacements(run.folder, space, side)
        for key, by_label in replacement_rows(space, side).items():
            for label, row in by_label.items():
                convs = [x for x in row.layers if isinstance(x, Conv)] if row else []
                rows.append(
                    {
                        "side": side,
                        "place": place_of(key),
                        "label": label,
                        "hidden": convs[-1].cin if convs else 0,
                        "kernel": max((conv.kernel for conv in convs), default=0),
                        "ms": latency.row_ms[latency.trellis.index(row)] if row else 0.0,
                        "nats": known[key][label]["score"],
                        "own": label == choices(space)[key][0],
                        "chosen": chosen.get("resolution", side) == side
                        and chosen.get(key) == label,
                    }
                )
    return pd.DataFrame(rows)


def write_blocks(run: SearchRun, winner: Mapping[str, Any] | None) -> None:
    """Write blocks.csv, or remove an earlier one where the blocks are not studied."""
    path, space = run.folder / "blocks.csv", run.problem.space
    if all(has_files(run, "study", at_resolution(space, side)) for side in sides_of(space)):
        write_text(path, block_frame(run, winner).to_csv(index=False))
    else:
        path.unlink(missing_ok=True)


def write_networks(
    run: SearchRun, rows: pd.DataFrame, winner: Mapping[str, Any] | None, *, again: bool
) -> None:
    """Weights and ONNX models of the front beside its YAML files, and the winner's again.

    With `again` weights that were deleted are made again; else those networks have none here.
    """
    shown = rows[["id", "fidelity"]].astype(str).itertuples(index=False, name=None)
    front = {key: (run.arch_of(key), task_of(fidelity)) for key, fidelity in shown}
    deleted = [key for key, n in front.items() if not weights_path(run.folder, *n).exists()]
    if again:
        for _ in run.workers.run([front[key] for key in deleted]):
            pass
    files: dict[str, bytes] = {}
    of_winner: dict[str, bytes] = {}
    for number, (key, (arch, task)) in enumerate(front.items(), 1):
        if key in deleted and not again:
            continue
        path = weights_path(run.folder, arch, task)
        made = {".pt": _weights(path), ".onnx": _onnx(run, arch, path)}
        files |= {f"{number:02d}{suffix}": data for suffix, data in made.items()}
        if winner and key == winner["id"]:
            of_winner = {f"winner{suffix}": data for suffix, data in made.items()}
    write_all_bytes(run.folder, of_winner)
    for suffix in (".pt", ".onnx"):
        own = {name: data for name, data in files.items() if name.endswith(suffix)}
        write_all_bytes(run.folder / "front", own, stale=suffix)
        if not of_winner:  # another network's
            (run.folder / f"winner{suffix}").unlink(missing_ok=True)


def _weights(path: Path) -> bytes:
    torch.save(load_tensors(path)["weights"], data := io.BytesIO())
    return data.getvalue()


def _onnx(run: SearchRun, arch: Arch, path: Path) -> bytes:
    assert isinstance(run.judge, InheritedSettings)
    data, stats, task = run.data, run.judge.weights.stats(run.data), run.settings.make_task()
    net = build(arch)
    net.load_state_dict(load_tensors(path)["weights"])
    net.eval()
    squeezed = task is not None
    model = export_onnx(
        net, arch, data.classes, stats.mean, stats.std, data.value_range, squeezed=squeezed
    )
    images = torch.randn(CHECKED, arch.channels, arch.resolution, arch.resolution)
    largest_difference(model, net, images)
    return with_answers(model, task.for_network(arch, CPU)) if task else model
