"""What the READMEs say is so: links, paths, settings, imports, and the example from Python."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from settings_of import SETTINGS

from nas.core.config import compose
from nas.report.settings import completed

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MAX_LINES = 150  # four minutes of reading
FILES = [
    README,
    *sorted((ROOT / "nas").rglob("README.md")),
    *sorted((ROOT / "results" / "reference").rglob("README.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
OUR_FILE = re.compile(r"\b(?:nas|search_spaces|benchmarks|tests|conf)/[\w/]+\.(?:py|yaml)\b")
COMMANDS = (
    "ablate",
    "export",
    "latency",
    "profile",
    "rediscover",
    "report",
    "scale",
    "search",
    "train",
)
# The table is of 28 grey pixels and ten classes, as the pictures of the example are here.
TABLE = ROOT / "results" / "reference" / "latency" / "table.csv"
TINY = (
    *("trials=2", "accuracy=scratch", "budget.epochs=1", "workers=1", "references=[]"),
    *("latency=table", f"latency.path={TABLE}"),
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of that language in a README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a README."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def commands() -> list[tuple[str, list[str]]]:
    """(command, its words) of all shell and Python blocks; "1" stands for a placeholder."""
    found = []
    for block in (block for path in FILES for block in blocks(path, "sh")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["make", "search"]:
                given = [word.removeprefix("ARGS=") for word in words[2:]]
                found.append(("search", shlex.split(" ".join(given))))
            elif words[:2] == ["python", "-m"] and words[2].startswith("nas."):
                found.append((words[2].removeprefix("nas."), words[3:]))
    for block in (block for path in FILES for block in blocks(path, "python")):
        for settings, words in re.findall(r"(\w+)Settings\.of\((.*?)\)", block):
            found.append((settings.lower(), list(ast.literal_eval(f"[{words}]"))))
    return [
        (command, [w.replace("...", "1") for w in words if w != "..."]) for command, words in found
    ]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_links_and_paths_exist(path):
    text = path.read_text()
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link
    for file in OUR_FILE.findall(text):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("path", FILES, ids=name)
def test_python_blocks_import_what_there_is(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)


def test_every_command_is_shown():
    assert {command for command, _ in commands()} == set(COMMANDS)


@pytest.mark.parametrize(("command", "words"), commands(), ids=lambda given: str(given))
def test_commands_take_their_settings(command, words):
    words = completed(words) if command == "report" else words  # folders without a name
    path = [] if "weights=file" not in words else ["weights.path=x"]  # of a run's folder, implied
    compose(
        command, SETTINGS[command], [*path, *words]
    )  # raises UserError for what is no setting or value


def test_the_example_from_python_runs(tmp_path, monkeypatch, own_cache, capsys):
    draws = np.random.default_rng(0)
    for label in range(10):
        folder = tmp_path / "pictures" / f"class{label}"
        folder.mkdir(parents=True)
        for i in range(12):
            pixels = draws.integers(0, 256, (28, 28), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(README, "python")
    given = '"target=1.5"'
    assert given in example
    scope: dict[str, object] = {"TINY": TINY}
    exec(example.replace(given, f"{given}, *TINY"), scope)
    kept = json.loads((tmp_path / "results" / "search" / "mbconv" / "summary.json").read_text())
    summary = scope["summary"]
    assert json.loads(json.dumps(summary)) == kept
    assert kept["evaluated"] == 2
    winner = kept["winner"]
    assert capsys.readouterr().out.endswith(f"{winner['arch']} {winner['latency_ms']}\n")
