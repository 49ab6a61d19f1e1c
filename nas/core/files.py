"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from nas.core.errors import UserError


def user_path(path: str | Path, instead: str = "give the path without ~") -> Path:
    """The path of what a user wrote, with their home folder in place of ~.

    Raises UserError, with what to do `instead`, where the system tells no home: a container's user
    without an entry and without HOME, or the ~name of nobody.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"there is no home folder here for {path}: {instead}") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and words only, so that 010, 1:30 and dates are texts; no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"the key {twice!r} is there twice")
        return super().construct_mapping(node, deep)


_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in (
    ("null", r"null|~|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?(0|[1-9][0-9]*)"),
    ("float", rf"{_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def parse_yaml(text: str) -> Any:
    """What YAML (or JSON) says; ValueError with the reason in one line."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(reason or type(error).__name__) from None


@contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside `path` that becomes it if the block ends well, and else is removed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a file of UTF-8 whole or not at all."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    """UTF-8; the bytes of a name that were none become escapes."""
    return text.encode(errors="backslashreplace")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with open_whole(Path(path)) as file:
        file.write(data)


def write_all(folder: Path, suffix: str, texts: Mapping[str, str]) -> None:
    """Write `texts`, by name without suffix, as the folder's only files with that suffix."""
    named = {f"{name}{suffix}": encoded(text) for name, text in texts.items()}
    write_all_bytes(folder, named, stale=suffix)


def write_all_bytes(folder: Path, files: Mapping[str, bytes], stale: str = "") -> None:
    """Write `files` by name; with `stale`, as the folder's only files with that suffix."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        write_bytes(folder / name, data)
    for path in set(folder.glob(f"*{stale}")) if stale else ():
        if path.name not in files:
            path.unlink()
