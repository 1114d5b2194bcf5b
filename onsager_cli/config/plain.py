"""Ordinary configs without Hydra: each of its compositions takes a tenth of a second, and a figure needs a dozen.

What Hydra would do is done here for the defaults lists that onsager's own files have: options by name, an option on top
of another one of its group, `override /group: option`. For everything else, an interpolation or a mistake in a file
included, `compose` returns None, and Hydra composes, or says what is wrong.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.store.files import LARGEST_TEXT, read_bytes

Config = dict[str, Any]
_GLOBAL = "_global_"
_SELF = "_self_"


class _UnusualError(Exception):
    """Something that is left to Hydra."""


def compose(chosen: Mapping[str, str]) -> tuple[Config, str | None] | None:
    """The config of these options by group and its experiment; None for what is not ordinary."""
    try:
        return _compose(chosen)
    except (_UnusualError, UserError, RecursionError, OSError):
        return None


def put(config: Config, key: str, value: object) -> bool:
    """Set a dotted key that the config has, as Hydra would; False if only Hydra knows how."""
    *path, name = key.split(".")
    node: Any = config
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or name not in node or _is_special(value):
        return False
    if isinstance(node[name], dict) and not isinstance(value, dict):
        return False
    try:
        _merge(node, {name: copy.deepcopy(value)})
    except _UnusualError:
        return False
    return True


def _compose(chosen: Mapping[str, str]) -> tuple[Config, str | None]:
    primary, _ = _file(catalog.package_conf() / "config.yaml")
    order = [entry for entry in primary["defaults"] if not _is_override(entry)]
    options = dict(next(iter(entry.items())) for entry in order if entry != _SELF)
    if set(chosen) - {*options, "experiment"}:
        raise _UnusualError
    experiment = chosen.get("experiment")
    last = [_option("experiment", experiment)] if experiment is not None else []
    overrides = _overrides(last[0][0]) if last else {}
    options |= overrides | {group: name for group, name in chosen.items() if group != "experiment"}
    content, package = _option("network", options["network"])
    of_network = _overrides(content)
    if "network" in of_network or (of_network and package != _GLOBAL):
        raise _UnusualError
    options |= {group: name for group, name in of_network.items() if group not in (*chosen, *overrides)}
    config: Config = {}
    for entry in order:
        if entry == _SELF:
            _merge(config, {key: value for key, value in primary.items() if key not in ("defaults", "hydra")})
            continue
        (group,) = entry
        content, package = _on_top(group != "network", group, options[group])
        _merge(config, content if package == _GLOBAL else {group: content})
    for content, package in last:
        if package != _GLOBAL:
            raise _UnusualError
        _merge(config, {key: value for key, value in content.items() if key != "defaults"})
    if "hydra" in config or _is_special(config):
        raise _UnusualError
    return config, experiment


def _on_top(nested: bool, group: str, name: str) -> tuple[Config, str | None]:
    """The content of an option, on top of the options of its group that it names first, and its package."""
    content, package = _option(group, name)
    own = {key: value for key, value in content.items() if key != "defaults"}
    entries = content.get("defaults", [])
    if entries.count(_SELF) > 1:
        raise _UnusualError
    if not nested:
        return own, package
    result: Config = {}
    for entry in entries if _SELF in entries else [*entries, _SELF]:
        if entry == _SELF:
            _merge(result, own)
        elif isinstance(entry, str) and "/" not in entry and "/" not in name:  # Hydra looks beside the file
            below, place = _on_top(True, group, entry)
            if place != package:
                raise _UnusualError
            _merge(result, below)
        else:
            raise _UnusualError
    return result, package


def _overrides(content: Config) -> dict[str, str]:
    """What the defaults list of a file overrides, which must be all that it does."""
    found = {}
    for entry in content.get("defaults", []):
        if entry == _SELF:
            continue
        if not _is_override(entry) or len(entry) != 1:
            raise _UnusualError
        ((words, name),) = entry.items()
        slash, group = words.removeprefix("override ")[:1], words.removeprefix("override /")
        if slash != "/" or group not in catalog.GROUPS or group in ("experiment", *found) or not isinstance(name, str):
            raise _UnusualError
        found[group] = name
    return found


def _is_override(entry: object) -> bool:
    return isinstance(entry, Mapping) and all(str(key).startswith("override ") for key in entry)


def _option(group: str, name: str) -> tuple[Config, str | None]:
    """The content of an option's file, and the package of its header."""
    path = catalog.config_files(group).get(name)
    if path is None:
        raise _UnusualError
    return _file(path)


def _file(path: Path) -> tuple[Config, str | None]:
    found = path.stat()
    return copy.deepcopy(_parsed(path, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=200)
def _parsed(path: Path, *_: int) -> tuple[Config, str | None]:
    """The content of a file as OmegaConf reads it; the other arguments change when the file does."""
    from omegaconf import OmegaConf

    text = read_bytes(path, LARGEST_TEXT).decode("utf-8-sig", "replace")
    first, *others = [line for line in text.splitlines() if re.match(r"\s*#\s*@", line)] or [""]
    if others or (first and (first != f"# @package {_GLOBAL}" or not text.startswith(first))):
        raise _UnusualError
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # whatever PyYAML and OmegaConf raise for a mistake in a file
        raise _UnusualError from error
    if not isinstance(content, dict) or not isinstance(content.get("defaults", []), list):
        raise _UnusualError
    if _is_special({key: value for key, value in content.items() if key != "hydra"}):
        raise _UnusualError
    return {str(key): value for key, value in content.items()}, _GLOBAL if first else None


def _merge(config: Config, more: Mapping[Any, Any]) -> None:
    """Mappings are merged, everything else is replaced."""
    for key, value in more.items():
        before = config.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value)
        elif isinstance(value, dict | list) and isinstance(before, dict | list) and type(value) is not type(before):
            raise _UnusualError  # a list over a mapping, or the other way round, is a mistake
        else:
            config[key] = value


def _is_special(value: object) -> bool:
    """Whether there is an interpolation or a missing value anywhere."""
    return any(isinstance(text, str) and ("${" in text or text == "???") for text in _leaves(value))


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value
