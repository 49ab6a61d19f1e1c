"""Which images are whose, where several processes train or score one network together."""

from __future__ import annotations

from typing import NamedTuple

from nas.core.errors import UserError
from nas.data.splits import Split


class Share(NamedTuple):
    """The part of process `rank`, counted from 0, of so many `processes`."""

    rank: int = 0
    processes: int = 1

    @property
    def rows(self) -> slice:
        """Of a batch: every so many-th image, so that parts differ by one image at most."""
        return slice(self.rank, None, self.processes)

    def part(self, split: Split) -> Split:
        """Of a split: images in a row, so that the processes' parts, joined, have its order."""
        if self.processes == 1:
            return split
        first, end = (len(split) * place // self.processes for place in (self.rank, self.rank + 1))
        return Split(split.images[first:end], split.labels[first:end])

    def check(self, what: str, number: int) -> None:
        """UserError where a process would have none of that `number`."""
        if number < self.processes:
            raise UserError(f"{self.processes} processes cannot share {what}: start fewer")


ALL = Share()
