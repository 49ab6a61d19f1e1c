"""What tests share: where the reference facts are, and how to build networks at random."""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from benchmarks.postgres import PROGRAMS, Postgres

os.environ["OMP_NUM_THREADS"] = "1"  # sums of floats depend on the number of threads
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "reference").is_dir(), reason="needs ../shared, which is not here"
)


@cache
def reference(name: str) -> dict[str, Any]:
    """A JSON file of reference facts, or {} where they are absent."""
    path = SHARED / "reference" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """`refusal("search", "trials=0", cwd=folder)`: the one line that a command ends with.

    In this process, since a new one takes seconds to import torch.
    """

    def run(name: str, *words: str, cwd: Path) -> str:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [name, *words])
        monkeypatch.delitem(sys.modules, f"nas.{name}.__main__", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            runpy.run_module(f"nas.{name}", run_name="__main__")
        assert left.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws does not depend on the tests before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where none is seen."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device and pytest -m gpu")


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of downloads and decoded pictures."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NAS_CACHE", str(cache))
    return cache


def pytest_configure(config: pytest.Config) -> None:
    """Undo what the caller's shell may have set and the tests do not expect.

    A GPU is seen by `pytest -m gpu` alone: the other tests compare bits, which a CPU repeats.
    """
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):  # files as terminals
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def postgres():
    """A real server, for the tests of studies in a database."""
    if PROGRAMS is None:
        pytest.skip("needs PostgreSQL's initdb, in PATH or /usr/lib/postgresql")
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'mobile-nas[postgres]'")
    server = Postgres()
    yield server
    server.close()
