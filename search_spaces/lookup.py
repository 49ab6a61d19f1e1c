"""Networks by name: published ones, what `arch=` names, members of a space."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

from nas.arch.arch import Arch, Head, ImageSpec, Stage
from nas.arch.operators import network_id
from nas.arch.scaling import for_resolution, scaled
from nas.arch.serialization import is_file, load
from nas.core.errors import UserError, unknown
from nas.core.files import user_path
from nas.space.choices import Picks, fill, picks_of
from nas.space.configured import SMALL_BELOW
from search_spaces import nas_bench_macro
from search_spaces.dense import parts_of as dense_parts
from search_spaces.dense import with_head
from search_spaces.published import MAKERS, RESOLUTIONS, tensorflow

# The baseline where no search has been run, and its width on small images: a fit of it takes
# minutes there, less than half as long as of MobileNetV2, whose blocks are more and thinner.
FALLBACK, FALLBACK_WIDTH = "mobilenet_v3_small", 0.35


def resolve_network(name: str, width: float | None = None) -> tuple[Arch, str]:
    """The network that `arch=` names, a published one or a YAML file, and where it is from.

    `width` multiplies its channels.  Raises UserError for a name or a file that is none.
    """
    if is_file(name):
        path = Path(name)
        arch = load(path)
        stem = f"{path.parent.name}_winner" if path.name == "winner.yaml" else path.stem
        arch = scaled(arch, width=width) if width else arch
        return replace(arch, name=arch.name or stem), f"from {name}"
    _check_no_folder(name)
    full = name
    if width:
        dense = dense_parts(name)
        backbone = dense[2] if dense else name
        full = name.removesuffix(backbone) + at_width(backbone, width)
    if width and width != 1 and full == name and name in PUBLISHED:
        raise UserError(f"arch={name} has its width already: drop width={width}")
    return PUBLISHED[full], "published"


def _check_no_folder(name: str) -> None:
    """UserError for a folder, of a search or a training, in the place of a network in it."""
    if name not in PUBLISHED and (folder := user_path(name)).is_dir():
        kept = (file for file in ("winner.yaml", "network.yaml") if (folder / file).is_file())
        file = next(kept, "winner.yaml")
        raise UserError(f"arch={name} is a folder: give arch={name.rstrip('/')}/{file}")


def side_of_head(name: str | None) -> int | None:
    """The input's side of a network that brings a head for boxes or masks; None for others."""
    arch = resolve_network(name)[0] if name else None
    return arch.resolution if arch and arch.dense else None


def check_published(name: str, dense: bool = False) -> None:
    """UserError for what is no published network, or one for boxes or masks unless `dense`."""
    if PUBLISHED[name].dense and not dense:
        raise UserError(
            f"{name} answers boxes or masks, and a network for classes is asked for: give a "
            "backbone alone, such as mobilenet_v3_large"
        )


def check_target(target: float | str | None, dense: bool = False) -> None:
    """UserError for a target that is neither milliseconds nor such a published network."""
    if isinstance(target, str) and not target[:1].isalpha():
        raise UserError(
            f"target must be milliseconds, a number, or a published network, not {target!r}"
        )
    if isinstance(target, str):
        check_published(target, dense)


def resolve_baseline(
    name: str | None,
    results: str | Path,
    images: Callable[[], ImageSpec],
    *,
    trained: bool,
    resolution: int | None = None,
    classes_only: bool = True,
) -> tuple[Arch, str]:
    """The network to scale or to train from scratch, and where it is from.

    Without a `name` it is the newest winner of a search under `results`, else a small published
    network.  What is to be `trained` gets the channels and classes of the images, and a published
    network their resolution too; `resolution`, in pixels, overrides all others.  With
    `classes_only` winners for boxes or masks are passed over, and one that is named is a UserError.
    """
    name = newest_winner(results, classes_only) if name is None else name
    if name == "":
        small = (resolution or images().resolution) < SMALL_BELOW
        name = at_width(FALLBACK, FALLBACK_WIDTH) if small else FALLBACK
        return _sized(name, images(), resolution), "published, sized for the data"
    arch, origin = resolve_network(name)
    if classes_only and arch.dense:
        raise UserError(
            f"arch={name} answers boxes or masks, and only networks for classes can be taken here: "
            "give another"
        )
    if trained and not is_file(name):
        return _sized(name, images(), resolution), f"{origin}, sized for the data"
    if trained:  # a head for boxes or masks has classes of its own, and begins anew for others
        classes = arch.classes if arch.dense else images().classes
        arch = replace(arch, channels=images().channels, classes=classes)
    return replace(arch, resolution=resolution or arch.resolution), origin


def newest_winner(results: str | Path, classes_only: bool) -> str:
    """The file of the newest search's winner under `results`; "" where there is none."""
    winners = Path(results).glob("search/*/winner.yaml")
    newest = sorted(winners, key=lambda path: path.stat().st_mtime, reverse=True)
    return str(next((path for path in newest if not (classes_only and load(path).dense)), ""))


