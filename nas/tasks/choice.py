"""Which data go with which task."""

from __future__ import annotations

from nas.core.errors import UserError
from nas.data.dense import LAYOUTS, task_of

CLASSES = "classification"


def check_task(task: str, data: str) -> None:
    """UserError where the data set of that name has other labels than the task asks for."""
    fitting = [layout for layout in LAYOUTS if task_of(layout) == task]
    own = task_of(data) if data in LAYOUTS else CLASSES
    if own != task:
        wanted = " or ".join(f"data={layout}" for layout in fitting) or "data=folder (classes)"
        raise UserError(f"data={data} is for task={own}, not for task={task}: give {wanted}")
