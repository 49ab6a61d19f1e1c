"""What must be known of a machine to compare its times with another's."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any


def describe_device() -> dict[str, Any]:
    """Processor, cores, governor, system, versions; None where the system does not tell."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "affinity": sorted(affinity(0)) if affinity else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "onnx", "onnxruntime", "torch")},
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def device_identity() -> dict[str, Any]:
    """The part of `describe_device` that decides times and stays from run to run."""
    facts = describe_device()
    cores = facts["affinity"]
    known = {name: facts[name] for name in ("cpu", "machine", "cores")}
    return {**known, "affinity": len(cores) if cores else None}


def version(package: str) -> str | None:
    """The installed version of `package`; None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _cpu_model() -> str | None:
    lines = (_read("/proc/cpuinfo") or "").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or None