def _sized(name: str, images: ImageSpec, resolution: int | None) -> Arch:
    """The published network `name` for such images, at `resolution` pixels if given.

    Its batch norms and dropout are those of short trainings and not of its paper; a head for boxes
    or masks stays.
    """
    like = Arch(
        stages=(Stage(width=8),),
        head=Head(dropout=0.0),
        resolution=resolution or images.resolution,
        channels=images.channels,
        classes=images.classes,
        dense=PUBLISHED[name].dense,
    )
    return adapted(name, like)


# name, width multiplier and resolution of an official checkpoint's name
_NAME = re.compile(r"(?P<tf>tf_)?(?P<base>.+?)(_(?P<width>\d+\.\d+))?(_(?P<resolution>\d{2,4}))?")
_MACRO = "nas_bench_macro_"


class _Published(Mapping[str, Arch]):
    """Networks by name, each made when asked for; iteration lists names without suffixes."""

    def __getitem__(self, name: str) -> Arch:
        if not isinstance(name, str):
            raise UserError(f"a published network is known by its name, not by {name!r:.60}")
        return replace(_make(name), name=name)

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(_make(name))
        except UserError:
            return False

    def __iter__(self) -> Iterator[str]:
        yield from MAKERS
        yield from (_MACRO + "".join(code) for code in product("012", repeat=8))

    def __len__(self) -> int:
        return len(MAKERS) + 3**8


@cache
def _make(name: str) -> Arch:
    if name.startswith(_MACRO):
        return nas_bench_macro.network(name.removeprefix(_MACRO))
    if dense := dense_parts(name):
        head, side, backbone = dense
        return with_head(head, side, _make(backbone), backbone)
    match = _NAME.fullmatch(name)
    if not match or match["base"] not in MAKERS:
        raise unknown("network", name, [*MAKERS, f"{_MACRO}22212220"])
    own = RESOLUTIONS.get(match["base"], 224)
    width, resolution = float(match["width"] or 1), int(match["resolution"] or own)
    for setting, value, low, high in (
        ("width", width, 0.05, 16),
        ("resolution", resolution, 1, 8192),
    ):
        if not low <= value <= high:
            raise UserError(f"{name}: its {setting} must be from {low} to {high}, not {value}")
    arch = MAKERS[match["base"]](width, resolution, bool(match["tf"]))
    return tensorflow(arch) if match["tf"] else arch


PUBLISHED: Mapping[str, Arch] = _Published()


def at_width(name: str, width: float) -> str:
    """`name` with the multiplier `width` in it, unless it says its own: mobilenet_v2_0.35."""
    match = _NAME.fullmatch(name)
    if width == 1 or not match or match["width"] or match["base"] not in MAKERS:
        return name
    suffix = f"_{match['resolution']}" if match["resolution"] else ""
    return f"{name.removesuffix(suffix)}_{float(width)}{suffix}"


def plain_name(name: str) -> str:
    """`name` without its resolution, and without a width of 1: mobilenet_v2 for ..._1.0_160."""
    match = _NAME.fullmatch(name)
    if not match or match["base"] not in MAKERS:
        return name
    wide = f"_{match['width']}" if float(match["width"] or 1) != 1 else ""
    return f"{match['tf'] or ''}{match['base']}{wide}"


def adapted(name: str, space: Arch) -> Arch:
    """The published network `name` for the input, classes and training constants of `space`.

    A backbone gets the head of `space`; UserError for a network that brings another head.
    """
    arch = PUBLISHED[name]
    if arch.dense and (space.dense is None or space.dense.op != arch.dense.op):
        wanted = f"the head {space.dense.op}" if space.dense else "a network for classes"
        raise UserError(
            f"{name} has the head {arch.dense.op}, and {wanted} is asked for: give a backbone "
            "alone, such as mobilenet_v3_large"
        )
    return replace(
        for_resolution(arch, space.resolution),
        channels=space.channels,
        classes=space.classes,
        bn_eps=space.bn_eps,
        bn_momentum=space.bn_momentum,
        drop_path=space.drop_path,
        head=replace(arch.head, dropout=space.head.dropout),
        dense=space.dense,
    )


def members(space: Arch, width: float = 1.0) -> dict[str, Picks]:
    """Picks of the published networks that `space` contains, at `width` or their own, by name."""
    found: dict[str, Picks] = {}
    ids = set()
    for name in dict.fromkeys([*(at_width(n, width) for n in MAKERS), *MAKERS]):
        try:
            picks = picks_of(space, adapted(name, space))
        except UserError:
            continue  # not in the space
        key = network_id(fill(space, picks))
        if key not in ids:
            found[name] = picks
            ids.add(key)
    return found
