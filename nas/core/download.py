"""The user's cache folder, and downloads whose hash is checked."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import urlopen

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from nas.core.errors import UserError
from nas.core.files import open_whole, user_path

CHUNK = 1 << 20  # bytes read at a time
QUIET_S = 2.0  # a bar is shown for what takes longer
TIMEOUT_S = 30.0  # a server silent for so long counts as unreachable


def cache_dir() -> Path:
    """Where downloads and decoded images are kept: $NAS_CACHE or the user's own cache."""
    if own := os.environ.get("NAS_CACHE"):
        return user_path(own)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(base, "set NAS_CACHE to a folder that can be written") / "mobile-nas"


def existing_folder(root: str | Path) -> Path:
    """`root` as a path; UserError where there is no such folder."""
    folder = user_path(root)
    try:
        there, is_folder = folder.exists(), folder.is_dir()
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read ({error.strerror}): mend it") from error
    if not is_folder:
        what = "is a file" if there else "does not exist"
        raise UserError(f"data.root={root} {what}: give the folder that holds the data")
    return folder


@contextmanager
def show_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told what is done, piece by piece."""
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True))
    task = bar.add_task(what, total=total or None)
    started = time.monotonic()

    def advance(done: int) -> None:
        bar.advance(task, done)
        if not bar.live.is_started and time.monotonic() - started > QUIET_S:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """As `open_whole`, in a folder of the cache that is made where it is missing."""
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open_whole(target))
        except OSError as error:
            raise UserError(
                f"cannot write to {target.parent} ({error.strerror}): "
                "set NAS_CACHE to a folder that can be written"
            ) from error
        yield file


def download(url: str, target: Path, sha256: str, bring: str = "") -> Path:
    """Fetch `url` to `target` unless it is there; a file with another hash is never kept.

    `sha256` may be the first digits alone.  `bring` ends the UserError: what to do.
    """
    if target.exists():
        return target
    digest = hashlib.sha256()
    bring = bring or f"bring {target.name} yourself and set data.root to its folder"
    try:
        with urlopen(url, timeout=TIMEOUT_S) as reply, atomic_file(target) as file:
            total = int(reply.headers.get("Content-Length") or 0)
            with show_progress(target.name, total) as advance:
                while block := reply.read(CHUNK):
                    digest.update(block)
                    file.write(block)
                    advance(len(block))
            if not digest.hexdigest().startswith(sha256):
                raise UserError(
                    f"{url} sent a file with sha256 {digest.hexdigest()} where {sha256} is "
                    f"expected: try again later, or {bring}"
                )
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the reply itself, and holds the connection
        raise UserError(f"cannot download {url} ({error}): {bring}") from error
    return target
