"""Checks of config values: dataclass fields that know what they allow, and how to say it in one line.

A field made by `integer`, `number`, `choice`, … carries a check: a function of the raw value that returns the
value to store or raises ValueError with what is allowed ("must be at least 1"). `build` makes the dataclass
from a mapping and turns every failure into a `UserError` that names the key, what is allowed and the value.
"""

import dataclasses
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, expanded, one_of, show

Field = Any
"""A field of a dataclass. A type checker must accept it as the default of any value, like `dataclasses.field`."""
TEXT, LIST = "text", "list"  # what a field holds, for what a command line can mean
# Of files with one matrix.
FILE_SUFFIXES = (".npy", ".npz", ".mat", ".csv", ".txt", ".tsv", ".h5", ".hdf5")
LONGEST_TEXT = 1000  # characters of a title or a caption
T = TypeVar("T")
N = TypeVar("N", int, float)


def field_of(
    check: Callable[[object], object], choices: Iterable[str] = (), null: bool = False, holds: str = ""
) -> Field:
    """A dataclass field with a check; `choices` are the words that completion offers, `holds` is TEXT, LIST or "".

    Its default is None, so that fields of base classes may come first; `build` asks for every key.
    """

    def checked(value: object) -> object:
        return None if value is None and null else check(value)

    return dataclasses.field(default=None, metadata={"check": checked, "choices": tuple(choices), "holds": holds})


