"""Which folders hold the classes, which hold splits, and what in them is no picture."""

from __future__ import annotations

import logging
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import NoReturn

import numpy as np

from nas.core.errors import UserError
from nas.data.decoding import is_picture
from nas.data.splits import TEST, TRAIN, VAL, Ints

log = logging.getLogger(__name__)

OF_PICTURES = (
    "(?:set|data|dataset|images?|imgs?|pictures?|photos?|samples?|split|folder|seg|crop(?:ped|s)?"
    "|(?:19|20)[0-9]{2})"
)
SPLIT_FOLDERS = {  # names of splits, with OF_PICTURES before or behind: test, TrainSet, val_images
    TRAIN: "train|training",
    VAL: "val|valid|validation|validating|dev|eval|evaluation",
    TEST: "test|testing|hold[-_ ]?out|held[-_ ]?out",
}
LIKE_SPLITS = "|".join(
    [*SPLIT_FOLDERS.values(), "held|hold|part|split|fold|(?:sub|data)?set|batch"]
)
DEEPEST = 5  # lone folders in one another to look into
HIDDEN = (
    ".",
    "__",
    "@eaDir",
)  # names that begin so are passed over (the last: Synology's previews)
LISTED = 5  # kinds of files, or names, of which a message tells


def _refuse(error: OSError) -> NoReturn:
    raise UserError(
        f"{error.filename} cannot be read ({error.strerror}): mend it, remove it, or rename it to "
        "begin with __ to leave it out"
    ) from error


def _visible(top: Path) -> list[Path]:
    """The folders in `top` that are not to be passed over; UserError where it cannot be read."""
    try:
        with os.scandir(top) as entries:
            return sorted(Path(e) for e in entries if e.is_dir() and not e.name.startswith(HIDDEN))
    except OSError as error:
        _refuse(error)


def _pass_over(paths: Iterable[Path], passed: Counter[str]) -> None:
    """Count by kind what is no picture of a class; UserError for what may have held some."""
    for path in paths:
        hidden = path.name.startswith(HIDDEN)
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode if hidden else path.stat().st_mode)
        except OSError as error:
            _refuse(error)
        kind = "hidden" if hidden else path.suffix.lower() or "without suffix"
        passed[f"folder {path.name}" if is_folder else kind] += 1


def walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder below `top`, with the names of its hidden folders and of its files.

    Links are followed after all else, and not in a ring; hidden folders are not gone into.
    UserError where a folder cannot be read.
    """
    todo, seen = [top], set()
    while todo:
        for path, folders, files in os.walk(todo.pop(0), onerror=_refuse):
            real = os.path.realpath(path)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            hidden = [f for f in folders if f.startswith(HIDDEN)]
            folders[:] = sorted(set(folders) - set(hidden))
            todo += [link for f in folders if (link := Path(path, f)).is_symlink()]
            yield Path(path), hidden, files


def _pictures(top: Path, passed: Counter[str]) -> list[Path]:
    """Paths of the pictures below `top`, in order; what else there is, is counted in `passed`."""
    found = []
    for path, hidden, files in walk(top):
        shown = [path / name for name in files if not name.startswith(HIDDEN)]
        mine = [file for file in shown if is_picture(file)]
        found += mine
        _pass_over({path / name for name in (*hidden, *files)} - set(mine), passed)
    return sorted(found, key=lambda file: (file.parent.parts, file.name))


def _named(words: str) -> str:
    """The pattern of names of folders that those words are for."""
    return rf"({OF_PICTURES}[-_. ]?)?({words})([-_. ]?{OF_PICTURES})*"


def _split_of(name: str) -> int | None:
    """TRAIN, VAL or TEST for the usual names of such folders."""
    for which, words in SPLIT_FOLDERS.items():
        if re.fullmatch(_named(words), name.lower()):
            return which
    return None


def _plain(name: str) -> str:
    """The same for names that differ in case, in spaces around, or in how accents are kept."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def _inner(path: Path) -> dict[str, str]:
    """Names of the folders in `path`, by plain name: where there is one, of those in it."""
    held = _visible(path)
    for _ in range(DEEPEST):
        if len(held) != 1 or not (deeper := _visible(held[0])):
            break
        held = deeper
    return {_plain(sub.name): sub.name for sub in held}


