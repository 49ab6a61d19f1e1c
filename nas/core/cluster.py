"""A Ray cluster that this process uses, or a Ray of this machine that begins and ends with it."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from nas.core.errors import UserError
from nas.core.interrupts import block_sigint

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as later versions of Ray do
    # Ray's is 15, and trainings would wait for whatever else a machine does
    "RAY_worker_niceness": "0",
}
# Where `ray start` and a Ray of this machine leave what only their owner may know
TOKEN = Path(".ray") / "auth_token"
REACH_S = 10.0  # for a cluster to answer
IDLE_S = 300.0  # without a sign of a worker, after which it is asked whether there can be one
MISSING = re.compile(r"No module named '[\w.]+'")


@dataclass(frozen=True)
class Lost:
    """Why there is no answer of a worker."""

    reason: str


@dataclass(frozen=True)
class Needs:
    """What a worker must have for one network: cores, GPUs or a part of one, and others by name."""

    cpus: float = 1.0
    gpus: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)

    def to_options(self) -> dict[str, Any]:
        """As Ray's tasks take them."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": dict(self.others)}

    def to_resources(self) -> dict[str, float]:
        """As Ray's nodes have them, without what is not needed."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.others}
        return {name: number for name, number in wanted.items() if number}


def import_ray() -> Any:
    """The package; UserError where it is missing.

    Ray reads its environment when it is imported, and not again.  Clusters ask for a token, which
    Ray shows only where it is told to.
    """
    if "ray" not in sys.modules:
        known = dict(ENVIRONMENT)
        if (Path.home() / TOKEN).is_file():
            known["RAY_AUTH_MODE"] = "token"
        for name, value in known.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed: pip install 'mobile-nas[ray]' does that") from None
    return ray


def connect(address: str | None, needs: Needs, workers: int) -> Callable[[], None]:
    """Connect this process to the cluster at `address`, unless it is; what ends that again.

    Without an address Ray is begun on this machine, with room for `workers` tasks.  UserError where
    there is no cluster, or none of its machines has what a network needs.
    """
    ray = import_ray()
    if ray.is_initialized():
        check_resources(ray.nodes(), needs)
        return lambda: None
    more: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        more |= {
            "num_cpus": max(1, math.ceil(workers * needs.cpus)),
            "resources": {k: v * workers for k, v in needs.others.items()},
            "include_dashboard": False,
            "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
        }
    try:
        _begin(address, more)
    except Exception as error:  # Ray raises that itself where its processes are slow to start
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"there is no Ray at address={address or 'null'}: {reason}; begin a cluster with "
            "`ray start --head`, or leave the address out for a Ray of this machine alone"
        ) from None
    _silence()
    try:
        check_resources(ray.nodes(), needs)
    except UserError:
        ray.shutdown()
        raise
    end: Callable[[], None] = ray.shutdown
    return end


def _begin(address: str | None, more: Mapping[str, Any]) -> None:
    """Connect; a Ray of this machine alone, which has 30 s to start, gets a second chance."""
    ray = import_ray()
    _reach(address)
    with block_sigint():
        try:
            ray.init(address or "local", **more)  # else one that was begun before would be it
        except Exception:
            ray.shutdown()
            if address is not None:
                raise
            ray.init("local", **more)


def _reach(address: str | None) -> None:
    """OSError where nothing answers at HOST:PORT; Ray itself would wait for it without end."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), REACH_S).close()


def read_resources(setting: str, text: str | None) -> dict[str, float]:
    """Numbers by name, of a text such as {phone: 1}; UserError for another."""
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        found = text
    numbers: list[Any] = list(found.values()) if isinstance(found, dict) else [None]
    if not all(type(n) in (int, float) and 0 < n < math.inf for n in numbers):
        raise UserError(f"{setting} must be names with numbers above 0, {{phone: 1}}, not {text}")
    return {str(name): float(number) for name, number in found.items()}


def _silence() -> None:
    """Ray prints a paragraph for each worker that is lost; they are counted here, and said."""
    with suppress(ImportError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *_, **__: None


def check_resources(nodes: Sequence[Mapping[str, Any]], needs: Needs) -> None:
    """UserError where no machine of the cluster has what a network needs: it would wait forever."""
    have = [node["Resources"] for node in nodes if node["Alive"]]
    wanted = needs.to_resources()
    if not any(all(has.get(name, 0) >= n for name, n in wanted.items()) for has in have):
        kept = [
            {k: v for k, v in has.items() if ":" not in k and "memory" not in k} for has in have
        ]
        raise UserError(
            f"no machine of the Ray cluster has {_listed(wanted)}, which each worker needs (they "
            f"have {' · '.join(map(_listed, kept)) or 'nothing'}): ask for less, or begin one with "
            "more, `ray start --resources=...`"
        )


def _listed(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{number:g} {name}" for name, number in resources.items())


@cache
def versions() -> dict[str, str]:
    """What must be equal where networks are judged: versions, and this package's very code."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return {
        "mobile-nas": f"{version('mobile-nas')} ({digest.hexdigest()[:8]})",
        "torch": version("torch").partition("+")[0],
    }


def check_versions(ours: Mapping[str, str]) -> None:
    """In a worker: UserError where it has other versions than the process that asks."""
    for name, here in versions().items():
        if ours[name] != here:
            raise UserError(
                f"the Ray worker on {platform.node()} has {name} {here}, the process that asks has "
                f"{ours[name]}: install the same on both"
            )


def answer_of(reference: Any) -> Any:
    """A task's result, or `Lost`; what the task raised is raised here."""
    ray = import_ray()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if found := MISSING.search(str(error.cause)):
            raise UserError(
                f"a Ray worker has n{found[0][1:]}: install mobile-nas there as here"
            ) from None
        raise error.cause from None
    except ray.exceptions.RayError as error:
        return Lost(str(error).strip().partition("\n")[0][:200])
