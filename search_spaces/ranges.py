"""The ranges of a space's choices: what each may hold, as its setting says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from nas.arch.arch import Arch
from nas.core.errors import UserError
from nas.core.typed import Range, check, hints_of

Kernel = Annotated[int, Range(1, 31)]  # pixels
KernelOrNone = Annotated[int, Range(0, 31)]  # 0 for none
Expand = Annotated[float, Range(0.1, 64)]
Squeeze = Annotated[float, Range(0, 1)]
Dropout = Annotated[float, Range(0, 0.99)]


def check_ranges(space: Callable[..., Arch], **ranges: Sequence[Any]) -> None:
    """Refuse what `space` cannot choose among; the error names the setting."""
    for name, options in ranges.items():
        check(f"space.{name}", hints_of(space)[name], options)
        if not options:
            raise UserError(f"space.{name} must hold one value at least, not an empty list")
        if name.endswith("kernels"):
            check_odd(f"space.{name}", options)


def check_odd(name: str, kernels: Sequence[int]) -> None:
    """Refuse even kernels in the setting `name`; 0 is none."""
    for even in (kernel for kernel in kernels if kernel and not kernel % 2):
        raise UserError(f"{name} must be odd, not {even}")
