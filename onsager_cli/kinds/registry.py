"""Finds the record of a kind: at the head of a file of this package, or by an entry point of an installed one.

Most files that declare a kind import JAX. The registry evaluates the declaration alone, `NAME = NetworkKind(…)` at the
top level, in the vocabulary of `kinds`; so nothing heavy is imported to list options or check a config. A declaration
that needs more than that vocabulary is found by importing its file.
"""

import ast
import builtins
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from onsager_cli.errors import UserError
from onsager_cli.kinds import cellular, checks, data, lists, problems, records, signals, trainings
from onsager_cli.kinds.records import (
    FigureKind,
    Kind,
    NetworkKind,
    ProblemKind,
    ShrinkageKind,
    SignalKind,
    TrainingKind,
)
from onsager_cli.text import did_you_mean, one_of, show

# Kind of record → entry-point group, and the folders of this package whose files declare such records.
PLACES: dict[type[Kind], tuple[str, tuple[str, ...]]] = {
    NetworkKind: ("onsager.networks", ("networks", "theory")),
    ProblemKind: ("onsager.problems", ("problems",)),
    SignalKind: ("onsager.signals", ("problems/signals",)),
    ShrinkageKind: ("onsager.shrinkages", ("shrinkage",)),
    TrainingKind: ("onsager.trainings", ("training",)),
    FigureKind: ("onsager.figures", ("figures",)),
}
K = TypeVar("K", bound=Kind)
_VOCABULARY = {
    name: value
    for module in (records, checks, lists, problems, cellular, data, signals, trainings)
    for name, value in vars(module).items()
}


def names(group: type[Kind]) -> list[str]:
    """The names of all kinds in a group, sorted: built in, and offered by installed packages. Imports none of them."""
    return sorted({*_built_in(group), *(entry.name for entry in entry_points(group=PLACES[group][0]))})


def find(group: type[K], name: str) -> K:
    """The record of this name. Raises ValueError, with what there is, if nobody offers it.

    Raises UserError for an entry point that cannot be used.
    """
    built_in = _built_in(group)
    if name in built_in:
        return built_in[name]  # type: ignore[return-value]
    for entry in entry_points(group=PLACES[group][0], name=name):
        return _of_entry(group, name, entry.value)
    known = names(group)
    raise ValueError(f"must be {one_of(known)}{did_you_mean(name, known)}")


def every(group: type[K]) -> list[K]:
    """The records of all built-in kinds in a group."""
    return list(_built_in(group).values())  # type: ignore[arg-type]


def implementation(kind: Kind, attribute: str = "") -> Any:
    """What `of` (or another attribute) names in the file of the record; imports that file.

    Raises UserError if the file cannot be imported or lacks it.
    """
    name = attribute or kind.of
    try:
        return getattr(import_module(kind.module), name)
    except (ImportError, SyntaxError, AttributeError) as error:
        raise UserError(f"{kind.name}: {kind.module} has no usable {name}: {_line_of(error)}") from error


@cache
def _built_in(group: type[Kind]) -> dict[str, Kind]:
    """Name → record of the kinds that files of this package declare."""
    package = Path(__file__).parents[1]
    found = {}
    for folder in PLACES[group][1]:
        for path in sorted((package / folder).glob("*.py")):
            module = f"{package.name}.{folder.replace('/', '.')}.{path.stem}"
            found |= {kind.name: kind for _, kind in _heads(group, module, path.read_text(encoding="utf-8"))}
    return found


@cache
def _of_entry(group: type[Kind], name: str, value: str) -> Any:
    """The record that an entry point names as `module:attribute`. Raises UserError if it is no record of this group."""
    entry = f"the entry point {name} = {value} of {PLACES[group][0]}"
    try:
        kind = _declared(group, *value.partition(":")[::2])
    except (Exception, SystemExit) as error:  # whatever the file of a package does
        raise UserError(f"{entry} of an installed package cannot be loaded: {_line_of(error)}") from error
    if not isinstance(kind, group) or not isinstance(kind.keys, Mapping):
        raise UserError(f"{entry} of an installed package is not a {group.__name__} with a mapping of keys")
    if kind.name != name:
        raise UserError(f"{entry} of an installed package has a kind named {show(kind.name)}: both need the same name")
    return kind if kind.module else replace(kind, module=value.partition(":")[0])


def _declared(group: type[Kind], module: str, attribute: str) -> object:
    """What a file of a package declares under this name: read, or imported where reading does not do."""
    spec = find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    if spec.origin is not None and spec.origin.endswith(".py"):
        source = Path(spec.origin).read_text(encoding="utf-8")
        heads = dict(_heads(group, module, source, _own_names(source)))
        if attribute in heads:
            return heads[attribute]
    return getattr(import_module(module), attribute)


def _own_names(source: str) -> set[str]:
    """Names that a file gives a meaning of its own: all that it does not import from the vocabulary."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onsager_cli.kinds")
            found |= {item.asname or item.name for item in node.names if not ours or item.asname}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            names = (item for item in ast.walk(node) if isinstance(item, ast.Name))
            found |= {item.id for item in names if isinstance(item.ctx, ast.Store)}
    return found


def _line_of(error: BaseException) -> str:
    """The first line of an error, with its type."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".removesuffix(": ")


def _heads(group: type[Kind], module: str, source: str, own: Collection[str] = ()) -> Iterator[tuple[str, Kind]]:
    """(name, record) of every declaration of this group in a file, as the formatter lays it out.

    `own` are names by which the file means something else than the vocabulary does.
    """
    declaration = rf"^(\w+) = ({group.__name__}\((?:.*\)$|\n(?s:.*?)^\)))"
    for name, text in re.findall(declaration, source, re.MULTILINE):
        kind = eval(text, dict(_VOCABULARY)) if _is_free(text, own) else getattr(import_module(module), name)
        yield name, replace(kind, module=kind.module or module)


def _is_free(text: str, own: Collection[str]) -> bool:
    """Whether a declaration names nothing beyond the vocabulary, in its lambdas either."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return False
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return used - bound <= {*_VOCABULARY, *vars(builtins)} - set(own)