def in_range(
    value: N,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> N:
    """`value` if low <= value <= high and above < value < below. Raises ValueError otherwise."""
    if above is not None and below is not None and not above < value < below:
        raise ValueError(f"must be between {above} and {below}, both excluded")
    limits = (
        (low, operator.lt, "at least"), (high, operator.gt, "at most"),
        (above, operator.le, "greater than"), (below, operator.ge, "less than"),
    )  # fmt: skip
    for limit, outside, words in limits:
        if limit is not None and outside(value, limit):
            raise ValueError(f"must be {words} {limit}")
    return value


def of_type(value: object, kind: type[T], words: str) -> T:
    """`value` if it is a `kind` and no subclass: true is no number. Raises ValueError with `words` otherwise."""
    if type(value) is not kind:
        raise ValueError(words)
    return value


def finite(value: object, words: str = "must be a number") -> float:
    """A finite float from an int or a float. Raises ValueError with `words` for text and booleans: nothing is converted."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(words)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def integer(low: int, high: int, null: bool = False) -> Field:
    """Field for a whole number with low <= value <= high; null on request."""
    words = f"must be a whole number from {low} to {high}"
    return field_of(lambda value: in_range(of_type(value, int, words), low, high), null=null)


def processes() -> Field:
    """Field for a number of processes: 4, or counted from the number of cores: -1 for all, -2 for all but one."""
    words = "must be a whole number of processes, or -1 for one on each core"

    def check(value: object) -> int:
        if not (count := of_type(value, int, words)):
            raise ValueError(words)
        return in_range(count, -1000, 1000)

    return field_of(check)


def auto_or_integer(low: int, high: int) -> Field:
    """Field for a whole number with low <= value <= high, or auto, which is None."""
    words = f"must be auto or a whole number from {low} to {high}"
    return field_of(lambda value: None if value == "auto" else in_range(of_type(value, int, words), low, high))


def auto_or_flag() -> Field:
    """Field for true, false or auto, which is None."""

    def check(value: object) -> bool | None:
        return None if value == "auto" else of_type(value, bool, "must be auto, true or false")

    return field_of(check, choices=("auto", "true", "false"))


def number(low: float | None = None, high: float | None = None, null: bool = False, **open_limits: float) -> Field:
    """Field for a finite number with low <= value <= high and above < value < below; null on request."""
    return field_of(lambda value: in_range(finite(value), low, high, **open_limits), null=null)


def activity() -> Field:
    """Field for a probability above 0; null for signals whose activity is counted."""
    words = "must be above 0 and at most 1"

    def check(value: object) -> float:
        if not 0 < (found := finite(value)) <= 1:
            raise ValueError(words)
        return found

    return field_of(check, null=True)


def finite_tuple(value: object, length: int | None = None) -> tuple[float, ...]:
    """A tuple of finite floats from a list or one number; ValueError if the length is another one."""
    items = value if isinstance(value, list | tuple) else [value]
    try:
        if length not in (None, len(items)):
            raise ValueError
        return tuple(map(finite, items))
    except ValueError as error:
        counted = "numbers" if length is None else f"{length} number" + "s" * (length != 1)
        raise ValueError(f"must be a list of {counted}") from error


def flag() -> Field:
    """Field for true or false."""
    return field_of(lambda value: of_type(value, bool, "must be true or false"), choices=("true", "false"))


def choice(*names: str, null: bool = False, hidden: Collection[str] = ()) -> Field:
    """Field for one of a few words; null on request. `hidden` words are allowed, but not offered."""

    def check(value: object) -> object:
        if value not in names and value not in hidden:
            raise ValueError(f"must be {one_of(names)}{did_you_mean(value, names)}")
        return value

    return field_of(check, choices=names, null=null)


def weight_or(*names: str) -> Field:
    """Field for a number above 0 and at most 1, one of a few words, or null; 1 becomes null: it changes nothing."""

    def check(value: object) -> object:
        if value in names:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number above 0 and at most 1, {one_of([*names, 'null'])}")
        found = in_range(finite(value), high=1, above=0)
        return None if found == 1 else found

    return field_of(check, choices=names, null=True)


def text(null: bool = False) -> Field:
    """Field for a line of text that is not empty."""
    return field_of(line_of, null=null, holds=TEXT)


def path(null: bool = False) -> Field:
    """Field for the path of a file or folder; `~` and `~user` become home folders."""
    return field_of(lambda value: expanded(line_of(value)), null=null, holds=TEXT)


def line_of(value: object) -> str:
    """`value` if it is one line of text. Raises ValueError otherwise."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    if not value.isprintable():
        raise ValueError("must be one line of printable text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"must have at most {LONGEST_TEXT} characters")
    return value


def check_file(key: str, given: str, suffixes: tuple[str, ...], folder: str = "") -> None:
    """Raises UserError for a file of no known format, or one that is not there; `folder` says what a folder must have.

    Without `folder`, the path of a folder is refused.
    """
    place = Path(given)
    try:
        is_folder = bool(folder) and place.is_dir()
        there = place.exists() if folder else place.is_file()
    except (OSError, ValueError) as error:  # a closed folder, a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{key}: {show(given)} cannot be read: {reason}") from error
    if not is_folder and place.suffix.lower() not in suffixes:
        also = f", or be a folder with {folder}" if folder else ""
        raise UserError(f"{key} must end in {one_of(suffixes)}{also}, got {show(given)}")
    if not there:
        raise UserError(f"{key}: there is no file {show(given)}")


def check_matrix_file(matrix: str | None, name: str | None) -> None:
    """Raises UserError for a matrix file of no known format or that is not there, and for a name without a file."""
    if matrix is None:
        if name is not None:
            raise UserError(f"problem.matrix_name={name} needs a file: add problem.matrix=…")
        return
    check_file("problem.matrix", matrix, FILE_SUFFIXES)


def known_keys(cls: type) -> list[str]:
    """Names of the checked fields of a dataclass: the keys its config may have."""
    return [item.name for item in dataclasses.fields(cls) if item.metadata]


def group(cls: type) -> Field:
    """Field for a subgroup of keys, which become the dataclass `cls`."""
    return dataclasses.field(default_factory=cls, metadata={"group": cls})


def optional(field: Field) -> Field:
    """The field of a key that a config may leave out, which means null."""
    check = field.metadata["check"]
    own = {"check": lambda value: None if value is None else check(value), "optional": True}
    return dataclasses.field(default=None, metadata={**field.metadata, **own})


def with_keys(raw: object, known: Collection[str], where: str, may_lack: Collection[str] = ()) -> Mapping[str, object]:
    """`raw`, found at the config key `where`, once it has all keys in `known` and no other; it `may_lack` some.

    Raises UserError if `raw` is no mapping, lacks a key or has an unknown one.
    """
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a group of keys, got {show(raw)}")
    prefix = f"{where}." if where else ""
    for key in raw:
        if key not in known:
            raise UserError(f"unknown key '{prefix}{key}'{did_you_mean(key, known)}")
    if missing := [key for key in known if key not in raw and key not in may_lack]:
        raise UserError(f"the key {prefix}{missing[0]} is missing")
    return raw


def build(cls: type[T], raw: object, where: str) -> T:
    """Make the dataclass `cls` from the mapping `raw` found at the config key `where`.

    Every checked field is a key that must be there, unless it is optional. Raises UserError as `with_keys` does, and
    for a value that fails its check.
    """
    fields = {item.name: item.metadata for item in dataclasses.fields(cls) if item.metadata}  # type: ignore[arg-type]
    values: dict[str, object] = {}
    may_lack = [key for key, metadata in fields.items() if metadata.get("optional")]
    for key, value in with_keys(raw, fields, where, may_lack).items():
        full = f"{where}.{key}" if where else key
        try:
            group = fields[key].get("group")
            values[key] = build(group, value, full) if group else fields[key]["check"](value)
        except ValueError as error:
            raise UserError(f"{full} {error}, got {show(value)}") from None
    return cls(**values)
