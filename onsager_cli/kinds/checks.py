"""Checks of config values: dataclass fields that know what they allow, and how to say it in one line.

A field made by `integer`, `number`, `choice`, … carries a check: a function of the raw value that returns the
value to store or raises ValueError with what is allowed ("must be at least 1"). `build` makes the dataclass
from a mapping and turns every failure into a `UserError` that names the key, what is allowed and the value.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, one_of, show

Check = Callable[[Any], Any]
T = TypeVar("T")


def _field(check: Check, choices: Iterable[str] = (), null: bool = False) -> Any:
    """A dataclass field with a check; `choices` are the words that completion offers.

    Its default is None, so that fields of base classes may come first; `build` asks for every key.
    """

    def checked(value: Any) -> Any:
        if value is None and null:
            return None
        return check(value)

    return dataclasses.field(default=None, metadata={"check": checked, "choices": tuple(choices)})


def in_range(value: Any, low: Any = None, high: Any = None, above: Any = None, below: Any = None) -> None:
    """Raises ValueError if value < low, value > high, value <= above or value >= below."""
    if above is not None and below is not None and not above < value < below:
        raise ValueError(f"must be between {above} and {below}, both excluded")
    if low is not None and value < low:
        raise ValueError(f"must be at least {low}")
    if high is not None and value > high:
        raise ValueError(f"must be at most {high}")
    if above is not None and value <= above:
        raise ValueError(f"must be greater than {above}")
    if below is not None and value >= below:
        raise ValueError(f"must be less than {below}")


def finite(value: Any) -> float:
    """A finite float from an int or a float; text and booleans are refused, not converted."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        value = float(value)
    except OverflowError:
        raise ValueError("must be a finite number") from None
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def integer(low: int, high: int) -> Any:
    """Field for a whole number with low <= value <= high."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number from {low} to {high}")
        in_range(value, low, high)
        return value

    return _field(check)


def number(
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    null: bool = False,
) -> Any:
    """Field for a finite number with low <= value <= high and above < value < below; null on request."""

    def check(value: Any) -> float:
        value = finite(value)
        in_range(value, low, high, above, below)
        return value

    return _field(check, null=null)


def numbers(length: int, null: bool = False) -> Any:
    """Field for a list of `length` finite numbers, stored as a tuple."""

    def check(value: Any) -> tuple[float, ...]:
        return finite_tuple(value, length)

    return _field(check, null=null)


def seed_list() -> Any:
    """Field for a list of different seeds, stored as a tuple; null allowed."""

    def check(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
            raise ValueError("must be a list of whole numbers")
        for item in value:
            in_range(item, 0, 2**32 - 1)
        if not value or len(set(value)) < len(value):
            raise ValueError("must name at least one seed, each once")
        return tuple(value)

    return _field(check, null=True)


def by_depth(low: float | None = None, above: float | None = None, whole: bool = False, null: bool = False) -> Any:
    """Field for a list of numbers, one per depth, stored as a tuple; `whole` for whole numbers, `null` allows null."""

    def check(value: Any) -> tuple[float, ...]:
        items = finite_tuple(value)
        if not items:
            raise ValueError("must name at least one value")
        for item in items:
            in_range(item, low, 1e9, above)
            if whole and not item.is_integer():
                raise ValueError("must be a list of whole numbers")
        return tuple(int(item) for item in items) if whole else items

    return _field(check, null=null)


def finite_tuple(value: Any, length: int | None = None) -> tuple[float, ...]:
    """A tuple of finite floats from a list or one number; ValueError if the length is another one."""
    items = value if isinstance(value, list | tuple) else [value]
    counted = "numbers" if length is None else f"{length} number" + "s" * (length != 1)
    try:
        result = tuple(finite(item) for item in items)
    except ValueError as error:
        raise ValueError(f"must be a list of {counted}") from error
    if length is not None and len(result) != length:
        raise ValueError(f"must be a list of {counted}")
    return result


def flag() -> Any:
    """Field for true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    return _field(check, choices=("true", "false"))


def choice(*names: str, null: bool = False) -> Any:
    """Field for one of a few words; null on request."""

    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"must be {one_of(names)}{did_you_mean(value, names)}")
        return value

    return _field(check, choices=names, null=null)


def choice_by_depth(*names: str) -> Any:
    """Field for one of a few words, or a list of them, one per depth, stored as a tuple."""

    def check(value: Any) -> str | tuple[str, ...]:
        items = value if isinstance(value, list) else [value]
        for item in items or [value]:
            if item not in names:
                raise ValueError(f"must be {one_of(names)}, or a list of these{did_you_mean(item, names)}")
        return tuple(items) if isinstance(value, list) else items[0]

    return _field(check, choices=names)


def text(null: bool = False) -> Any:
    """Field for a line of text that is not empty."""

    return _field(_line, null=null)


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    if not value.isprintable():
        raise ValueError("must be one line of printable text")
    return value


def words(allowed: Iterable[str] | None = None, null: bool = False) -> Any:
    """Field for a list of words, each once, stored as a tuple; `allowed` restricts them."""
    allowed = None if allowed is None else tuple(allowed)

    def check(value: Any) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise ValueError("must be a list of words")
        for item in items:
            if allowed is not None and item not in allowed:
                raise ValueError(f"may hold {one_of(allowed)}{did_you_mean(item, allowed)}")
        if len(set(items)) < len(items):
            raise ValueError("must name each word once")
        return tuple(items)

    return _field(check, choices=allowed or (), null=null)


def texts() -> Any:
    """Field for a group of names with a line of text each."""

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError("must map names to texts")
        return {str(name): _line(line) for name, line in value.items()}

    return _field(check)


def known_keys(cls: type) -> list[str]:
    """Names of the checked fields of a dataclass: the keys its config may have."""
    return [item.name for item in dataclasses.fields(cls) if item.metadata]


def group(cls: type) -> Any:
    """Field for a group of keys of its own, made into the dataclass `cls`."""
    return dataclasses.field(default_factory=cls, metadata={"group": cls})


def build(cls: type[T], raw: object, where: str) -> T:
    """Make the dataclass `cls` from the mapping `raw` found at the config key `where`.

    Every checked field is a key that must be there. Raises UserError if `raw` is no mapping, lacks a key, has an
    unknown one, or a value fails its check.
    """
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a group of keys, got {show(raw)}")
    known, prefix = known_keys(cls), f"{where}." if where else ""
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise UserError(f"unknown key '{prefix}{key}'{did_you_mean(key, known)}")
        metadata = cls.__dataclass_fields__[key].metadata  # type: ignore[attr-defined]
        try:
            if "group" in metadata:
                values[key] = build(metadata["group"], value, f"{prefix}{key}")
            else:
                values[key] = metadata["check"](value)
        except ValueError as error:
            raise UserError(f"{prefix}{key} {error}, got {show(value)}") from None
    for key in known:
        if key not in values:
            raise UserError(f"the key {prefix}{key} is missing")
    return cls(**values)
