"""A supernet that processes of torchrun train together, for a search.

The first process is the search.  The others wait until it has a supernet to train, train it with
the first, and leave.  Where the first fails torchrun ends them.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from nas.accuracy.judge import Judge, JudgeContext, JudgeSettings, make_judge
from nas.accuracy.oneshot import OneShotSettings
from nas.core.errors import UserError
from nas.network.device import resolve_device
from nas.search.settings import SearchSettings
from nas.training.processes import joined, num_started, told_by_first


def is_helper(settings: SearchSettings) -> bool:
    """Whether another process is the search; UserError where there is nothing to help with."""
    if num_started() == 1:
        return False
    if not isinstance(make_judge(settings.accuracy), OneShotSettings):
        raise UserError(
            f"torchrun is for accuracy=oneshot, and accuracy={settings.accuracy.name} trains no "
            "network on several processes: start nas.search once, with workers= or executor=ray"
        )
    return os.environ["RANK"] != "0"


def help_first(settings: SearchSettings) -> None:
    """Train the supernet of the first process with it, if it has one to train."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # torch waits without hearing Ctrl-C
    with joined(resolve_device(settings.device)):
        context: JudgeContext | None = told_by_first()
        if context:
            make_judge(settings.accuracy).open(context)


def open_helped(settings: SearchSettings, judge: JudgeSettings, context: JudgeContext) -> Judge:
    """In the first process: the judge, opened together with the others, if there are any."""
    with joined(resolve_device(settings.device)):
        told_by_first(
            replace(context, train=None, label=None, draw=None, draw_near=None, progress=None)
        )
        return judge.open(context)


def release_helpers(settings: SearchSettings) -> None:
    """In the first process: let the others go."""
    with joined(resolve_device(settings.device)):
        told_by_first()
