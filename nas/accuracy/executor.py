"""Where networks are judged: conf/executor/*.yaml make one of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nas.accuracy.judge import Load
from nas.accuracy.pool import Make, Pool
from nas.accuracy.ray_pool import RayPool
from nas.accuracy.worker_pool import WorkerPool
from nas.core.cluster import Needs, import_ray, read_resources
from nas.core.progress import ProgressBar, open_console
from nas.core.typed import Amount, Natural, Positive, check_fields


class Executor(Protocol):
    """Opens pools of workers; what these answer does not depend on which executor it is."""

    def open(self, make_with: Callable[[Load], Make], load: Load, workers: int) -> Pool:
        """A pool whose functions `make_with` makes of what gives the images; to be closed."""


@dataclass(frozen=True)
class LocalExecutor:
    """Processes of this machine, each with its own images; of several GPUs each uses one."""

    def open(self, make_with: Callable[[Load], Make], load: Load, workers: int) -> Pool:
        """As `Executor.open`."""
        return WorkerPool(make_with(load), workers)


@dataclass(frozen=True)
class RayExecutor:
    """Workers of a Ray cluster, which share the images.

    address     of the cluster, as Ray takes it; None begins a Ray on this machine
    cpus, gpus  of each network; of a GPU also a part, so that several networks share it
    resources   what else a worker must have, as text: "{big: 1}"
    retries     how often a network is judged again whose worker was lost
    timeout_s   after which a worker that says nothing is given up; None: ten times the longest so
                far, and ten minutes at least
    """

    address: str | None = None
    cpus: Positive = 1.0
    gpus: Amount = 0.0
    resources: str | None = None
    retries: Natural = 2
    timeout_s: Positive | None = None

    def __post_init__(self) -> None:
        check_fields(self, "executor")
        import_ray()
        _ = self.needs

    @property
    def needs(self) -> Needs:
        """What a worker must have; UserError for resources that cannot be read."""
        return Needs(self.cpus, self.gpus, read_resources("executor.resources", self.resources))

    def open(self, make_with: Callable[[Load], Make], load: Load, workers: int) -> Pool:
        """As `Executor.open`; UserError where there is no cluster with what a network needs."""
        pool = RayPool(
            make_with,
            load,
            workers,
            address=self.address,
            needs=self.needs,
            retries=self.retries,
            timeout_s=self.timeout_s,
        )
        where = f"of {self.address}" if self.address else "of this machine"
        with ProgressBar(open_console(), "ray", 1) as bar:  # it takes seconds
            bar(0, f"connecting to {workers} workers {where}")
            pool.connect()
            bar(1, f"{workers} workers {where}")
        return pool
