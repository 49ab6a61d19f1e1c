"""`refine=netadapt`: a larger network that the search trained is shrunk to the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.arch.arch import Arch
from nas.arch.operators import network_id
from nas.core.errors import UserError
from nas.core.files import write_text
from nas.data.dataset import ImageData
from nas.network.device import resolve_device
from nas.report.frames import COMPARED, as_rows, trial_frame
from nas.search.controls import paired_gain
from nas.search.evaluations import Role
from nas.search.netadapt import NetAdapt, Scored, price_of, uniform_width
from nas.search.phases import evaluate_beside, measure_whole, rows_trained
from nas.search.report import as_yaml
from nas.search.setup import SearchRun
from nas.search.shrinking import ImageTrainer, Shrinking


@dataclass(frozen=True)
class Refined:
    """What was made of the network `steps[0]` step by step, and the control of uniform width."""

    steps: Sequence[Scored]
    control: Arch | None

    @property
    def arch(self) -> Arch:
        """The network that the last step led to."""
        return self.steps[-1].proposal.arch


def refine(run: SearchRun) -> Refined | None:
    """Shrink, then train the result and its control as finalists are; None where nobody asked.

    Raises UserError where there is nothing to shrink, or the result cannot be trained.
    """
    if run.settings.refine.name == "none":
        return None
    steps = shrinking_of(run).steps()
    start, arch = steps[0].proposal.arch, steps[-1].proposal.arch
    made = uniform_width(start, price_of(run.problem), run.problem.target_ms)
    multiplier, control = made or (1.0, None)
    archs = [arch, control] if control else [arch]
    names = {network_id(archs[-1]): f"uniform width x{multiplier:.2f}"}
    names[network_id(arch)] = "netadapt"
    latency = replace(run.problem.latency, device=None)  # by the table, though outside of the space
    evaluator = replace(run.evaluator.unlimited(), latency=latency, timings={})
    ours, *_ = evaluate_beside(run, Role.REFINED, archs, evaluator, names=names)
    if ours.state != "complete":
        raise UserError(f"the network of refine=netadapt could not be trained: {ours.reason}")
    return Refined(steps, control)


def refine_or_why(run: SearchRun) -> tuple[Refined | None, UserError | None]:
    """As `refine`, and why it cannot be done: what was searched is to be reported all the same."""
    try:
        return refine(run), None
    except UserError as error:
        return None, error


def shrinking_of(run: SearchRun) -> Shrinking:
    """The larger network on its way; its folder is another for other settings."""
    settings: NetAdapt = run.settings.refine.make()
    start = choose_start(run, settings)
    name = f"{network_id(start)}-{settings.step:g}-{settings.batches}"
    folder = run.folder / "refine" / name
    folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(run.data, ImageData)
    trainer = ImageTrainer(
        data=run.data,
        budget=run.settings.budget.make(),
        device=resolve_device(run.settings.device),
        seed=run.settings.seed,
        batches=settings.batches,
        checkpoint=folder / "checkpoint.pt",
    )
    return Shrinking(
        start=start,
        price=price_of(run.problem),
        target_ms=run.problem.target_ms,
        step=settings.step,
        trainer=trainer,
        seed=run.settings.seed,
        folder=folder,
        console=run.console,
    )


def choose_start(run: SearchRun, settings: NetAdapt) -> Arch:
    """The most accurate of the trained networks that are slower than the target.

    They are at most `settings.start` times as slow.  UserError where there is none.
    """
    low, high = run.problem.target_ms, settings.start * run.problem.target_ms
    larger = [row for row in trained(run).values() if low < row["latency_ms"] <= high]
    if not larger:
        raise UserError(
            f"refine=netadapt shrinks a network of {low:.3g} to {high:.3g} ms, and the search "
            "trained none: give more trials=, finalists= or spread="
        )
    best = max(larger, key=lambda row: (row["accuracy"], -row["latency_ms"]))
    return run.arch_of(best["id"])


def trained(run: SearchRun) -> dict[str, dict[str, Any]]:
    """The rows of all networks that the search trained to the end, by id."""
    rows = run.study.rows() if run.judge.trains_each else rows_trained(run)
    return {row["id"]: row for row in rows if row["state"] == "complete"}


def describe_refined(
    run: SearchRun, refined: Refined, winner: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What summary.json says of the refined network; its YAML file is written.

    gains   over the winner and over uniform width on the same test images, fractions, with the
            standard errors of the differences.
    """
    key, control = network_id(refined.arch), refined.control
    rows = {row["id"]: row for row in run.evaluations.rows(Role.REFINED)}
    ours = rows[key]
    (shown,) = as_rows(trial_frame([ours | {"number": None}]))
    shown["measured_ms"] = measure_whole(run, {key: refined.arch}, again=True).get(key)
    write_text(run.folder / "refined.yaml", as_yaml(refined.arch, shown))
    rivals = [trained(run)[winner["id"]] | {"name": "the winner"}] if winner else []
    rivals += [rows[network_id(control)]] if control else []
    gains = [gain_over(ours, row) for row in rivals if row["state"] == "complete"]
    start, *steps = (
        {
            "id": network_id(step.proposal.arch),
            "what": step.proposal.what,
            "latency_ms": step.proposal.ms,
            "cross_entropy": step.cross_entropy,
        }
        for step in refined.steps
    )
    return {**shown, "start": start, "steps": steps, "gains": gains}


def gain_over(ours: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """One comparison."""
    gain, error = paired_gain(ours, row)
    return {**{name: row[name] for name in COMPARED}, "gain": gain, "gain_se": error}
