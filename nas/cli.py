"""What every command line shares: Hydra's composition, help, errors in one line.

Hydra composes the configuration and parses overrides; its own entry point is not used, because
it prints mistakes over several lines, exits with 1, and changes folder and logging.
"""

from __future__ import annotations

import errno
import math
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nas.errors import UserError, unknown

if TYPE_CHECKING:
    from nas.arch import Arch
    from nas.data import ImageData

# Beside the package in a checkout, inside it in an installed wheel.
CONF = next(
    p
    for p in (Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf")
    if (p / "search.yaml").is_file()
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk or quota answers
SMALL_BELOW = 96  # pixels, the smallest input that MobileNetV1 and V2 were published with;
SMALL_WIDTH = 0.25  # on smaller ones as thin as the thinnest of them, MobileNetV1's


def main(command: str, run: Callable[[Any], None], about: str) -> None:
    """Compose `conf/<command>.yaml` with the overrides in sys.argv, run, and exit.

    Exit codes: 0, or 2 for a user's mistake (one line, no traceback), or 130 after Ctrl-C.
    """
    arguments = sys.argv[1:]
    try:
        if {"-h", "--help"} & set(arguments):
            print(help_text(command, about))
        elif "--cfg" in arguments:
            print(_yaml(compose(command, [a for a in arguments if a != "--cfg"])))
        else:
            run(compose(command, arguments))
    except UserError as error:
        _say(f"python -m nas.{command}: {error}", sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only be a traceback
        _say("\ninterrupted", sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output went away (say, `| head`), which is no mistake
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123
    except OSError as error:
        if error.errno not in FULL:
            raise
        words = f"cannot write ({error.strerror}): make room, then give the same command again"
        _say(f"python -m nas.{command}: {words}", sys.stderr)
        sys.exit(2)


def _say(text: str, file: TextIO) -> None:
    print(text, file=file)


def compose(command: str, overrides: Sequence[str]) -> Any:
    """The configuration of `command`; every mistake in `overrides` becomes one UserError line."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import (
        ConfigCompositionException,
        MissingConfigException,
        OverrideParseException,
    )

    for word in overrides:
        key = word.partition("=")[0]
        # +sampler.mutation_prob=0.1, for what a group's constructor takes beyond its YAML
        added = key.startswith("+") and (CONF / key[1:].partition(".")[0]).is_dir() and "." in key
        if "=" not in word or not (key[:1].isalpha() or added):
            raise UserError(f"cannot read {word!r}: settings are given as name=value (see --help)")
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra_compose(command, overrides=list(overrides), return_hydra_config=True)
    except MissingConfigException as error:
        raise _missing(str(error)) from None
    except OverrideParseException as error:
        word = next((w for w in overrides if w in str(error)), " ".join(overrides))
        raise UserError(f"cannot read {word!r}: name=value, lists as name=[1,2]") from None
    except ConfigCompositionException as error:
        raise _unknown_setting(command, str(error), overrides) from None
    except (ValueError, TypeError) as error:  # such as data=null
        raise UserError(
            f"cannot use {' '.join(overrides)}: {' '.join(str(error).split())}"
        ) from None
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.choices = {k: v for k, v in cfg.hydra.runtime.choices.items() if "hydra" not in k}
        del cfg["hydra"]
    return cfg


def _missing(message: str) -> UserError:
    found = re.search(r"Could not find '([^']+)'", message)
    group, _, name = found[1].rpartition("/") if found else ("", "", message)
    return unknown(group or "config", name, options(group))


def _unknown_setting(command: str, message: str, overrides: Sequence[str]) -> UserError:
    found = re.search(r"'([^']+)'", message)
    key = found[1] if found else " ".join(message.split())
    groups = [word for word in overrides if (CONF / word.partition("=")[0]).is_dir()]
    return unknown("setting", key, _keys(compose(command, groups)))


def _keys(cfg: Any) -> list[str]:
    """Every setting of a composed configuration, nested ones with dots."""
    from omegaconf import OmegaConf

    def walk(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, value in node.items():
            if not key.startswith("_") and f"{prefix}{key}" != "choices":
                yield f"{prefix}{key}"
                yield from walk(value, f"{prefix}{key}.") if isinstance(value, Mapping) else ()

    plainly = OmegaConf.to_container(cfg)
    assert isinstance(plainly, dict)
    return list(walk({str(k): v for k, v in plainly.items()}, ""))


def options(group: str) -> list[str]:
    """The names that a config group (`space`, `data`, ...) offers."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def help_text(command: str, about: str) -> str:
    """Usage, the groups with their options, and the command's settings as its config says them."""
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    defaults, _, settings = text.partition("\n\n")
    chosen = dict(re.findall(r"^ *- (\w+): (\w+)", defaults, re.MULTILINE))
    lines = [f"usage: python -m nas.{command} [name=value ...]", "", about.strip()]
    if chosen:
        lines += ["", "groups (name=option; the first is the default):"]
        for group, default in chosen.items():
            rest = [o for o in options(group) if o != default]
            lines.append(f"  {group:<10}{', '.join([default, *rest])}")
        lines.append("  every option has settings of its own: group.name=value, shown by --cfg")
    lines += ["", "settings (name=value):"]
    lines += [f"  {line}" for line in settings.strip().splitlines()]
    lines += ["", "-h, --help  this text;  --cfg  the whole configuration as it would be used"]
    return "\n".join(lines)


def _yaml(cfg: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(cfg).strip()


def plain(cfg: Any) -> dict[str, Any]:
    """The configuration as plain dicts and lists, interpolations resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        out = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} must be given: {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise UserError(f"wrong configuration: {' '.join(str(error).split())}") from None
    assert isinstance(out, dict)
    return {str(key): value for key, value in out.items()}


def make(node: Mapping[str, Any], **more: Any) -> Any:
    """Call what `_target_` names with the node's other entries; a UserError inside stays one."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(dict(node), **more, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):
            raise UserError(f"wrong settings for {node['_target_']}: {error.__cause__}") from None
        raise


def number(
    settings: Mapping[str, Any], name: str, low: float, high: float = math.inf, whole: bool = False
) -> Any:
    """The setting `name` as a number in [low, high], or None where it is null."""
    value: Any = settings
    for part in name.split("."):
        value = value[part]
    if value is None:
        return None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not low <= value <= high or (whole and value != int(value)):
        kind = "whole number" if whole else "number"
        top = f" to {high:g}" if high < math.inf else " or more"
        raise UserError(f"{name} must be a {kind} from {low:g}{top}, not {value!r}")
    return int(value) if whole else value


def space_for(settings: dict[str, Any], data: ImageData, resolution: int | None = None) -> Arch:
    """The configured space for these images, at the width that suits them.

    `resolution` in pixels takes the place of the data's; settings["width"] is filled in.
    """
    from nas.compound import for_resolution
    from nas.space import choices

    resolution = resolution or data.resolution
    if settings["width"] is None:
        settings["width"] = SMALL_WIDTH if resolution < SMALL_BELOW else 1.0
    node = settings["space"]
    if node.get("width", 1) is None:
        node["width"] = settings["width"]
    space: Arch = make(node, channels=data.channels, classes=data.num_classes)
    if not choices(space):
        name = settings["choices"]["space"]
        raise UserError(f"space={name} has no choice left: widen its ranges")
    return for_resolution(space, resolution)