def _split_folders(top: Path, together: bool) -> dict[int, Path]:
    """The split folders of `top`, in the order train, val, test; none where it holds classes.

    They count as such when train is among them, alone or with another one.  UserError where
    folders look like splits, but which is which cannot be told.
    """
    folders = _visible(top)
    named: dict[int, list[Path]] = {}
    for path in folders:
        if (which := _split_of(path.name)) is not None:
            named.setdefault(which, []).append(path)
    no_others = sum(map(len, named.values())) == len(folders)
    if not named or not (no_others or (TRAIN in named and len(named) > 1)):
        _refuse_splits(top, folders, together)
        return {}
    if TRAIN not in named:
        found = ", ".join(path.name for path in folders)
        raise UserError(
            f"{top} holds {found} and no train folder: add it, or give one of them as data.root"
        )
    for same in named.values():
        if len(same) > 1:
            raise UserError(
                f"{same[0]} and {same[1].name} are both names of one split: put them together, or "
                "rename one to begin with __ to leave it out"
            )
    return {which: same[0] for which, same in sorted(named.items())}


def _refuse_splits(top: Path, folders: list[Path], together: bool) -> None:
    """UserError where folders hold the classes: by what they hold, or by one name alone.

    Kept `together`, sub-folders of the same name are groups.
    """
    inner = {path.name: _inner(path) for path in folders}
    nested = [name for name, held in inner.items() if len(held) > 1]
    flat = [name for name, held in inner.items() if not held]
    if not together and (shared := _shared(inner)):
        found = f"{shared}, as splits do and classes do not"
    elif flat and (named := [name for name in nested if _split_of(name) is not None]):
        found = f"{named[0]!r} holds folders, as a split does, and {flat[0]!r} does not"
    else:
        return
    raise UserError(
        f"{top}: {found}: name splits train, val and test, and other folders to begin with __; if "
        "these are classes, rename the folders in them, or set data.together=true"
    )


def _shared(inner: dict[str, dict[str, str]]) -> str:
    """Two folders that hold the same ones: several, or one where both are named like parts."""
    part = rf"(?<![a-z]){_named(LIKE_SPLITS)}(?![a-z])"
    like = {name for name in inner if re.search(part, name.lower())}
    for a, b in combinations([name for name, held in inner.items() if held], 2):
        both = inner[a].keys() & inner[b].keys()
        if len(both) > 1 or (both and {a, b} <= like):
            names = ", ".join(sorted(inner[a][name] for name in both)[:LISTED])
            return f"{a!r} and {b!r} both hold {names}"
    return ""


def list_pictures(
    top: Path, together: bool, passed: Counter[str]
) -> tuple[tuple[str, ...], list[Path], Ints, Ints, bool]:
    """Classes; paths, labels and parts of all pictures; whether there are split folders."""
    own = _split_folders(top, together)
    classes: list[str] = []
    files: list[Path] = []
    labels: list[int] = []
    part: list[int] = []
    if own:
        _pass_over(set(top.iterdir()) - set(own.values()), passed)
    for which, split_top in (own or {TRAIN: top}).items():  # training settles the classes
        by_class = _by_class(split_top, passed)
        if which == TRAIN:
            _check_classes(split_top, by_class)
            classes = list(by_class)
            _warn_of_names(classes)
        _check_split(split_top, by_class, classes)
        for name, found in by_class.items():
            files += found
            labels += [classes.index(name)] * len(found)
            part += [which] * len(found)
    return tuple(classes), files, np.array(labels, np.int64), np.array(part, np.int64), bool(own)


def _by_class(top: Path, passed: Counter[str]) -> dict[str, list[Path]]:
    """The pictures of each class folder in `top`; UserError where one has none."""
    folders = _visible(top)
    _pass_over(set(top.iterdir()) - set(folders), passed)
    by_class = {p.name: _pictures(p, passed) for p in folders}
    empty = [name for name, found in by_class.items() if not found]
    if empty and len(empty) < len(folders):
        raise UserError(
            f"class folder {top / empty[0]} holds no pictures: add some, remove it, or rename it "
            f"to begin with __ to leave it out ({len(empty)} of {len(folders)} folders are so)"
        )
    return {} if empty else by_class


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
    elif loose := sum(map(is_picture, top.iterdir())):
        found, hint = f"holds {loose} pictures but no class folders", "put each class in a folder"
    else:
        found = "holds no pictures in class folders"
        hint = "give the folder that holds one folder of pictures per class"
    raise UserError(f"{top} {found}: {hint}")


def _warn_of_names(classes: list[str]) -> None:
    """Say where two classes have one name but for case, spaces or how accents are kept."""
    first: dict[str, str] = {}
    for name in classes:
        if (other := first.setdefault(_plain(name), name)) != name:
            log.warning(
                f"{other!a} and {name!a} are read as two classes: if they are one, put their "
                "pictures in one folder"
            )


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
