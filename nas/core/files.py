"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with open_whole(Path(path)) as file:
        file.write(data)


def write_all(folder: Path, suffix: str, texts: Mapping[str, str]) -> None:
    """Write `texts`, by name without suffix, as the folder's only files with that suffix."""
    named = {f"{name}{suffix}": text.encode() for name, text in texts.items()}
    write_all_bytes(folder, named, stale=suffix)


def write_all_bytes(folder: Path, files: Mapping[str, bytes], stale: str = "") -> None:
    """Write `files` by name; with `stale`, as the folder's only files with that suffix."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        write_bytes(folder / name, data)
    for path in set(folder.glob(f"*{stale}")) if stale else ():
        if path.name not in files:
            path.unlink()
