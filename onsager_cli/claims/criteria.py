"""The vocabulary of claims: mappings of a claims file, parsed into measures and limits.

`vocabulary.md`, which `onsager verify --vocabulary` prints, describes the vocabulary.
"""

import contextlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from onsager_cli.claims.checks import Check
from onsager_cli.claims.measures import TAKE, Limits, Measure
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import finite
from onsager_cli.text import did_you_mean, one_of, show

T = TypeVar("T")
Group = Mapping[str, object]
"""A group of keys of a claims file, unchecked."""

_MOST_CHECKS = 1000  # that `for` may make of one check
PAIRS = ("difference", "gap", "ratio")
LISTS = ("lowest", "highest", "spread", "order")
VERBS = ("value", "step", "limit", "first", *PAIRS, *LISTS, "column")
TAKES = ("every", *TAKE)


def parse(raw: object, where: str) -> list[Check]:
    """The checks of a criterion: a mapping or a list of them. Raises UserError, `where` in front, if it is malformed."""
    items = raw if isinstance(raw, list) else [raw]
    if not items:
        raise UserError(f"{where}: must hold at least one check, got []")
    checks = []
    for number, item in enumerate(items, 1):
        place = f"{where}, check {number}" if len(items) > 1 else where
        checks += [Check(*_limited(check, place), check) for check in _expanded(item, place)]
    return checks


def checked(raw: object, check: Callable[[object], T], what: str) -> T:
    """`check(raw)`. Its ValueError becomes a UserError that says what is wrong (place and key), and the value."""
    try:
        return check(raw)
    except ValueError as error:
        raise UserError(f"{what} {error}, got {show(raw)}") from None


def group(form: str = "must be a group of keys") -> Callable[[object], Group]:
    """A check for a mapping; its ValueError says `form`."""

    def check(raw: object) -> Group:
        if not isinstance(raw, Mapping):
            raise ValueError(form)
        return raw

    return check


def _expanded(raw: object, where: str) -> Iterator[Group]:
    """The check once for every combination of the values in `for`."""
    rest = dict(checked(raw, group(), f"{where}:"))
    choices = checked(rest.pop("for", {}), _choices, f"{where}: for")
    if (count := math.prod(map(len, choices.values()))) > _MOST_CHECKS:
        raise UserError(f"{where}: for gives {count} checks; at most {_MOST_CHECKS} are allowed")
    for name in choices:
        if f"{{{name}}}" not in str(rest):
            raise UserError(f"{where}: for.{name}: the check does not use {{{name}}}")
    for words in itertools.product(*choices.values()):
        yield {key: _replaced(value, dict(zip(choices, words, strict=True))) for key, value in rest.items()}


def _choices(raw: object) -> dict[str, list[str]]:
    if not isinstance(raw, Mapping) or not all(isinstance(of, list) and of for of in raw.values()):
        raise ValueError("must map names to lists of words")
    if not all(isinstance(word, str | int) for of in raw.values() for word in of):
        raise ValueError("must map names to lists of words")
    return {name: [word if isinstance(word, str) else show(word) for word in of] for name, of in raw.items()}


def _replaced(raw: object, words: Mapping[str, str]) -> object:
    """`raw` with the word for each name in braces."""
    if isinstance(raw, Mapping):
        return {key: _replaced(value, words) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_replaced(value, words) for value in raw]
    if isinstance(raw, str):
        for name, word in words.items():
            raw = raw.replace(f"{{{name}}}", word)
    return raw


def _limited(raw: Group, where: str) -> tuple[Measure, Limits]:
    """A measure, and the limits that its values are held against."""
    limits = {key: value for key, value in raw.items() if key in LIMITS}
    measure = _measure({key: value for key, value in raw.items() if key not in LIMITS}, where, tuple(LIMITS))
    return measure, _limits(limits, where)


def _measure(raw: Group, where: str, more: tuple[str, ...] = ()) -> Measure:
    """The measure that a mapping (without limits) describes; `more` are keys that may stand beside it."""
    verbs = [key for key in raw if key in VERBS]
    if len(verbs) != 1:
        unknown = next((key for key in raw if key not in _KEYS), "")
        found = (
            f"{show(str(unknown))}{did_you_mean(unknown, (*VERBS, *more))}" if unknown else one_of(verbs or ["none"])
        )
        raise UserError(f"{where}: needs one verb, {one_of(VERBS)}, got {found}")
    (verb,) = verbs
    allowed = (verb, "take", *_KEYS_OF.get(verb, ("layers", "when")))
    for key in raw:
        if key not in allowed:
            near = did_you_mean(key, (*allowed, *more))
            raise UserError(f"{where}: {verb} has no key {show(str(key))}{near}: {one_of((*allowed, *more))}")
    if verb == "first" and ("reaches" in raw) == ("exceeds" in raw):
        raise UserError(
            f"{where}: first needs one level in dB, either reaches or exceeds, got {'both' if 'reaches' in raw else 'neither'}"
        )
    if verb == "column":
        raw = {"table": None, **raw}
    parts: dict[str, Any] = {
        key: checked(value, _PARTS[key], f"{where}: {key}") for key, value in raw.items() if key in _PARTS
    }
    if "when" in parts:
        parts["when"] = _limited(parts["when"], f"{where}, when")
    return Measure(verb, _of(verb, raw[verb], where), **parts)


