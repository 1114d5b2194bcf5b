"""Overrides of a command: parsed by Hydra's grammar, and checked before Hydra sees them.

Hydra's own messages span several lines and name its internals; here every mistake is one line.
"""

import json
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config import catalog
from onsager_cli.config.keys import holds_list
from onsager_cli.config.spelling import mistake, readable
from onsager_cli.errors import UserError
from onsager_cli.store.files import LARGEST_TEXT, read_bytes
from onsager_cli.text import one_of, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

PACKAGE = "# @package _global_"  # the line by which the keys of an experiment are those of the whole config


def for_program(text: str) -> str:
    """An override as Hydra's own program takes it, which knows the keys of the primary config but not of every curve.

    With ++ before it, network.weight of Fig. 1(a) is no unknown key there.
    """
    (item,) = parse([text], sweep=True)
    line = item.input_line or ""
    return f"++{line}" if is_plain(item) else line


def parse(overrides: Sequence[str], sweep: bool = False) -> "list[Override]":
    """Parses overrides with Hydra's grammar, text as it is typed (`spelling.readable`).

    Raises UserError for a word that is no override and for a key that is set twice.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    result: dict[str, Override] = {}
    for text in overrides:
        try:
            override = parser.parse_override(readable(text, sweep and not text.startswith("hydra.launcher.")))
        except (HydraException, RecursionError, ValueError) as error:
            raise mistake(text, overrides) from error
        if not override.key_or_group:
            raise mistake(text, overrides)
        if override.key_or_group in result:
            raise UserError(f"{override.key_or_group} is set twice: leave {show(text)} out")
        result[override.key_or_group] = override
    return list(result.values())


def typed(overrides: "Sequence[Override]") -> tuple[str, ...]:
    """The overrides as they were typed."""
    return tuple(item.input_line or "" for item in overrides)


def is_group(override: "Override") -> bool:
    """True for an override that picks an option (`problem=kappa15`), false for one that sets a value."""
    key = override.key_or_group
    return key in catalog.GROUPS or "/" in key


def check_options(overrides: "Sequence[Override]") -> None:
    """Raises UserError for overrides that Hydra would refuse in several lines, or take for something else.

    Those are a list of alternatives (`problem=gaussian,kappa15`), since one curve or figure is asked for, an option that
    its group does not have, and `+` or `~` on a group that is always set.
    """
    for override in overrides:
        group, text = override.key_or_group, override.input_line
        if override.is_sweep_override():
            raise UserError(f"{text} names several values: {_one_value(group, text or '')}")
        if group not in catalog.GROUPS:
            continue
        if override.is_delete():
            raise UserError(f"{group} cannot be removed: {text}")
        chosen = override.get_value_element_as_str()
        if override.is_add() and group != "experiment":
            raise UserError(f"{group} is always set: write {group}={chosen}")
        known, name = catalog.config_files(group), override.value()
        if not isinstance(name, str):
            raise UserError(f"{group} takes one option, no list, number, null, true or false, got {show(chosen)}")
        if name not in known:
            raise catalog.unknown(group, name)
        if group == "experiment":
            _check_package(name, known[name])


def _one_value(key: str, text: str) -> str:
    """How to give one value where a word names several: a list, a decimal point, or a sweep."""
    value = text.partition("=")[2]
    if holds_list(key):
        return f"for a list write {key}=[{value}]"
    if point := decimal_point(key, text):
        return f"{point} (`onsager sweep` trains one after the other)"
    return "use `onsager sweep`, or quote a value that has a comma"


def decimal_point(key: str, text: str) -> str | None:
    """What to ask where a value of two whole numbers, `0,1`, may be one number with a decimal comma; else None."""
    value = text.partition("=")[2]
    if not re.fullmatch(r"-?\d+,\d+", value):
        return None
    return f"did you mean {key}={value.replace(',', '.')}, with a decimal point?"


def _check_package(name: str, path: Path) -> None:
    """Raises UserError for an experiment whose keys Hydra would put below the key `experiment`, where they set nothing."""
    header = read_bytes(path, LARGEST_TEXT).decode("utf-8-sig", "replace").lstrip().partition("\n")[0]
    if header.lstrip("#").split() != PACKAGE.lstrip("#").split():
        raise UserError(f"conf/experiment/{name}.yaml: its first line must be `{PACKAGE}`, got {show(header)}")


def check_kinds(overrides: "Sequence[Override]") -> None:
    """Raises UserError for a kind that is set by itself (`network.kind=lista`), with the keys of another one around it."""
    for override in overrides:
        group, _, key = override.key_or_group.partition(".")
        if (
            key == "kind"
            and group in catalog.GROUPS
            and (option := str(override.value())) in catalog.config_files(group)
        ):
            raise UserError(
                f"{override.input_line} would keep the other keys of the old {group}: write {group}={option}"
            )


# Keys of Hydra → what to write instead. onsager sets these itself: results have their place in the store.
_INSTEAD = {
    "hydra.run": "onsager writes to its output folder: write output=FOLDER",
    "hydra.output_subdir": "onsager writes to its output folder: write output=FOLDER",
    "hydra.job.chdir": "onsager stays in the working directory: leave it out",
    "hydra.verbose": "write ONSAGER_DEBUG=1 before the command for tracebacks",
    "hydra.job_logging": "progress goes to stderr: for a log file, write 2> FILE",
    "hydra.hydra_logging": "progress goes to stderr: for a log file, write 2> FILE",
    "hydra.help": "write `onsager VERB --help`",
    "hydra.mode": "`onsager sweep` runs several jobs",
    "hydra.sweeper": "`onsager sweep KEY=A,B` trains every combination of values",
    "hydra.sweep": "onsager writes to its output folder: write output=FOLDER",
    "hydra.job.env_set": "set the variable before the command",
    "hydra.job.env_copy": "set the variable before the command",
}
_LAUNCHER = "hydra.launcher"


def check_hydra(overrides: "Sequence[Override]", sweep: bool = False) -> None:
    """Raises UserError for a key of Hydra that has no effect here, with what to write instead.

    A launcher is for a `sweep` alone; hydra.searchpath is for every command.
    """
    for override in overrides:
        key = override.key_or_group.replace("/", ".")
        if key.split(".")[0] != "hydra" or _below(key, "hydra.searchpath"):
            continue
        line = override.input_line
        if _below(key, _LAUNCHER):
            if not sweep:
                raise UserError(f"{line} has an effect only in `onsager sweep`: leave it out")
            continue
        if key == "hydra.job.chdir" and override.value() is False:
            continue
        instead = next((words for own, words in _INSTEAD.items() if _below(key, own) or _below(own, key)), None)
        known = one_of(("hydra.searchpath", *((_LAUNCHER,) if sweep else ())))
        raise UserError(f"{line} has no effect: {instead or f'of the keys of Hydra, only {known} has an effect'}")


def _below(key: str, group: str) -> bool:
    """Whether a dotted key is `group` or one of its keys."""
    return f"{key}.".startswith(f"{group}.")


def fits(item: "Override", keys: Container[str]) -> bool:
    """True if a composed config has the key of a value override, or the override adds it; Hydra's keys always fit."""
    key = item.key_or_group
    return item.is_add() or item.is_force_add() or key in keys or key.split(".")[0] == "hydra"


