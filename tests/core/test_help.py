"""What the help says of a setting is what its parameter asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from settings_of import SETTINGS

from nas.core.cli import CONF
from nas.core.config import parameters
from nas.core.typed import described, hints_of

LINE = re.compile(r"( *)(\w+):[^#]*(?:# (.*))?$")
FILES = sorted(path for path in CONF.rglob("*.yaml"))


def settings(path: Path) -> Iterator[tuple[str, Any, str]]:
    """(key, hint, comment) of every setting of a file of conf/."""
    text = path.read_text(encoding="utf-8")
    whole = yaml.safe_load(text) or {}
    if path.parent == CONF:
        known = [hints_of(SETTINGS[path.stem])]
    else:
        inner = whole.get(path.parent.name)  # of weights, which are beside a choice of budget
        known = [parameters(path.parent.name, inner if isinstance(inner, Mapping) else whole, None)]
    nodes: list[Any] = [whole]
    lines = re.sub(r"\n {10,}#", "", text).splitlines()  # comments go on below themselves
    for line in lines:
        if (found := LINE.match(line)) is None or found[2] in ("defaults", "_target_", "_partial_"):
            continue
        depth = len(found[1]) // 2
        del nodes[depth + 1 :], known[depth + 1 :]
        key, value = found[2], nodes[-1].get(found[2])
        hint = known[-1].get(key)
        if isinstance(value, Mapping):
            nodes.append(value)
            known.append(known[-1] if key == path.parent.name else parameters(key, value, hint))
        elif key != "name" or path.parent.name != "data":
            yield key, hint, found[3] or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_setting_says_its_type_and_range(path):
    for key, hint, comment in settings(path):
        assert comment.split(" · ")[0] == described(hint).removeprefix("a "), key
