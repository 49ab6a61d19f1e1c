"""The networks that a file of weights holds, without running anything that is in it.

Tools leave more than weights in their checkpoints: counters, options, states of optimizers, an
averaged copy.  Of all that only tensors with names such as "blocks.0.conv.weight" are looked at.
"""

from __future__ import annotations

import pickle
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

from nas.core.errors import UserError, unknown
from nas.core.files import user_path
from nas.network.weights import is_one_network

Tensors = dict[str, Tensor]
# What a damaged archive or pickle makes torch raise.
UNREADABLE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, TypeError, ValueError),
    *(pickle.PickleError, struct.error, zlib.error, BadZipFile),
)
FIRST = ("state_dict", "model")  # keys that come before others in a file
AVERAGED = re.compile(r"(?i)(^|[._])(ema|swa|avg|averag\w*)([._]|$)")  # and those that come last
DEPTH = 5  # dicts and lists in one another
# In files from before torch 1.6 torch does not tell which classes they name.
USUAL = (
    *("argparse.Namespace", "collections.defaultdict", "pathlib.PosixPath", "numpy.dtype"),
    *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
)
# No checkpoint of a tool names these: a file that does is refused.
RUN_CODE = {f"builtins.{name}" for name in ("exec", "eval", "compile", "open", "__import__")}


class _Called(type):
    def __call__(cls, *_: object) -> object:
        return object.__new__(cls)  # type: ignore[arg-type]  # cls is a class


class _Nothing(metaclass=_Called):
    """In place of every class and function that is not torch's own: it does nothing.

    Objects that pickle makes by a call keep nothing.  Others, which may be dicts, become dicts.
    """

    def __new__(cls, *_: object) -> Any:
        return Counter()  # of all dicts the one on which torch's reader lets anything be set

    def __setstate__(self, state: object) -> None: ...


def _default_dict(*_: object) -> Counter[Any]:
    return Counter()


def _list(*_: object) -> list[Any]:
    return []  # torch's reader appends to nothing else


def read_weights(path: str | Path, key: str | None = None) -> Tensors:
    """The first of `read_networks`."""
    return next(iter(read_networks(path, key).values()))


def read_networks(path: str | Path, key: str | None = None) -> dict[str, Tensors]:
    """The state dicts in a file, on the CPU: tensors by name, by where they are in the file.

    That is the keys of the dicts around them, and what begins all their names ("module.",
    "model."), with points between them: "" for a plain state dict.  The likeliest comes first, an
    averaged copy last.  `key` leaves those at one place, or below it.

    .safetensors needs that package; every other file is read as torch.save writes it, without
    executing anything in it: objects of classes that are not torch's come out empty.  Raises
    UserError for a file that is missing, damaged or something else.
    """
    path = user_path(path)
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}: give a .pth, .pt or .safetensors")
    found = dict(_networks("", _content(path), DEPTH))
    if not found:
        raise UserError(
            f"{path} holds no state dict, which maps names to tensors: "
            "save one with torch.save(net.state_dict(), path)"
        )
    places = sorted(found, key=_rank)
    chosen = [p for p in places if key is None or _is_within(p, key)]
    if not chosen:
        raise UserError(f"{path}: {unknown('weights.key', key, [p or 'null' for p in places])}")
    return {place: found[place] for place in chosen}


def _rank(place: str) -> tuple[bool, list[bool]]:
    return bool(AVERAGED.search(place)), [not _is_within(place, key) for key in FIRST]


def _is_within(place: str, key: str) -> bool:
    return f"{place}.".startswith(f"{key}.")


def check_sums(path: Path) -> None:
    """Raise one of `UNREADABLE` where a bit of what torch.save wrote is another."""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            if broken := archive.testzip():  # torch does not look at the sums
                raise BadZipFile(broken)


def _content(path: Path) -> Any:
    unreadable = UNREADABLE
    try:
        if path.suffix == ".safetensors":
            unreadable = (*unreadable, import_module("safetensors").SafetensorError)
            return import_module("safetensors.torch").load_file(path)
        check_sums(path)
        with torch.serialization.safe_globals(_harmless(path)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise UserError(f"{path.name} needs a package: pip install safetensors") from error
    except unreadable as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}): bring the file again, "
            "or save the state dict alone with torch.save"
        ) from error


def _harmless(path: Path) -> list[Any]:
    """Stand-ins for all classes and functions that the file names, but those of `RUN_CODE`."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        names = list(USUAL)
    stand_ins: dict[str, Any] = {name: _Nothing for name in names if name not in RUN_CODE}
    stand_ins["collections.defaultdict"] = _default_dict
    stand_ins["collections.deque"] = _list
    return [(stand_in, name) for name, stand_in in stand_ins.items()]


def _networks(place: str, content: Any, depth: int) -> Iterator[tuple[str, Tensors]]:
    """The state dicts in `content` by place: its own tensors, then those of what is inside."""
    if isinstance(content, list | tuple):
        content = {str(number): value for number, value in enumerate(content)}
    if not isinstance(content, Mapping):
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    yield from _parts(place, {key: t for key, t in named.items() if isinstance(t, Tensor)})
    for key, value in named.items():
        if depth:
            yield from _networks(_joined(place, key), value, depth - 1)


def _parts(place: str, tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """A state dict by place, and where its modules are of no known network, its parts too.

    A prefix of all names is taken off, and whatever is beside the one part, or the network, that
    has convolutions: a loss, counters.
    """
    state = {key: t for key, t in tensors.items() if "." in key}  # others belong to no layer
    parts: dict[str, Tensors] = {}
    for key, tensor in state.items():
        name, _, rest = key.partition(".")
        parts.setdefault(name, {})[rest] = tensor
    if len(parts) > 1:
        with_convolutions = {name for name, p in parts.items() if _has_convolutions(p)}
        if with_convolutions and is_one_network(with_convolutions):
            own = {name for name in parts if is_one_network(with_convolutions | {name})}
            state = {key: t for key, t in state.items() if key.partition(".")[0] in own}
            parts = {}
        parts = {name: p for name, p in parts.items() if name in with_convolutions}
    inside = [found for name, p in parts.items() for found in _parts(_joined(place, name), p)]
    if state and not (len(parts) == 1 and inside):
        yield place, state
    yield from inside


def _has_convolutions(tensors: Tensors) -> bool:
    return any(tensor.ndim == 4 for tensor in tensors.values())


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
