"""Which picture an annotation is of, where it is called by a name."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path, PurePosixPath

from nas.core.errors import UserError
from nas.data.annotated.annotation import part_of, pictures_under
from nas.data.annotated.masks import holds_masks


def _shared(file: Path, other: Path) -> int:
    """How many of the last parts of two paths are equal."""
    pairs = zip(reversed(file.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class PictureIndex:
    """Picture files below a folder, by the ends of their paths."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.by_name: dict[str, list[Path]] = {}
        self.by_stem: dict[str, list[Path]] = {}
        for file in pictures_under(top):
            self.by_name.setdefault(file.name, []).append(file)
            self.by_stem.setdefault(file.stem, []).append(file)

    def find(self, name: str, beside: Path, part: int) -> Path | None:
        """The picture that a file in `beside` calls `name`, which may lack its ending: there, else
        in folders of most of the same names, else of that split.  UserError where several are left.
        """
        direct = beside / name.replace("\\", "/")
        files = self.by_name.get(direct.name) or [
            file
            for file in self.by_stem.get(direct.name, [])
            if file.parent == direct.parent or not holds_masks(file.relative_to(self.top))
        ]
        shared = [_shared(file.parent, direct.parent) for file in files]
        fitting = [f for f, number in zip(files, shared, strict=True) if number == max(shared)]
        nearest = [f for f in fitting if self.part(f) == part] or fitting
        if len(nearest) > 1:
            which = ", ".join(file.relative_to(self.top).as_posix() for file in nearest[:3])
            raise UserError(
                f"{beside} calls a picture {name}, and there are {len(nearest)}: which of {which}? "
                "write the folder in the annotation, or take the others out"
            )
        return next(iter(nearest), None)

    def part(self, file: Path) -> int:
        """The split that the folders of a file say."""
        return part_of(PurePosixPath(file.parent.relative_to(self.top).as_posix(), "x"))
