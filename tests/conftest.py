"""What tests share: where the reference facts are, and how to build networks at random."""

from __future__ import annotations

import json
import random
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

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


def pytest_configure() -> None:
    """A suite that is started in the background ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
