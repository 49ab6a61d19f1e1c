"""Image classification data sets of the Hugging Face hub, or saved in its formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nas.core.checks import check_option
from nas.core.errors import UserError
from nas.core.files import user_path
from nas.data.pictures import Pictures, decode_cached
from nas.data.splits import SPLIT_NAMES, TEST, TRAIN, UNSPLIT, VAL, Ints, Source, by_hash, unit_hash

SPLIT_KEYS = {TRAIN: ("train",), VAL: ("validation", "valid", "val", "dev"), TEST: ("test",)}


def load(
    path: str | None,
    seed: int,
    config: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    val_share: float = 0.15,
    test_share: float = 0.15,
    max_unreadable: float = 0.05,
) -> Source:
    """The data set `path`: a name on the hub, or a local folder (save_to_disk, parquet, pictures).

    Columns are found by their types where there is one candidate only.  A split that is not there
    is taken from train, by a hash of `seed` and row number.  Training settles the classes: those of
    the other splits are told by their names; UserError for one that it lacks.
    """
    if path is None:
        raise UserError("data.path is missing: give a data set's name on the hub, or its folder")
    tables = _load_tables(path, config)
    image_column, label_column = _find_columns(tables[TRAIN], image_column, label_column)
    for which, table in tables.items():
        _check_columns(SPLIT_NAMES[which], table, image_column, label_column)
    classes, labels = _number_classes(tables, label_column)
    part = np.repeat(list(tables), [len(table) for table in tables.values()]).astype(np.int64)
    names = [f"{SPLIT_NAMES[w]}[{row}]" for w, table in tables.items() for row in range(len(table))]
    shares = {w: s for w, s in ((TEST, test_share), (VAL, val_share)) if w not in tables}
    if shares:
        part[part == TRAIN] = UNSPLIT
        part = by_hash(part, labels, classes, unit_hash(names, f"split {seed}"), shares)
    pixels = partial(_pixels, path, tables, image_column, names, part, max_unreadable)
    return Source(classes, labels, part, unit_hash(names, f"order {seed}"), pixels)


def _load_tables(path: str, config: str | None) -> dict[int, Any]:
    """The tables of the data set by part, in the order train, val, test; train is there."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("data=hub needs the package datasets: pip install -e '.[hub]'") from error
    local = user_path(path)
    saved = any((local / name).exists() for name in ("dataset_dict.json", "state.json"))
    if saved and config is not None:
        raise UserError(
            f"data.config={config} chooses nothing in {path}, which save_to_disk made of one "
            "configuration: leave data.config out"
        )
    if not saved:  # or it would make a folder named ~ here
        user_path(datasets.config.HF_DATASETS_CACHE, "set HF_HOME to a folder that can be written")
    try:
        found = datasets.load_from_disk(local) if saved else datasets.load_dataset(path, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise UserError(
            f"cannot load the data set {path!r} ({reason}): check data.path and data.config; "
            "where there is no network, bring a folder made by save_to_disk and give that"
        ) from error
    splits = {"train": found} if isinstance(found, datasets.Dataset) else dict(found)
    keys = {which: [k for k in keys if k in splits][:1] for which, keys in SPLIT_KEYS.items()}
    if not keys[TRAIN]:
        raise UserError(f"data set {path!r} has no split named train (it has {', '.join(splits)})")
    return {which: splits[names[0]] for which, names in keys.items() if names}


def _find_columns(table: Any, image: str | None, label: str | None) -> tuple[str, str]:
    import datasets

    kinds = {name: type(feature) for name, feature in table.features.items()}
    images = [name for name, kind in kinds.items() if kind is datasets.Image]
    labels = [name for name, kind in kinds.items() if kind is datasets.ClassLabel]
    labels = labels or [name for name in ("label", "labels", "class", "target") if name in kinds]
    return _column("image", image, images, kinds), _column("label", label, labels, kinds)


def _column(kind: str, chosen: str | None, fitting: list[str], known: Iterable[str]) -> str:
    """`chosen` if it is a column, or the only fitting one."""
    if chosen is not None:
        check_option(f"data.{kind}_column", chosen, known)
        return chosen
    if len(fitting) != 1:
        found = f"{len(fitting)} columns could be the {kind}"
        raise UserError(f"{found}: give data.{kind}_column, one of {', '.join(fitting or known)}")
    return fitting[0]


def _check_columns(split: str, table: Any, image: str, label: str) -> None:
    """UserError where a split lacks a column, or its labels are of no kind that labels are."""
    import datasets

    for column in (image, label):
        if column not in table.features:
            raise UserError(
                f"the {split} split has no column {column!r} (it has {', '.join(table.features)}): "
                "name its columns as train does, or take the split out"
            )
    feature = table.features[label]
    if not isinstance(feature, datasets.ClassLabel | datasets.Value):
        raise UserError(
            f"column {label!r} of the {split} split is {feature!r:.80}, and labels must be single "
            "numbers or texts: give another one as data.label_column"
        )


def _number_classes(tables: dict[int, Any], column: str) -> tuple[tuple[str, ...], Ints]:
    """Class names of training, and the class numbers of all rows, whose splits number their own."""
    named = {which: _named_labels(table, column) for which, table in tables.items()}
    kinds = getattr(tables[TRAIN].features[column], "names", None) or sorted(set(named[TRAIN]))
    if len(kinds) < 2:
        raise UserError(f"the label column holds one class only ({kinds}); two are needed")
    number = {kind: index for index, kind in enumerate(kinds)}
    for which, rows in named.items():
        if lacking := [kind for kind in rows if kind not in number]:
            known = ", ".join(map(str, kinds[:5])) + (" ..." if len(kinds) > 5 else "")
            raise UserError(
                f"the {SPLIT_NAMES[which]} split has rows of {lacking[0]!r}, a class that training "
                f"lacks (it has {known}): name its classes as train does, or take these rows out"
            )
    labels = [number[kind] for rows in named.values() for kind in rows]
    return tuple(map(str, kinds)), np.array(labels, np.int64)


def _named_labels(table: Any, column: str) -> list[Any]:
    """The label of each row: the name that the split has for its number, or what the row holds."""
    rows, names = table[column][:], getattr(table.features[column], "names", None)
    if any(value is None or (names is not None and value < 0) for value in rows):
        raise UserError("some rows have no label: take them, or the unlabelled split, out")
    if names is None:
        return list(rows)
    if rows and max(rows) >= len(names):
        raise UserError(
            f"the label column holds the number {max(rows)}, and has {len(names)} names, from 0: "
            "mend the row, or name its class"
        )
    return [names[value] for value in rows]


def _encoded(table: Any, column: str) -> Any:
    """The table with its pictures as the bytes or the path of a file; UserError for no pictures."""
    import datasets

    try:
        return table.cast_column(column, datasets.Image(decode=False))
    except (NotImplementedError, TypeError, ValueError) as error:  # what PyArrow raises
        raise UserError(
            f"column {column!r} is {table.features[column]!r:.80}, which is no kind of pictures: "
            "give another one as data.image_column"
        ) from error


def _open_picture(table: Any, column: str, row: int) -> Path | BinaryIO:
    cell = table[row][column]
    if not cell:
        raise ValueError("no picture in this row")
    return BytesIO(cell["bytes"]) if cell["bytes"] is not None else Path(cell["path"])


def _pixels(
    path: str,
    tables: dict[int, Any],
    column: str,
    names: list[str],
    part: Ints,
    max_unreadable: float,
    indices: Ints,
    resolution: int | None,
) -> Pictures:
    encoded = [_encoded(table, column) for table in tables.values()]
    where = [(table, row) for table in encoded for row in range(len(table))]
    state = hashlib.sha256(" ".join(t._fingerprint for t in tables.values()).encode())
    state.update(column.encode() + indices.tobytes())
    return decode_cached(
        [partial(_open_picture, where[i][0], column, where[i][1]) for i in indices],
        [names[i] for i in indices],
        part[indices] == TRAIN,
        key=state.hexdigest()[:24],
        what=path,
        resolution=resolution,
        max_unreadable=max_unreadable,
    )