def _of(verb: str, raw: object, where: str) -> tuple[str | Measure, ...]:
    """The arguments of a verb: as many as it takes, each a curve or a measure."""
    if verb not in (*PAIRS, *LISTS):
        if isinstance(raw, list):
            raise UserError(f"{where}: {verb} takes one {'name' if verb == 'column' else 'curve'}, got {show(raw)}")
        return (_argument(raw, verb, where),)
    if not isinstance(raw, list) or len(raw) < 2 or (verb in PAIRS and len(raw) > 2):
        wanted = "two" if verb in PAIRS else "two or more"
        raise UserError(f"{where}: {verb} takes a list of {wanted} curves, got {show(raw)}")
    return tuple(_argument(item, verb, where) for item in raw)


def _argument(raw: object, verb: str, where: str) -> str | Measure:
    if isinstance(raw, Mapping) and verb != "column":
        return _measure(raw, f"{where}, {verb}")
    if isinstance(raw, str) and re.fullmatch(r"([\w-]+/)?[\w-]+", raw):
        return raw
    raise UserError(f"{where}: {verb} takes names of {'columns' if verb == 'column' else 'curves'}, got {show(raw)}")


def _layers(raw: object) -> tuple[int | None, int | None]:
    if raw == "last":
        return None, None
    if type(raw) is int and raw >= 1:
        return raw, raw
    match = re.fullmatch(r"(\d+)\.\.(\d*)", raw) if isinstance(raw, str) else None
    if not match or not 1 <= int(match[1]) <= int(match[2] or match[1]):
        raise ValueError("must be like 10, 2..20, 4.. or last")
    return int(match[1]), int(match[2]) if match[2] else None


def _take(raw: object) -> str:
    if raw not in TAKES:
        raise ValueError(f"must be {one_of(TAKES)}{did_you_mean(raw, TAKES)}")
    return str(raw)


def _table(raw: object) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[\w-]+/[\w.-]+\.csv", raw):
        raise ValueError("must be EXPERIMENT/NAME.csv")
    return raw


def _limits(raw: Group, where: str) -> Limits:
    if not raw:
        raise UserError(f"{where}: needs a limit, {one_of(LIMITS)}")
    ends = {key: checked(value, LIMITS[key], f"{where}: {key}") for key, value in raw.items()}
    low, high = max(low for low, _ in ends.values()), min(high for _, high in ends.values())
    if low > high:
        raise UserError(f"{where}: the limits allow no number: {low:g} to {high:g}")
    edges = (("more_than", 0), ("less_than", 1))
    return Limits(low, high, tuple(ends[key][side] for key, side in edges if key in ends))


def _at_least(raw: object) -> tuple[float, float]:
    return finite(raw), math.inf


def _at_most(raw: object) -> tuple[float, float]:
    return -math.inf, finite(raw)


def _between(raw: object) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise ValueError("must be [low, high]")
    return finite(raw[0]), finite(raw[1])


def _about(raw: object) -> tuple[float, float]:
    match = re.fullmatch(r"\s*(\S+)\s*(?:±|\+-)\s*([\d.]+)\s*(%?)\s*", str(raw))
    with contextlib.suppress(ValueError):
        if match:
            middle, width = finite(float(match[1])), finite(float(match[2]))
            width *= abs(middle) / 100 if match[3] else 1
            return middle - width, middle + width
    raise ValueError("must be like 25 ± 2 or 4402 ± 10 %")


# Limit → (lowest, highest) number within it; those of `more_than` and `less_than` are outside.
LIMITS: dict[str, Callable[[object], tuple[float, float]]] = {
    "at_least": _at_least, "at_most": _at_most, "more_than": _at_least, "less_than": _at_most, "between": _between,
    "about": _about,
}  # fmt: skip
# What a measure may have beside its verb; `take` and, where the verb has no keys of its own, `layers` and `when`.
_PARTS: dict[str, Callable[[object], object]] = {
    "layers": _layers, "when": group("must be a measure with limits"), "take": _take, "reaches": finite,
    "exceeds": finite, "table": _table, "where": group("must map columns to values"),
}  # fmt: skip
_KEYS_OF = {"first": ("reaches", "exceeds"), "column": ("table", "where")}
# Every key of a check.
_KEYS = {*VERBS, *LIMITS, *_PARTS, "for"}
