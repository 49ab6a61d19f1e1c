"""The folder tree is the map: imports only go down, and stand at the top of a file."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (  # a package may import those before its own line
    "core",
    "arch stats",
    "data space network",
    "training search_spaces",
    "latency supernet inheritance tasks",
    "accuracy profile train",
    "report",
    "search scale ablate export",
    "rediscover",
)
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names.split()}
OPTIONAL = {  # packages that a user may not have
    *("ai_edge_litert", "datasets", "executorch", "fcntl", "flatbuffers", "openvino"),
    *("faster_coco_eval", "ray", "safetensors", "torchao"),
}
WITHOUT = {"torch", "optuna", "pandas", "hydra"}  # what arch, stats and space do without
FILES = sorted([*(ROOT / "nas").rglob("*.py"), *(ROOT / "search_spaces").rglob("*.py")])


def imported(tree: ast.AST) -> set[str]:
    """Modules that are imported anywhere in `tree`, and what is taken from them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def package(name: str) -> str:
    return name.removeprefix("nas.").split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_down_and_stand_at_the_top(path):
    tree, own = ast.parse(path.read_text()), package(module(path))
    used = imported(tree)
    ours = {package(n) for n in used if n.startswith(("nas.", "search_spaces."))} - {own}
    if own != "__init__":
        assert all(FLOOR[other] < FLOOR[own] for other in ours)
    if own in {"arch", "stats", "space"}:
        assert not {name.split(".")[0] for name in used} & WITHOUT
    if path.stem != "__main__":
        inside = used - imported(ast.Module([n for n in tree.body if is_import(n)], []))
        assert {name.split(".")[0] for name in inside} <= OPTIONAL
    if path.stem == "__init__":
        face = [n for n in tree.body if not (is_import(n) or isinstance(n, ast.Expr | ast.Assign))]
        assert not face


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_no_circle_of_files():
    known = {module(path): path for path in FILES}
    graph = {name: imported(ast.parse(path.read_text())) & set(known) - {name}
             for name, path in known.items()}  # fmt: skip
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
