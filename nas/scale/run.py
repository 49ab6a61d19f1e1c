"""`python -m nas.scale`: a baseline grown into a family, by a rule that is fitted or given."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from nas.accuracy.scaled import ScaledScratch
from nas.accuracy.worker_pool import WorkerPool
from nas.arch.arch import Arch
from nas.arch.cost import cost, describe_network
from nas.arch.operators import network_id
from nas.core.config import make
from nas.core.errors import UserError
from nas.core.progress import ProgressBar
from nas.core.run_folder import folder_name, lock_folder, open_folder
from nas.data.dataset import ImageData
from nas.scale.family import (
    Member,
    PhiSolution,
    Rule,
    family,
    family_table,
    largest_phi_within,
    members_within_budget,
    published_family,
)
from nas.scale.fit.fit import Fit, fit_scaling
from nas.scale.fit.journal import Elastic
from nas.scale.measurements import cached_latency, digest_of, run_jobs, supernet_judge, train_cached
from nas.scale.report import print_family, remarks, write
from nas.scale.settings import checked
from nas.scale.setup import rule_of
from search_spaces.lookup import resolve_baseline

# What decides which networks share one elastic network, and its weights.
SHARED_BY = ("accuracy", "fit", "objective", "seed")
TABLE_WIDTH = 150  # characters; in a narrower window or a pipe lines are long, and none is cut
SOLVING = 12  # prices that a bisection takes, about


def scale(settings: dict[str, Any]) -> None:
    """Write the family that `settings` (conf/scale.yaml) describes to results/scale/<baseline>/."""
    began = time.perf_counter()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    settings = checked(settings)
    with ExitStack() as stack:
        try:
            Run(settings, console, stack)(began)
        except KeyboardInterrupt:
            console.print("stopped   what was trained and timed is kept; the same command goes on")
            raise


class Run:
    """One call of the command; data and processes are opened where they are needed."""

    def __init__(self, settings: dict[str, Any], console: Console, stack: ExitStack) -> None:
        self.settings, self.console, self.stack = settings, console, stack
        self.load = partial(make, settings["data"])
        self.training, self.timer = make(settings["budget"]), make(settings["latency"])
        self.fit_budget, self.oneshot = make(settings["fit"]), make(settings["accuracy"])
        self.fits = settings["rule"] is None and settings["coefficients"] is None
        self.shares = settings["choices"]["accuracy"] == "oneshot"
        self.data: ImageData | None = None
        self.baseline, origin = resolve_baseline(
            settings["arch"],
            settings["results"],
            lambda: self.images().spec,
            trained=self.fits or settings["train"],
            resolution=settings["resolution"],
        )
        self.say("baseline", describe_network(self.baseline, origin))
        folder = Path(str(settings["results"])) / "scale" / folder_name(self.baseline.name)
        self.folder = open_folder(folder)
        stack.enter_context(lock_folder(folder))
        self.ms = cached_latency(self.timer, folder, self.baseline.padding, console)

    def __call__(self, began: float) -> None:
        """Fit where asked for, make the family, measure, train, and write it all down."""
        settings = self.settings
        fit = self.fitted() if self.fits else None
        members, solved = self.members()
        rows = family_table(members, self.latencies(members))
        if settings["train"]:
            self.train(members, rows)
        print_family(self.console, rows)
        for line in remarks(rows, solved, fit.phi if fit else 1):
            self.say(*line)
        about = self.about(fit, solved, time.perf_counter() - began)
        write(
            self.folder,
            config=settings,
            made_with={"seed": settings["seed"], "latency": self.timer.describe()},
            about=about,
            members=members,
            rows=rows,
            fit=fit,
        )
        self.say("wrote", f"{self.folder}/: scale.html family.csv family/ summary.json ...")

    def about(self, fit: Fit | None, solved: PhiSolution | None, seconds: float) -> dict[str, Any]:
        """What summary.json says beside the family."""
        settings = self.settings
        data = self.data if settings["train"] else None
        return {
            "baseline": self.baseline.name,
            "rule": settings["rule"] or "formula",
            "coefficients": settings["coefficients"],
            "fit": None if fit is None else fit.summary(),
            "solved": solved.to_json() if solved else None,
            "data": settings["choices"]["data"],
            "images": [len(s) for s in (data.train, data.val, data.test)] if data else None,
            "native": data.resolution if data else None,
            "budget": settings["choices"]["budget"],
            "latency": self.timer.name if settings["measure"] else None,
            "objective": settings["objective"],
            "seed": settings["seed"],
            "seconds": seconds,
        }

    def say(self, label: str, text: str) -> None:
        """One line below its label."""
        self.console.print(f"{label:<9} {text}")

    def images(self) -> ImageData:
        """The data, loaded once."""
        if self.data is None:
            data: ImageData = self.load()
            self.data = data
        return self.data

    def pool(self, test: bool) -> WorkerPool:
        """Processes that train networks, closed with the run; `test`: and score the test images."""
        what = (self.load, self.training, self.settings["device"], test)
        judge = partial(ScaledScratch.open, *what)
        return self.stack.enter_context(WorkerPool(judge, self.settings["workers"]))

    def salt(self) -> str:
        """Stands for what decides a network's score, but for its epochs and its seed."""
        settings = {k: v for k, v in self.settings["budget"].items() if k != "epochs"}
        return digest_of(self.images().fingerprint, self.images().flip, settings)

    def fitted(self) -> Fit:
        """Fit alpha, beta and gamma to the baseline; what an earlier call learned is not redone."""
        pool, bars, folder = (
            self.pool(test=False),
            list[ProgressBar](),
            open_folder(self.fit_folder()),
        )
        with ExitStack() as stack:

            def progress(done: int, total: int, text: str) -> None:
                if not bars:  # latencies that are timed before have a bar of their own
                    bars.append(stack.enter_context(ProgressBar(self.console, "fit", total, done)))
                bars[0].set_total(total)
                bars[0](done, text)

            fit = fit_scaling(
                self.baseline,
                cost=lambda archs: self.price_for_fit(archs, quiet=bool(bars)),
                judge=partial(run_jobs, pool, lambda epochs: bars[0].set_partial(epochs)),
                budget=self.fit_budget,
                objective=self.settings["objective"],
                folder=folder,
                elastic=self.elastic(folder) if self.shares else None,
                seed=self.settings["seed"],
                say=partial(self.say, "fit"),
                progress=progress,
                repeats=self.settings["repeats"],
                fixed_ends=self.settings["fixed_ends"],
            )
        pool.close()
        self.settings["coefficients"] = [fit.alpha, fit.beta, fit.gamma]
        shown = (f"{name} {getattr(fit, name):.3f} ({low:.3f} to {high:.3f})"
                 for name, (low, high) in fit.intervals.items() if hasattr(fit, name))  # fmt: skip
        origin = f"from the first scores of {fit.num_points} networks"
        self.say("fitted", f"{' · '.join(shown)} · {origin}")
        self.say("verdict", f"{'after longer trainings ' * bool(fit.confirmation)}{fit.verdict}")
        return fit

    def elastic(self, folder: Path) -> Elastic:
        """What makes a judge by one elastic network, kept in `folder`."""
        settings = self.settings
        return supernet_judge(
            self.console, self.oneshot, load=self.images, device=settings["device"],
            seed=settings["seed"], checkpoint=folder / "supernet.pt",
        )  # fmt: skip

    def price_for_fit(self, archs: Sequence[Arch], quiet: bool) -> NDArray[np.float64]:
        """What the fit holds equal: MACs, or milliseconds."""
        if self.settings["objective"] == "macs":
            return np.array([cost(arch).macs for arch in archs], float)
        return np.array(self.ms(archs, quiet=quiet), float)

    def fit_folder(self) -> Path:
        """Where the fit keeps what it learns: one folder for a baseline, its judge and device."""
        priced = self.settings["objective"] != "macs" and self.timer.identity()
        rounding = [self.settings["repeats"], self.settings["fixed_ends"]]
        shared = [self.settings[name] for name in SHARED_BY] if self.shares else []
        key = digest_of(network_id(self.baseline), self.salt(), priced, rounding, *shared)
        return self.folder / f"fit-{key}"

    def members(self) -> tuple[list[Member], PhiSolution | None]:
        """The family as far as phi, name or budget; how the budget was met."""
        name, budget = self.settings["name"], self.budget()
        if self.settings["rule"] == "published":
            rows = published_family(self.baseline, name or "b7")
            if budget:
                what = f"{budget[0]}={budget[1]:g}"
                rows = members_within_budget(rows, budget[1], self.price(budget[0]), what)
            return rows, None
        rule, phi, solved = rule_of(self.settings), self.settings["phi"], None
        if budget:
            solved = self.solved(rule, *budget)
            phi = solved.member.phi
        return family(self.baseline, rule, phi), solved

    def budget(self) -> tuple[str, float] | None:
        """The budget that is given in the place of phi: its name and what it is."""
        given = ((name, self.settings[name]) for name in ("macs", "latency_ms"))
        return next(((name, float(value)) for name, value in given if value is not None), None)

    def price(self, name: str) -> Callable[[Arch], float]:
        """What an arch costs in the unit of the budget `name`."""
        return (
            (lambda arch: cost(arch).macs) if name == "macs" else (lambda arch: self.ms([arch])[0])
        )

    def solved(self, rule: Rule, name: str, budget: float) -> PhiSolution:
        """The phi of the largest network within the budget, found with progress."""
        price, done, what = self.price(name), 0, f"{name}={budget:g}"
        if name == "macs":
            return largest_phi_within(self.baseline, rule, budget, price, what)
        with ProgressBar(self.console, "solve", SOLVING, 0) as live:

            def told(arch: Arch) -> float:
                nonlocal done
                done = min(done + 1, SOLVING)
                live(done, what)
                return price(arch)

            return largest_phi_within(self.baseline, rule, budget, told, what)

    def latencies(self, members: Sequence[Member]) -> dict[str, float]:
        """Milliseconds by network id; what the device or table cannot tell is said, and absent."""
        if not self.settings["measure"]:
            return {}
        archs = {network_id(member.arch): member.arch for member in members}
        try:
            return dict(zip(archs, self.ms(list(archs.values())), strict=True))
        except UserError as error:
            self.say("latency", f"of some is unknown: {error}")
        found = {}
        for key, arch in archs.items():
            try:
                found[key] = self.ms([arch])[0]
            except UserError:
                continue  # said above
        return found

    def train(self, members: Sequence[Member], rows: Sequence[dict[str, Any]]) -> None:
        """Train every member with the budget; its row learns what it scored."""
        settings = self.settings
        jobs = [(member.arch, self.training.epochs, settings["seed"]) for member in members]
        pool, path = self.pool(test=True), self.folder / "trained.jsonl"
        epochs = self.training.epochs * len(jobs)
        with ProgressBar(self.console, "train", epochs, 0) as live:
            scores = train_cached(pool, jobs, path, self.salt(), live)
        pool.close()
        for row, score in zip(rows, scores, strict=True):
            row |= score
            if "reason" in score:
                self.say("failed", f"{row['name']}: {score['reason']}")
