"""The configuration of a command: composed by Hydra from conf/ and what the user gave.

Hydra's own entry point is not used: it prints mistakes over several lines, exits with 1, and
changes folder and logging.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import errors, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import InterpolationKeyError

from nas.core.cli import CONF, options
from nas.core.errors import UserError, unknown
from nas.core.files import parse_yaml
from nas.core.typed import Given, hints_of, typed

ONE_TASK = (
    "task=classification is all that there is here, and need not be given: boxes and masks are for "
    "python -m nas.train or nas.search, task=detection or task=segmentation"
)


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
            if isinstance(cause, ImportError):  # of a class or module of the user's
                raise UserError(" ".join(str(cause).split())) from None
            raise


def usual(group: str, option: str) -> Component:
    """An option of a group as it is where nothing of it is given."""
    text = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8")
    return Component(option, parse_yaml(text))


def config_of(settings: Any) -> dict[str, Any]:
    """A command's settings, a dataclass, as config.yaml shows them: groups as their YAML does."""
    config = {field.name: getattr(settings, field.name) for field in fields(settings)}
    groups = {key: value for key, value in config.items() if isinstance(value, Component)}
    config |= {group: dict(component.node) for group, component in groups.items()}
    return config | {"choices": {group: component.name for group, component in groups.items()}}


