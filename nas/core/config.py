"""The configuration of a command: composed by Hydra from conf/ and what the user gave.

Hydra's own entry point is not used: it prints mistakes over several lines, exits with 1, and
changes folder and logging.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from hydra import compose as hydra_compose
from hydra import errors, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from nas.core.cli import CONF, options
from nas.core.errors import UserError, unknown


@dataclass(frozen=True)
class Component:
    """One option of a group of conf/: its name, and the call that its YAML stands for."""

    name: str
    node: Mapping[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the call is given, without what names it."""
        return {key: value for key, value in self.node.items() if not key.startswith("_")}

    def updated(self, **arguments: Any) -> Component:
        """The same call with other arguments."""
        return replace(self, node={**self.node, **arguments})

    def filled(self, **arguments: Any) -> Component:
        """The same call, with these arguments where its YAML leaves them null."""
        null = {key for key, value in self.node.items() if value is None}
        return self.updated(**{key: arguments[key] for key in arguments.keys() & null})

    def make(self, **more: Any) -> Any:
        """Call what `_target_` names; a UserError inside stays one."""
        try:
            return instantiate(dict(self.node), **more, _convert_="all")
        except errors.InstantiationException as error:
            cause = error.__cause__
            if isinstance(cause, UserError):
                raise cause from None
            if isinstance(cause, TypeError):
                raise UserError(f"wrong settings for {self.node['_target_']}: {cause}") from None
            if isinstance(cause, ImportError):  # of a class or module of the user's
                raise UserError(" ".join(str(cause).split())) from None
            raise


def config_of(settings: Any) -> dict[str, Any]:
    """A command's settings, a dataclass, as config.yaml shows them: groups as their YAML does."""
    config = {field.name: getattr(settings, field.name) for field in fields(settings)}
    groups = {key: value for key, value in config.items() if isinstance(value, Component)}
    config |= {group: dict(component.node) for group, component in groups.items()}
    return config | {"choices": {group: component.name for group, component in groups.items()}}


def compose(command: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of `command`, groups as Components, after what the user gave.

    `overrides` are words as on the command line: "data=folder", "target=1.5".
    """
    cfg = compose_config(command, overrides)
    try:
        out: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} must be given: {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise UserError(f"wrong configuration: {' '.join(str(error).split())}") from None
    for group, name in out.pop("choices").items():
        if group in out:
            out[group] = Component(name, out[group])
    return dict(out)


def compose_config(command: str, overrides: Sequence[str]) -> Any:
    """The configuration of `command` as Hydra composes it, with the chosen options."""
    for word in overrides:
        key = word.partition("=")[0]
        # +sampler.mutation_prob=0.1, for what a group's constructor takes beyond its YAML
        added = key.startswith("+") and (CONF / key[1:].partition(".")[0]).is_dir() and "." in key
        if "=" not in word or not (key[:1].isalpha() or added):
            raise UserError(f"cannot read {word!r}: settings are given as name=value (see --help)")
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra_compose(command, overrides=list(overrides), return_hydra_config=True)
    except errors.MissingConfigException as error:
        raise _missing(str(error)) from None
    except errors.OverrideParseException as error:
        word = next((w for w in overrides if w in str(error)), " ".join(overrides))
        raise UserError(f"cannot read {word!r}: name=value, lists as name=[1,2]") from None
    except errors.ConfigCompositionException as error:
        raise _unknown_setting(command, str(error), overrides) from None
    except (ValueError, TypeError) as error:  # such as data=null
        reason = " ".join(str(error).split())
        raise UserError(f"cannot use {' '.join(overrides)}: {reason}") from None
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
    return unknown("setting", key, _keys(OmegaConf.to_container(compose_config(command, groups))))


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every setting of a configuration, nested ones with dots."""
    for key, value in node.items():
        if not key.startswith("_") and f"{prefix}{key}" != "choices":
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else ()


def show_if_asked(command: str, arguments: Sequence[str]) -> None:
    """With `--cfg` among the words, print the whole configuration that they make, and exit."""
    if "--cfg" in arguments:
        words = [word for word in arguments if word != "--cfg"]
        print(OmegaConf.to_yaml(compose_config(command, words)).strip())
        sys.exit(0)
