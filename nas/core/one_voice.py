"""Of processes that torchrun started, one speaks."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

PATIENCE_S = 30.0  # in which the first process says what failed, and torchrun ends the others


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the process of RANK 0 alone print.

    Mostly all fail for one reason, or because the first did.  So an error of another is raised a
    little later: torchrun ends it before, unless the first has no such error.
    """
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        warnings.catch_warnings(action="ignore"),
    ):
        try:
            yield
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception:
            time.sleep(PATIENCE_S)
            raise
