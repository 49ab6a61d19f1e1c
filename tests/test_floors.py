"""Imports only go down; each line of FLOORS may import the lines above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors", "files", "interrupts", "progress", "agreement"},
    {"arch"},
    {"blocks", "reading"},
    {"cost", "space", "compound", "pareto"},
    {"trellis", "gaussian_process", "objective", "family"},
    {"depthwise", "checkpoint", "onnx_graph", "results", "figures", "storage"},
    {"device"},
    {"scoring"},
    {"network", "data", "training"},
    {"weights", "pretrained", "export"},
    {"supernet"},
    {"latency", "accuracy"},
    {"evaluate"},
    {"samplers", "finals", "members", "versus", "fit"},
    {"reach", "study"},
    {"plot", "scores_page", "scale_page"},
    {"report", "scale_report"},
    {"cli"},
    {"judging"},
    {"plan", "scale_plan"},
    {"train_plan"},
    {"alongside"},
    {"search", "profile", "latency.__main__"},
    {"scale", "train"},
]
FLOOR = {name: i for i, floor in enumerate(FLOORS) for name in floor}
GROUND = {name for floor in FLOORS[:5] for name in floor}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def modules(names: set[str]) -> set[str]:
    """The names under nas/ among imported ones."""
    return {n.split(".")[1] for n in names if n.startswith("nas.") and n.split(".")[1] in FLOOR}


FILES = sorted((ROOT / "nas").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    parts = path.relative_to(ROOT / "nas").with_suffix("").parts
    if parts[0] == "__init__":
        assert not imported(path)
        return
    own = ".".join(parts) if ".".join(parts) in FLOOR else parts[0]
    used = imported(path)
    assert all(FLOOR[m] < FLOOR[own] or m == own for m in modules(used))
    if own in GROUND:
        assert not any(n.split(".")[0] in {"torch", "optuna", "hydra", "pandas"} for n in used)
    if FLOOR[own] < FLOOR["judging"]:
        assert not any(n.startswith("search_spaces") for n in used)


def test_spaces_stand_on_the_ground_floor():
    for path in (ROOT / "search_spaces").glob("*.py"):
        used = imported(path)
        assert modules(used) <= GROUND
        assert not any(n.split(".")[0] == "torch" for n in used)
