"""What one call of `nas.scale` works with: baseline, folder, data, timer and rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.accuracy.executor import Executor
from nas.accuracy.pool import Pool
from nas.accuracy.scratch import Scratch
from nas.arch.arch import Arch
from nas.arch.cost import describe_network
from nas.arch.scaling import RULES, Factors, formula
from nas.core.errors import UserError
from nas.core.run_folder import folder_name, lock_folder, open_folder
from nas.data.dataset import ImageData
from nas.scale.family import Rule
from nas.scale.measurements import Milliseconds, cached_latency
from nas.scale.settings import ScaleSettings
from nas.training.loop import Budget
from search_spaces.lookup import resolve_baseline


@dataclass(frozen=True)
class ScaleRun:
    """What is open while the command runs; `images` loads the data at its first call."""

    settings: ScaleSettings
    console: Console
    folder: Path
    baseline: Arch
    images: Callable[[], ImageData]
    training: Budget
    executor: Executor
    timer: Any
    latency: Milliseconds

    def say(self, label: str, text: str) -> None:
        """Print a line after its label."""
        self.console.print(f"{label:<9} {text}")

    def open_pool(self, test: bool) -> Pool:
        """Processes that train networks, and score them on the test images too if `test`."""
        budget, device = self.training, self.settings.device
        return self.executor.open(
            lambda load: partial(Scratch.open, load, budget, device, test=test),
            self.settings.data.make,
            self.settings.workers,
        )


@contextmanager
def open_run(settings: ScaleSettings, console: Console) -> Iterator[ScaleRun]:
    """Find the baseline, and hold its folder against other processes."""
    images: Callable[[], ImageData] = cache(settings.data.make)
    training, timer = settings.budget.make(), settings.latency.make()
    executor: Executor = settings.executor.make()
    training.check_from_scratch()
    trained = settings.is_fitted or settings.train
    find = partial(resolve_baseline, settings.arch, settings.results, lambda: images().spec)
    baseline, origin = find(trained=trained, resolution=settings.resolution)
    if not any(stage.depth for stage in baseline.stages):
        raise UserError(
            f"{baseline.name or settings.arch} has no blocks to scale: all depths are 0"
        )
    folder = open_folder(Path(settings.results) / "scale" / folder_name(baseline.name))
    with lock_folder(folder):
        latency = cached_latency(timer, folder, baseline.padding, console)
        run = ScaleRun(
            settings, console, folder, baseline, images, training, executor, timer, latency
        )
        run.say("baseline", describe_network(baseline, origin))
        yield run


def rule_of(settings: ScaleSettings, coefficients: Sequence[float] | None) -> Rule:
    """The rule that the settings name, or else the formula with `coefficients`."""
    name = settings.rule or "formula"

    def factors(phi: float) -> Factors:
        if name in RULES:
            return RULES[name](2.0**phi)
        assert coefficients is not None
        alpha, beta, gamma = coefficients
        return formula(alpha, beta, gamma, phi)

    return Rule(name, factors, settings.fixed_ends, settings.repeats)