def compose(command: str, settings: type, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of `command`, groups as Components, after what the user gave.

    `overrides` are words as on the command line: "data=folder", "target=1.5".  What stands after
    the first "=" is read as the parameter asks that it goes to: a field of `settings`, or of the
    call that a group stands for.  UserError for what it cannot be.
    """
    config, choices = _composed(command, overrides)
    hints = hints_of(settings)
    plain = [key for key in config if key not in choices and not key.startswith("_")]
    out = {key: _read(key, hints[key], config[key]) for key in plain}
    for group in config.keys() & choices.keys():
        out[group] = Component(choices[group], _read(group, Any, config[group]))
    return out


def _read(name: str, hint: Any, value: Any) -> Any:
    """A setting as its parameter asks for it; a null that nobody gave leaves it open."""
    if isinstance(value, Mapping):
        known = parameters(name, value, hint)
        for key in value:
            if not key.startswith("_") and key not in known and "**" not in known:
                raise unknown("setting", f"{name}.{key}", known)
        parts = {k: _read(f"{name}.{k}", known.get(k, Any), part) for k, part in value.items()}
        return hint(**parts) if _is_settings(hint) and "_target_" not in value else parts
    return None if value is None else typed(name, hint, value)


def _is_settings(hint: Any) -> bool:
    """Whether it is a class of settings, such as limits."""
    return isinstance(hint, type) and is_dataclass(hint)


def parameters(name: str, node: Mapping[str, Any], hint: Any) -> Mapping[str, Any]:
    """What the parts of a group may be; texts where it stands for no call."""
    if "_target_" not in node:
        return hints_of(hint) if _is_settings(hint) else dict.fromkeys(node, str | None)
    try:
        module, _, call = str(node["_target_"]).rpartition(".")
        return hints_of(getattr(import_module(module), call))
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # of the user's own
        reason = " ".join(str(error).split())
        raise UserError(f"{name}._target_={node['_target_']} cannot be had: {reason}") from None


def _composed(command: str, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration as plain data, what the user gave as `Given`; the option of each group."""
    words, groups = dict(_split(word) for word in overrides), groups_of(command)
    options_given = {key: text for key, text in words.items() if key.partition("@")[0] in groups}
    cfg = _compose_groups(command, options_given)
    choices = {k: v for k, v in cfg.hydra.runtime.choices.items() if "hydra" not in k}
    known = list(_keys(OmegaConf.to_container(cfg)))
    texts: dict[str, Given] = {}
    with open_dict(cfg):
        del cfg["hydra"]
        for key in words.keys() - options_given.keys():
            name = key.removeprefix("+")
            if name == "task" and name not in known:
                raise UserError(ONE_TASK)
            if name == key and name not in (*known, *(f"{group}._target_" for group in choices)):
                raise _unknown_setting(name, known, choices)
            if OmegaConf.is_dict(OmegaConf.select(cfg, name)):
                another = next((f", or {k}=NAME" for k in choices if k.endswith(f"@{name}")), "")
                raise UserError(
                    f"{name} has parts: give them one by one, {name}.NAME=value{another}"
                )
            token = f"\0{len(texts)}"  # Hydra's grammar never sees what the user gave
            texts[token] = Given(words[key])
            OmegaConf.update(cfg, name, token, force_add=True)
    if missing := _missing(OmegaConf.to_container(cfg)):
        raise UserError(f"{missing[0]} must be given: {missing[0]}=...")
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationKeyError as error:  # of an option that reads settings of nas.search alone
        group = str(error.full_key).partition(".")[0]
        raise UserError(
            f"{group}={choices[group]} is for python -m nas.search weights=pretrained arch=...: "
            f"give nas.{command} another {group}="
        ) from None
    return _replaced(config, texts), choices


def _unknown_setting(name: str, known: Sequence[str], choices: Mapping[str, str]) -> UserError:
    """An error for a setting that there is not, or is of another option of its group."""
    group, *path = name.split(".")
    others = set(options(group)) - {choices[group]} if path and group in choices else ()
    if having := sorted(option for option in others if _has(group, option, path)):
        return UserError(
            f"{name} is of {group}={', '.join(having)}, and {group}={choices[group]} is chosen: "
            f"choose one of those with {group}= too"
        )
    return unknown("setting", name, known)


def _has(group: str, option: str, path: Sequence[str]) -> bool:
    """Whether the file of an option has the setting that `path` leads to."""
    node = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
    node = node.get(group, node)  # of weights, which are beside a choice of budget
    for key in path:
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return True


def _missing(node: Any, prefix: str = "") -> list[str]:
    """The settings without a value, which must have one."""
    if isinstance(node, Mapping):
        parts = (_missing(value, f"{prefix}.{key}".lstrip(".")) for key, value in node.items())
        return [key for found in parts for key in found]
    return [prefix] if node == "???" else []


def _replaced(value: Any, texts: Mapping[str, Given]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(part, texts) for key, part in value.items()}
    return texts.get(value, value) if isinstance(value, str) else value


def _split(word: str) -> tuple[str, str]:
    """The key and the text of "key=text"."""
    key, equals, text = word.partition("=")
    # +sampler.mutation_prob=0.1, for what a group's constructor takes beyond its YAML
    added = key.startswith("+") and (CONF / key[1:].partition(".")[0]).is_dir() and "." in key
    named = re.fullmatch(r"[A-Za-z]\w*([.@][A-Za-z]\w*|\._target_)*", key.removeprefix("+" * added))
    if not equals or not named or "\0" in text or (added and "._" in key):
        raise UserError(f"cannot read {word!r}: settings are given as name=value (see --help)")
    if not text.strip():
        raise UserError(f"{key} is given nothing: write {key}=value, or leave it out")
    return key, text


def groups_of(command: str) -> set[str]:
    """The groups of conf/ that the command chooses from, here or within another."""
    defaults, _, _ = (CONF / f"{command}.yaml").read_text(encoding="utf-8").partition("\n\n")
    return set(re.findall(r"^ *- (\w+):", defaults, re.MULTILINE))


def _compose_groups(command: str, chosen: Mapping[str, str]) -> Any:
    """The configuration of `command` as Hydra composes it, with the `chosen` options of groups."""
    for group, option in chosen.items():
        known = options(group.partition("@")[0])
        if option not in known:
            error = unknown(group, option, known)
            raise UserError(f"{error}; one at a time") if "," in option else error
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            words = [f"{group}={option}" for group, option in chosen.items()]
            return hydra_compose(command, overrides=words, return_hydra_config=True)
    except errors.ConfigCompositionException as error:
        found = re.search(r"'([^']+)'", str(error))
        key = found[1] if found else " ".join(str(error).split())
        known = list(_keys(OmegaConf.to_container(_compose_groups(command, {}))))
        raise unknown("setting", key, known) from None


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every setting of a configuration, nested ones with dots."""
    for key, value in node.items():
        if not key.startswith("_") and f"{prefix}{key}" != "hydra":
            yield f"{prefix}{key}"
            yield from _keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else ()


def show_if_asked(command: str, settings: type, arguments: Sequence[str]) -> None:
    """With `--cfg` among the words, print the whole configuration that they make, and exit."""
    if "--cfg" in arguments:
        config = compose(command, settings, [word for word in arguments if word != "--cfg"])
        for key, value in config.items():
            value = value.node if isinstance(value, Component) else value
            config[key] = vars(value) if _is_settings(type(value)) else value
        print(yaml.safe_dump(config, sort_keys=False, allow_unicode=True).strip())
        sys.exit(0)
