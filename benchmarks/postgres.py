"""A PostgreSQL server of its own, in a temporary folder and on a socket there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FOUND = [*map(Path, filter(None, [shutil.which("initdb")])),
         *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]  # fmt: skip
PROGRAMS = FOUND[-1].parent if FOUND else None
USER = "postgres" if os.name == "posix" and os.geteuid() == 0 else None  # it refuses root


class Postgres:
    """A server that can be stopped, and started again with what it had."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        if USER:
            shutil.chown(self.folder, USER)
        self.folder.chmod(0o755)
        self.url = f"postgresql+psycopg://postgres:secret@/postgres?host={self.folder}"
        self._call("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions")
        self.start()

    def start(self) -> None:
        """Begin to serve, with what is there."""
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-l", f"{self.folder}/log", "-o", options)

    def stop(self) -> None:
        """End all connections, and serve no more."""
        self._call("pg_ctl", "stop", "-w", "-m", "fast")

    def close(self) -> None:
        """End it, and delete what it had."""
        self._call("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self.folder)

    def _call(self, program: str, *words: str) -> None:
        assert PROGRAMS
        done = subprocess.run(
            [PROGRAMS / program, "-D", f"{self.folder}/data", *words],
            user=USER, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{program} failed, see {self.folder}/log"
