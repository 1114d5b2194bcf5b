"""Overrides of a command: parsed by Hydra's grammar, and checked before Hydra sees them.

Hydra's own messages span several lines and name its internals; here every mistake is one line.
"""

import itertools
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config import catalog
from onsager_cli.config.catalog import LARGEST_CONFIG
from onsager_cli.errors import UserError
from onsager_cli.store.files import read_bytes
from onsager_cli.text import did_you_mean, one_of, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

PACKAGE = "# @package _global_"  # the line by which the keys of an experiment are those of the whole config


def with_plus(text: str) -> str:
    """`experiment=fig10` as `+experiment=fig10`: Hydra wants the plus for what the primary config leaves out."""
    return f"+{text}" if text.startswith("experiment=") else text


def for_program(text: str) -> str:
    """An override as Hydra's own program takes it, which knows the keys of the primary config but not of every curve.

    With ++ before it, network.weight of Fig. 1(a) is no unknown key there; `as_typed` takes it away again.
    """
    (item,) = parse([text])
    return f"++{text}" if is_plain(item) else with_plus(text)


def as_typed(overrides: Sequence[str], typed: Sequence[str]) -> list[str]:
    """Overrides of a job without the ++ of `for_program`; one that the user typed, in `typed`, stays."""
    forced = {text.partition("=")[0] for text in typed}
    return [text if text.partition("=")[0] in forced else text.removeprefix("++") for text in overrides]


def parse(overrides: Sequence[str]) -> "list[Override]":
    """Parses overrides with Hydra's grammar. Raises UserError for a syntax error or a key that is set twice."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    result: dict[str, Override] = {}
    for text in overrides:
        try:
            override = parser.parse_override(with_plus(text))
        except (HydraException, RecursionError, ValueError) as error:
            rule = "write key=value, e.g. network.depth=8, and quote a value with special characters"
            raise UserError(f"cannot read the override {show(text)}: {rule}") from error
        if override.key_or_group in result:
            raise UserError(f"{override.key_or_group} is set twice: {show(text)} is one too many")
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
            raise UserError(f"{text} names several values: use `onsager sweep`, or quote a value that has a comma")
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
            near = did_you_mean(name, known)
            raise UserError(f"unknown {group} '{show(name)[1:-1]}'{near}: known are {one_of(known)}")
        if group == "experiment":
            _check_package(name, known[name])


def _check_package(name: str, path: Path) -> None:
    """Raises UserError for an experiment whose keys Hydra would put below the key `experiment`, where they set nothing."""
    header = read_bytes(path, LARGEST_CONFIG).decode("utf-8", "replace").lstrip().partition("\n")[0]
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
            raise UserError(f"{override.input_line} leaves the other keys of {group} behind: write {group}={option}")


def check_no_launcher(overrides: "Sequence[Override]") -> None:
    """Raises UserError for a launcher or a sweeper, of which one experiment in this process makes no use."""
    for override in overrides:
        if override.key_or_group.replace("/", ".").startswith(("hydra.launcher", "hydra.sweeper")):
            raise UserError(f"{override.input_line} is for `onsager sweep` alone: it runs jobs, here there is one")


def fits(item: "Override", keys: Container[str]) -> bool:
    """True if a composed config has the key of a value override, or the override adds it; Hydra's keys always fit."""
    key = item.key_or_group
    return item.is_add() or item.is_force_add() or key in keys or key.split(".")[0] == "hydra"


def is_plain(item: "Override") -> bool:
    """True for `key=value` on a key of ours: no addition, no removal, nothing of Hydra's."""
    special = item.is_add() or item.is_force_add() or item.is_delete()
    return not special and not is_group(item) and item.key_or_group.split(".")[0] != "hydra"


def sweep_jobs(overrides: "Sequence[Override]") -> list[list[str]]:
    """The override lists of the jobs of a sweep: the product of all alternatives, as Hydra's basic sweeper runs them.

    A `glob(...)` is resolved by Hydra alone, so a sweep with one has no list: [] is returned.
    """
    from hydra.core.override_parser.types import Glob

    if any(isinstance(override.value(), Glob) for override in overrides):
        return []
    axes = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [override.input_line or ""]
        for override in overrides
    ]
    return list(map(list, itertools.product(*axes)))
