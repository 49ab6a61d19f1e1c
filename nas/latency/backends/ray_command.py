"""Latency by a command that runs on workers of a Ray cluster, where the devices are."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from nas.core.cluster import (
    IDLE_S,
    Lost,
    Needs,
    answer_of,
    check_resources,
    check_versions,
    connect,
    import_ray,
    read_resources,
    versions,
)
from nas.core.errors import UserError
from nas.core.typed import Natural
from nas.latency.backends.command import Command
from nas.latency.backends.local import Padded
from nas.latency.timing import OnTiming, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCommand(Command):
    """As `Command`, run on workers that hold `resources`, several devices at once.

    resources  what a worker must have, as text: "{phone: 1}"; a machine with two phones, begun with
               `ray start --resources='{"phone": 2}'`, runs two commands at once
    address    of the cluster, as Ray takes it; None begins a Ray on this machine
    retries    how often models are run again whose worker was lost
    Each timing names the machine that took it.
    """

    resources: str
    address: str | None = field(default=None, compare=False)
    retries: Natural = field(default=2, compare=False)
    name: ClassVar[str] = "ray_command"

    def __post_init__(self) -> None:
        # without arguments `super` does not know a class with slots
        super(RayCommand, self).__post_init__()
        if not read_resources("latency.resources", self.resources):
            raise UserError("latency.resources must name what workers with the device hold")
        import_ray()

    def _check_program(self) -> None:
        """It is the workers that need the program."""

    def _measure_parts(self, parts: Sequence[Padded], on_timing: OnTiming | None) -> list[Timing]:
        needs = Needs(0, 0, read_resources("latency.resources", self.resources))
        close = connect(self.address, needs, 1)
        try:
            return self._measure_there(parts, needs, on_timing)
        finally:
            close()

    def _measure_there(
        self, parts: Sequence[Padded], needs: Needs, on_timing: OnTiming | None
    ) -> list[Timing]:
        """All groups are given to Ray at once; each is told as it ends."""
        ray, lost, known = import_ray(), Counter[int](), dict[int, Timing]()
        remote = ray.remote(**needs.to_options(), max_retries=0)(_measure_here)
        ours = versions()

        def begin(start: int) -> tuple[object, int]:
            group = parts[start : start + self.together]
            return remote.remote(ours, self, group, self.seed + start), start

        running = dict(begin(start) for start in range(0, len(parts), self.together))
        while running:
            done, _ = ray.wait(list(running), num_returns=1, timeout=IDLE_S)
            if not done:  # the device may be slow, or gone, and Ray would wait for it without end
                check_resources(ray.nodes(), needs)
                continue
            start, answer = running.pop(done[0]), answer_of(done[0])
            if isinstance(answer, Lost):
                lost[start] += 1
                if lost[start] > self.retries:
                    raise UserError(
                        f"the worker that ran the latency command was lost {lost[start]} times: "
                        f"{answer.reason}"
                    )
                running |= [begin(start)]
                continue
            for i, timing in enumerate(answer, start):
                known[i] = timing
                if on_timing:
                    on_timing(i, timing)
        return [known[i] for i in range(len(parts))]


def _measure_here(
    ours: dict[str, str], command: RayCommand, parts: Sequence[Padded], seed: int
) -> list[Timing]:
    """In a worker: the timings of a group, with the name of this machine."""
    check_versions(ours)
    return [replace(timing, host=platform.node()) for timing in command.measure_group(parts, seed)]
