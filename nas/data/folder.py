"""A folder of class folders of pictures, and which of them are for training, search and test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from nas.core.download import existing_folder
from nas.core.errors import UserError
from nas.data.pictures import Pictures, decode_cached
from nas.data.splits import TEST, TRAIN, UNSPLIT, VAL, Ints, Source, by_hash, regroup, unit_hash

SUFFIXES = (  # of picture files; others, and names that begin with a dot, are passed over
    *(".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
SPLIT_FOLDERS = {
    TRAIN: ("train", "training"),
    VAL: ("val", "valid", "validation"),
    TEST: ("test", "testing"),
}


def load(
    root: str | Path | None,
    seed: int,
    val_share: float = 0.15,
    test_share: float = 0.15,
    together: bool = False,
    max_unreadable: float = 0.05,
) -> Source:
    """Pictures of any size in class folders, at any depth inside them.

    `root` holds the class folders, or train/ and val|valid|validation/ and test/ folders that
    hold them.  A split that is not there is taken from train: in each class the shares given, by
    a hash of `seed` and file name (of the sub-folder where pictures are kept `together`), so a
    new picture moves no other.  Kept together, a sub-folder of the same name in several classes
    (a patient) is in one split; each class needs sub-folders then.  UserError where a share over
    `max_unreadable` of the pictures cannot be read.
    """
    if root is None:
        raise UserError("data.root is missing: give the folder that holds one folder per class")
    top = existing_folder(root)
    classes, files, labels, part, split_level = _list_pictures(top)
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
    return Source(classes, labels, part, order, pixels)


def _visible(top: Path) -> list[Path]:
    return sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _pictures(top: Path) -> Iterator[Path]:
    """Paths of the pictures below `top`, in order; links are followed, but not in a ring."""
    seen = set()
    for path, folders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        for file in sorted(files):
            if file.lower().endswith(SUFFIXES) and not file.startswith("."):
                yield Path(path, file)


def _split_folders(top: Path) -> dict[int, Path]:
    """The split folders of `top`, in the order train, val, test; none where it holds classes.

    They count as such when train is among them, alone or with another of SPLIT_FOLDERS.
    """
    folders = _visible(top)
    found = {w: p for w, names in SPLIT_FOLDERS.items() for p in folders if p.name.lower() in names}
    return found if TRAIN in found and (len(found) > 1 or len(folders) == 1) else {}


def _list_pictures(top: Path) -> tuple[tuple[str, ...], list[Path], Ints, Ints, bool]:
    """Classes; paths, labels and parts of all pictures; whether there are split folders."""
    own = _split_folders(top)
    classes: list[str] = []
    files: list[Path] = []
    labels: list[int] = []
    part: list[int] = []
    for which, split_top in (own or {TRAIN: top}).items():  # training settles the classes
        by_class = {p.name: found for p in _visible(split_top) if (found := list(_pictures(p)))}
        if which == TRAIN:
            _check_classes(split_top, by_class)
            classes = list(by_class)
        _check_split(split_top, by_class, classes)
        for name, found in by_class.items():
            files += found
            labels += [classes.index(name)] * len(found)
            part += [which] * len(found)
    return tuple(classes), files, np.array(labels, np.int64), np.array(part, np.int64), bool(own)


def _check_classes(top: Path, by_class: dict[str, list[Path]]) -> None:
    """Refuse a training folder without two classes, and say what it looks like instead."""
    if len(by_class) > 1:
        return
    if by_class:
        (name,) = by_class
        found = f"holds one class folder only, {name!r}, where two or more are needed"
        inner = [p.name for p in _visible(top / name)]
        hint = f"if the classes are {', '.join(inner[:3])} ..., give data.root={top / name}"
        hint = hint if len(inner) > 1 else "add another class"
    elif loose := sum(p.suffix.lower() in SUFFIXES for p in top.iterdir()):
        found, hint = f"holds {loose} pictures but no class folders", "put each class in a folder"
    else:
        found = "holds no pictures in class folders"
        hint = f"pictures are files named {' '.join(SUFFIXES)}"
    raise UserError(f"{top} {found}: {hint}")


def _check_split(top: Path, by_class: dict[str, list[Path]], classes: list[str]) -> None:
    if not by_class:
        raise UserError(
            f"{top} holds no pictures in class folders: name its classes as train does, or move "
            "it elsewhere and a part of train is taken instead"
        )
    for name in by_class:
        if name not in classes:
            known = ", ".join(classes[:5]) + (" ..." if len(classes) > 5 else "")
            raise UserError(f"{top / name} is a class that training lacks (it has {known})")


def _group_keys(names: list[str], part: Ints, split_level: bool) -> list[str]:
    """For each picture its folder within the class, or its own name where it lies in the class.

    Raises UserError for a class of which no picture to split lies in a sub-folder.
    """
    class_at = 1 if split_level else 0
    keys = []
    grouped: dict[str, bool] = {}  # whether a class has sub-folders
    for name, which in zip(names, part, strict=True):
        folders = PurePosixPath(name).parent.parts
        kind, inner = folders[class_at], "/".join(folders[class_at + 1 :])
        keys.append(inner or name)
        if which == UNSPLIT:
            grouped[kind] = grouped.get(kind, False) or bool(inner)
    if flat := [kind for kind, found in grouped.items() if not found]:
        raise UserError(
            f"data.together=true, but class {flat[0]!r} has no sub-folders to keep together: put "
            "what belongs together (a patient, a video) in folders there, or set it to false"
        )
    return keys


def _state(file: Path) -> str:
    """What changes with the file; of a broken link, which counts as unreadable, that it is one."""
    try:
        stat = file.stat()
    except OSError as error:
        return type(error).__name__
    return f"{stat.st_size}\0{stat.st_mtime_ns}"


def _pixels(
    top: Path,
    files: list[Path],
    names: list[str],
    part: Ints,
    max_unreadable: float,
    indices: Ints,
    resolution: int | None,
) -> Pictures:
    state = hashlib.sha256(os.path.realpath(top).encode())
    for i in indices:
        state.update(f"{names[i]}\0{_state(files[i])}\n".encode())
    return decode_cached(
        [partial(Path, files[i]) for i in indices],
        [names[i] for i in indices],
        part[indices] == TRAIN,
        key=state.hexdigest()[:24],
        what=str(top),
        resolution=resolution,
        max_unreadable=max_unreadable,
    )