def is_plain(item: "Override") -> bool:
    """True for `key=value` on a key of ours: no addition, no removal, nothing of Hydra's."""
    special = item.is_add() or item.is_force_add() or item.is_delete()
    return not special and not is_group(item) and item.key_or_group.split(".")[0] != "hydra"


def overrides_of(group: str, keys: Mapping[str, object]) -> list[str]:
    """`group.key=value` for every key, in the grammar of the command line. Raises UserError as `override` does."""
    found = []
    for key, value in keys.items():
        name = f"{group}.{key}"
        found += overrides_of(name, value) if isinstance(value, Mapping) else [override(name, value)]
    return found


def override(key: str, value: object) -> str:
    """`key=value` in the grammar of the command line. Raises UserError for a value that has no place there."""
    return f"{key}={_written(key, value)}"


def _written(key: str, value: object) -> str:
    tolist = getattr(value, "tolist", None)  # of NumPy, which need not be imported
    plain = tolist() if callable(tolist) else value
    if isinstance(plain, list | tuple):
        return f"[{','.join(_written(key, item) for item in plain)}]"
    if isinstance(plain, str | Path):  # backslashes count before a quote alone
        return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + m[2].replace('"', '\\"'), str(plain)) + '"'
    if plain is None or isinstance(plain, bool | int | float):
        return json.dumps(plain)
    raise UserError(f"{key} must be a number, text, true, false, null or a list of these, got {show(plain)}")
