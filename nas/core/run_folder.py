"""The folder of a run: made, locked, its settings compared, its environment noted."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from nas.core.errors import UserError
from nas.core.files import parse_yaml, write_text
from nas.core.typed import at_home

# What runs did before there was a choice, or where there is none any more.
SINCE = {
    "budget.norms": "batch",
    "weights.key": None,
    "accuracy.key": None,
    "latency.precision": "float32",
    "limit.min_latency_ms": None,
    "label_epochs": None,
    "data.void": 255,
    "accuracy.near_target": 0.0,
    "accuracy.transfer": False,
}
# How a device is reached, and not what it answers.
FREE = ("latency.timeout_s", "latency.address", "latency.retries")
# What earlier runs did not write down: nobody can tell whether it has changed since.
UNTOLD = ("network", "weights_sha256")
PACKAGES = ("torch", "optuna", "onnx", "onnxruntime", "numpy", "pandas", "plotly", "thop")


def open_folder(path: Path) -> Path:
    """Make the folder; UserError where it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to the results folder {path} ({error.strerror}): "
            "choose another with results="
        ) from None
    return path


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; UserError where another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is at work in {folder}: wait for it, then give the command again"
            ) from None
        yield


def check_run(name: str) -> None:
    """UserError for a name that no run folder can have."""
    if not re.fullmatch(r"(?!\.)[\w.-]+", name):
        raise UserError(f"run must be a name of letters, digits, '-', '_', '.', not {name!r}")


def folder_name(name: str) -> str:
    """The name of a folder for any name, another for each: a/b becomes a_b and some digits."""
    cleaned = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:100]
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:6]
    return cleaned if cleaned and cleaned == name else f"{cleaned or 'network'}_{digest}"


def write_json(path: Path, data: Any) -> None:
    """Indented JSON; NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(_finite(data), indent=1, ensure_ascii=False) + "\n")


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(k): _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def check_config(path: Path, config: Mapping[str, Any], free: Sequence[str] = ()) -> None:
    """Raise UserError with each setting that differs from what the run of `path` began with.

    Those of `free` may differ.
    """
    if not path.exists():
        return
    try:
        began = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is damaged ({text}): delete the run or choose run=") from None
    if found := differences(config, began if isinstance(began, dict) else {}, free):
        raise UserError(
            f"the run in {path.parent} began with other settings ({found}): "
            "give them again, or another run=NAME"
        )


def without_password(text: str) -> str:
    """A database's URL, or a text that has one, as it may be shown."""
    text = re.sub(r"(://[^:@/\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:ssl)?password=)[^&\s]*", r"\1***", text)


def differences(here: Mapping[str, Any], there: Mapping[str, Any], free: Sequence[str] = ()) -> str:
    """The settings that differ, with both values; "" where none does.

    Keys that begin with "_" are no settings: they name code (Hydra's `_target_`), which may move.
    Those of FREE and of `free` may differ.
    """
    if "groups" not in there:  # a run of version 0.1
        here = {key: value for key, value in here.items() if key != "groups"}
    here = {key: value for key, value in here.items() if key in there or key not in UNTOLD}
    ours, theirs = _flat(here), _flat(there)
    for config in (ours, theirs):
        for setting, before in SINCE.items():
            config.setdefault(setting, before)
    pairs = {k: (ours.get(k, "absent"), theirs.get(k, "absent")) for k in sorted(ours | theirs)}
    pairs = {key: values for key, values in pairs.items() if key not in (*FREE, *free)}
    return "; ".join(f"{k}: {a} here, {b} there" for k, (a, b) in pairs.items() if a != b)


def write_yaml(path: Path, config: Mapping[str, Any]) -> None:
    """A mapping as YAML, in its own order."""
    write_text(path, yaml.safe_dump(dict(config), sort_keys=False))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in config.items():
        if key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            # earlier versions kept "~/" as it was given, and passwords
            shown = without_password(at_home(value)) if isinstance(value, str) else value
            out[prefix + key] = shown
    return out


def environment(**more: Any) -> dict[str, Any]:
    """Where and with what a result was made: machine, versions, commit, command."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem
    return {
        "command": without_password(" ".join(["python -m", module, *sys.argv[1:]])),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "versions": versions,
        **more,
    }


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:(.*)", info.read_text(), re.M) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
