"""What a dotted key of the config holds: the fields of the settings classes, by key."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import Field, fields
from functools import cache

from onsager_cli.config import launchers
from onsager_cli.config.figure import FigureSpec, PlotSpec
from onsager_cli.config.settings import Top
from onsager_cli.kinds.checks import LIST, TEXT
from onsager_cli.kinds.settings import classes_of
from onsager_cli.kinds.trainings import Schedule
from onsager_cli.store.tables import grouped

HUGE = 1e300  # larger than the limits of all numbers


def fields_of(key: str) -> Iterator[Field]:
    """The fields that a dotted key can mean, one for each kind that has the key."""
    return (field for _, field in _by_kind(key))


def _by_kind(key: str) -> Iterator[tuple[str, Field]]:
    """Those fields with the names of their kinds; "" for settings that have no kinds."""
    group, _, name = key.rpartition(".")
    return ((kind, field) for kind, cls in _classes_of(group) for field in fields(cls) if field.name == name)


@cache
def holds_text(key: str) -> bool:
    """Whether the key's value is text, such as a path or a title, for every kind that has the key."""
    return _holds(key, TEXT)


@cache
def holds_list(key: str) -> bool:
    """Whether the key's value is a list, for every kind that has the key."""
    return _holds(key, LIST)


def allowed(key: str) -> dict[str, list[str]]:
    """What the value of a key may be, in words → the kinds that allow it. The words come from the checks themselves."""
    found = ((_allowed(field), kind) for kind, field in _by_kind(key))
    return grouped((words, kind) for words, kind in found if words)


def _allowed(field: Field) -> str:
    """What a field's check says of values that no key takes: `a number, at least -100, at most 200, or null`."""
    if "check" not in field.metadata:
        return ""
    check, said = field.metadata["check"], []
    for wrong in (object(), -HUGE, HUGE):
        try:
            check(wrong)
        except ValueError as error:
            said.append(re.sub(r"^must (be )?| \(did you mean .*\)", "", str(error)))
    try:
        null = check(None) is None and "null" not in " ".join(said)
    except ValueError:
        null = False
    words = ", ".join(dict.fromkeys(said))
    return f"{words}, or null" if null and words else words


def _holds(key: str, what: str) -> bool:
    found = list(fields_of(key))
    return bool(found) and all(field.metadata.get("holds") == what for field in found)


def _classes_of(group: str) -> Iterable[tuple[str, type]]:
    """The dataclasses whose fields are the keys of one part of the config ("" for its top), with the names of kinds."""
    if group == "hydra.launcher":
        return launchers.KINDS.items()
    if "." in group:
        inner = [(kind, field.metadata["group"]) for kind, field in _by_kind(group) if "group" in field.metadata]
        return inner or ([("", Schedule)] if group.startswith("training.") else [])
    alone: dict[str, type] = {"": Top, "figure": FigureSpec, "plot": PlotSpec}
    return [("", alone[group])] if group in alone else [(cls.record.name, cls) for cls in classes_of(group)]
