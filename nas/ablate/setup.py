"""What one call of `nas.ablate` works with: network, variants, data, timer and folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from nas.ablate.ablations import Variant, variants_of
from nas.ablate.settings import AblateSettings
from nas.accuracy.executor import Executor
from nas.accuracy.paired import PairedTraining, load_fewer
from nas.accuracy.pool import Pool
from nas.arch.cost import describe_network
from nas.core.errors import UserError
from nas.core.run_folder import folder_name, lock_folder, open_folder
from nas.data.dataset import ImageData
from nas.latency.timing import Backend
from nas.latency.together import in_same_rounds
from nas.training.loop import Budget, fit_batch
from search_spaces.lookup import resolve_baseline


@dataclass(frozen=True)
class AblateRun:
    """What is open while the command runs; `variants` begin with the network itself."""

    settings: AblateSettings
    console: Console
    folder: Path
    variants: list[Variant]
    unchanged: list[str]
    data: ImageData
    budget: Budget
    executor: Executor
    timer: Backend

    def say(self, label: str, text: str) -> None:
        """Print a line after its label."""
        self.console.print(f"{label:<9} {text}")

    def open_pool(self) -> Pool:
        """Processes that train networks."""
        return self.executor.open(
            lambda load: partial(PairedTraining.open, load, self.budget, self.settings.device),
            partial(load_fewer, self.settings.data, self.settings.images),
            self.settings.workers,
        )


@contextmanager
def open_run(settings: AblateSettings, console: Console) -> Iterator[AblateRun]:
    """Find the network and its variants, and hold the folder against other processes."""
    budget, timer = settings.budget.make(), settings.latency.make()
    executor: Executor = settings.executor.make()
    budget.check_from_scratch()
    data = load_fewer(settings.data, settings.images)
    arch, origin = resolve_baseline(
        settings.arch,
        settings.results,
        lambda: data.spec,
        trained=True,
        resolution=settings.resolution,
    )
    variants, unchanged = variants_of(arch, settings.names)
    if len(variants) == 1:
        raise UserError(
            f"none of ablations=[{','.join(unchanged)}] changes {arch.name}: ask for others, or "
            "leave ablations= out for all that do"
        )
    folder = open_folder(Path(settings.results) / "ablate" / folder_name(arch.name))
    with lock_folder(folder):
        run = AblateRun(
            settings=settings,
            console=console,
            folder=folder,
            variants=variants,
            unchanged=unchanged,
            data=data,
            budget=fit_batch(budget, len(data.train)),
            executor=executor,
            timer=in_same_rounds(timer, len(variants)),
        )
        run.say("network", describe_network(arch, origin))
        run.say("data", data.described())
        if unchanged:
            run.say("left out", f"{', '.join(unchanged)}: they change nothing in {arch.name}")
        yield run
