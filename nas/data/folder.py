"""A folder of class folders of pictures, and which of them are for training, search and test."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath

from nas.core.download import existing_folder
from nas.core.errors import UserError, one_line
from nas.data.class_folders import LISTED, list_pictures
from nas.data.pictures import Pictures, decode_cached
from nas.data.splits import TEST, TRAIN, UNSPLIT, VAL, Ints, Source, by_hash, regroup, unit_hash

log = logging.getLogger(__name__)


def load(
    root: str | Path | None,
    seed: int,
    val_share: float = 0.15,
    test_share: float = 0.15,
    together: bool = False,
    max_unreadable: float = 0.05,
) -> Source:
    """Pictures of any size in class folders, at any depth inside them.

    `root` holds the class folders, or train/, val/ and test/ folders that hold them, by any of
    their usual names (SPLIT_FOLDERS).  A split that is not there is taken from train: in each
    class the shares given, by a hash of `seed` and file name (of the sub-folder where pictures
    are kept `together`), so a new picture moves no other but in classes of few (`by_hash`).  Kept
    together, a sub-folder of the same name in several classes (a patient), with what is in it, is
    in one split; each class needs sub-folders then, which may all lie in lone folders
    (ill/scans/patient1).  What begins with "." or "__" or is no picture is passed over and counted.
    UserError where a share over `max_unreadable` of the pictures cannot be read, where a class
    folder has none, and where folders of unusual names look like splits: by what they, or lone
    folders in them, hold.
    """
    if root is None:
        raise UserError("data.root is missing: give the folder that holds one folder per class")
    top = existing_folder(root)
    passed: Counter[str] = Counter()
    classes, files, labels, part, split_level = list_pictures(top, together, passed)
    if passed:
        kinds = ", ".join(f"{number} {kind}" for kind, number in passed.most_common(LISTED))
        more = " ..." if len(passed) > LISTED else ""
        log.warning(one_line(f"passed over in {top}, as no pictures of a class: {kinds}{more}"))
    names = [file.relative_to(top).as_posix() for file in files]
    shares = {w: s for w, s in ((TEST, test_share), (VAL, val_share)) if w not in part}
    if shares:
        part[part == TRAIN] = UNSPLIT
        keys = _group_keys(names, part, split_level) if together else names
        place = unit_hash(keys, f"split {seed}")
        dealt = by_hash(part, labels, classes, place, shares)
        part = regroup(dealt, part, labels, classes, place) if together else dealt
    order = unit_hash(names, f"order {seed}")
    pixels = partial(_pixels, top, files, names, part, max_unreadable)
    return Source(classes, labels, part, order, pixels, passed.total())


def _group_keys(names: list[str], part: Ints, split_level: bool) -> list[str]:
    """For each picture the sub-folder of its class that it is in, at any depth, or its own name.

    Lone folders that hold all sub-folders of a class are no groups where every class has them.
    Raises UserError for a class of which no picture to split lies in a sub-folder.
    """
    class_at = 1 if split_level else 0
    inner = [PurePosixPath(name).parent.parts[class_at:] for name in names]  # the class is first
    held: dict[str, set[tuple[str, ...]]] = {}  # the folders in a class that hold its pictures
    for (kind, *folders), which in zip(inner, part, strict=True):
        if which == UNSPLIT:
            held.setdefault(kind, set()).update([tuple(folders)] if folders else [])
    if flat := [kind for kind, found in held.items() if not found]:
        raise UserError(
            f"data.together=true, but class {flat[0]!r} has no sub-folders to keep together: put "
            "what belongs together (a patient, a video) in folders there, or set it to false"
        )
    at = 1 + min(map(_lone_folders, held.values()))
    return [next(iter(path[at:]), name) for path, name in zip(inner, names, strict=True)]


def _lone_folders(paths: set[tuple[str, ...]]) -> int:
    """How many folders all the paths begin with, which hold no pictures of their own."""
    levels = [*zip(*paths, strict=False)][:-1]  # up to the last folder of the shortest path
    return sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))


def _state(file: Path) -> str:
    """What changes with the file; of a broken link, which counts as unreadable, that it is one."""
    try:
        known = file.stat()
    except OSError as error:
        return type(error).__name__
    return f"{known.st_size}\0{known.st_mtime_ns}\0{known.st_ctime_ns}\0{known.st_ino}"


def _pixels(
    top: Path,
    files: list[Path],
    names: list[str],
    part: Ints,
    max_unreadable: float,
    indices: Ints,
    resolution: int | None,
) -> Pictures:
    state = hashlib.sha256(os.fsencode(os.path.realpath(top)))
    for i in indices:
        state.update(os.fsencode(f"{names[i]}\0{_state(files[i])}\n"))
    return decode_cached(
        [partial(Path, files[i]) for i in indices],
        [names[i] for i in indices],
        part[indices] == TRAIN,
        key=state.hexdigest()[:24],
        what=str(top),
        resolution=resolution,
        max_unreadable=max_unreadable,
    )
