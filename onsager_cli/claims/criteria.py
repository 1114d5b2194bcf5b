"""The vocabulary of claims: mappings of a claims file, parsed into measures and limits.

`vocabulary.md`, which `onsager verify --vocabulary` prints, describes the vocabulary.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from onsager_cli.claims.measures import Check, Limits, Measure
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import finite
from onsager_cli.text import did_you_mean, one_of, show

PAIRS = ("difference", "gap", "ratio")
LISTS = ("lowest", "highest", "spread", "order")
SINGLES = ("value", "step", "limit", "first")
VERBS = (*SINGLES, *PAIRS, *LISTS, "column")
LIMITS = ("at_least", "at_most", "more_than", "less_than", "between", "about")
TAKES = ("every", "max", "min", "mean", "median")


def parse(raw: Any, where: str) -> list[Check]:
    """The checks of a criterion: a mapping or a list of them. Raises UserError, `where` in front, if it is malformed."""
    items = raw if isinstance(raw, list) else [raw]
    if not items:
        raise UserError(f"{where}: must hold at least one check, got []")
    checks = []
    for number, item in enumerate(items, 1):
        place = f"{where}, check {number}" if len(items) > 1 else where
        for expanded in _expanded(item, place):
            measure = _measure({k: v for k, v in expanded.items() if k not in LIMITS}, place)
            limits = _limits({k: v for k, v in expanded.items() if k in LIMITS}, place)
            checks.append(Check(measure, limits, expanded))
    return checks


def _expanded(raw: Any, where: str) -> Iterator[dict[str, Any]]:
    """The check once for every combination of the values in `for`."""
    if not isinstance(raw, Mapping):
        raise UserError(f"{where}: must be a group of keys, got {show(raw)}")
    choices = raw.get("for", {})
    lists = choices.values() if isinstance(choices, Mapping) else [None]
    if not all(isinstance(v, list) and v and all(isinstance(i, str | int) for i in v) for v in lists):
        raise UserError(f"{where}: for must map names to lists of words, got {show(choices)}")
    rest = {key: value for key, value in raw.items() if key != "for"}
    for name in choices:
        if f"{{{name}}}" not in str(rest):
            raise UserError(f"{where}: for.{name}: nothing in the check has {{{name}}}")
    for values in itertools.product(*choices.values()):
        words = (str(v).lower() if isinstance(v, bool) else str(v) for v in values)
        yield _replaced(rest, dict(zip(choices, words, strict=True)))


def _replaced(raw: Any, values: Mapping[str, str]) -> Any:
    if isinstance(raw, Mapping):
        return {key: _replaced(value, values) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_replaced(value, values) for value in raw]
    if isinstance(raw, str):
        for name, value in values.items():
            raw = raw.replace(f"{{{name}}}", value)
    return raw


def _measure(raw: Mapping[str, Any], where: str) -> Measure:
    """The measure that a mapping (without limits) describes."""
    verbs = [key for key in raw if key in VERBS]
    if len(verbs) != 1:
        unknown = next((key for key in raw if key not in _KEYS), "")
        near = did_you_mean(unknown, VERBS) if unknown else ""
        found = f"'{unknown}'{near}" if unknown else one_of(verbs) if verbs else "none"
        raise UserError(f"{where}: needs one verb, {one_of(VERBS)}, got {found}")
    (verb,) = verbs
    own = {"first": ("reaches", "exceeds"), "column": ("table", "where")}.get(verb, ())
    allowed = (verb, "take", *own, *(() if verb in ("first", "column") else ("layers", "when")))
    for key in raw:
        if key not in allowed:
            raise UserError(f"{where}: {verb} has no key '{key}'{did_you_mean(key, allowed)}: {one_of(allowed)}")
    parts = {"verb": verb, "of": _of(verb, raw[verb], where)}
    if verb == "first":
        given = [key for key in ("reaches", "exceeds") if key in raw]
        if len(given) != 1:
            raise UserError(f"{where}: first needs reaches or exceeds, a level in dB")
        parts |= {"level": _number(raw[given[0]], given[0], where), "upwards": given == ["exceeds"]}
    if verb == "column":
        parts |= {"table": raw.get("table"), "where": raw.get("where", {})}
        if not isinstance(parts["table"], str) or not re.fullmatch(r"[\w-]+/[\w.-]+\.csv", parts["table"]):
            raise UserError(f"{where}: table must be EXPERIMENT/NAME.csv, got {show(parts['table'])}")
        if not isinstance(parts["where"], Mapping):
            raise UserError(f"{where}: where must map columns to values, got {show(parts['where'])}")
    if "layers" in raw:
        parts["layers"] = _layers(raw["layers"], where)
    if "when" in raw:
        condition = raw["when"]
        if not isinstance(condition, Mapping):
            raise UserError(f"{where}: when must be a measure with limits, got {show(condition)}")
        measure = _measure({k: v for k, v in condition.items() if k not in LIMITS}, f"{where}, when")
        parts["when"] = (measure, _limits({k: v for k, v in condition.items() if k in LIMITS}, f"{where}, when"))
    if "take" in raw:
        if raw["take"] not in TAKES:
            raise UserError(
                f"{where}: take must be {one_of(TAKES)}{did_you_mean(raw['take'], TAKES)}, got {show(raw['take'])}"
            )
        parts["take"] = raw["take"]
    return Measure(**parts)


_KEYS = {*VERBS, *LIMITS, "layers", "when", "take", "reaches", "exceeds", "table", "where", "for"}


def _of(verb: str, raw: Any, where: str) -> tuple[str | Measure, ...]:
    """The arguments of a verb: as many as it takes, each a curve or a measure."""
    if verb in SINGLES or verb == "column":
        items = [raw]
        if isinstance(raw, list):
            raise UserError(f"{where}: {verb} takes one {'name' if verb == 'column' else 'curve'}, got {show(raw)}")
    else:
        items = raw if isinstance(raw, list) else []
        wanted = "two" if verb in PAIRS else "two or more"
        if len(items) < 2 or (verb in PAIRS and len(items) > 2):
            raise UserError(f"{where}: {verb} takes a list of {wanted} curves, got {show(raw)}")
    return tuple(_argument(item, verb, where) for item in items)


def _argument(raw: Any, verb: str, where: str) -> str | Measure:
    if isinstance(raw, Mapping) and verb != "column":
        return _measure(raw, f"{where}, {verb}")
    if not isinstance(raw, str) or not re.fullmatch(r"([\w-]+/)?[\w-]+", raw):
        raise UserError(
            f"{where}: {verb} takes names of {'columns' if verb == 'column' else 'curves'}, got {show(raw)}"
        )
    return raw


def _layers(raw: Any, where: str) -> tuple[int | None, int | None]:
    if raw == "last":
        return None, None
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 1:
        return raw, raw
    match = re.fullmatch(r"(\d+)\.\.(\d*)", raw) if isinstance(raw, str) else None
    if not match or int(match[1]) < 1 or (match[2] and int(match[2]) < int(match[1])):
        raise UserError(f"{where}: layers must be like 10, 2..20, 4.. or last, got {show(raw)}")
    return int(match[1]), int(match[2]) if match[2] else None


def _limits(raw: Mapping[str, Any], where: str) -> Limits:
    if not raw:
        raise UserError(f"{where}: needs a limit, {one_of(LIMITS)}")
    lower, upper, excluded = [-math.inf], [math.inf], []
    for key, value in raw.items():
        if key == "between":
            if not isinstance(value, list) or len(value) != 2:
                raise UserError(f"{where}: between must be [low, high], got {show(value)}")
            ends = [_number(item, key, where) for item in value]
        elif key == "about":
            match = re.fullmatch(r"\s*(\S+)\s*(?:±|\+-)\s*([\d.]+)\s*(%?)\s*", str(value))
            try:
                middle, width = float(match[1]), float(match[2])  # type: ignore[index]
            except (TypeError, ValueError):
                raise UserError(f"{where}: about must be like 25 ± 2 or 4402 ± 10 %, got {show(value)}") from None
            width *= abs(middle) / 100 if match and match[3] else 1
            ends = [middle - width, middle + width]
        else:
            number = _number(value, key, where)
            ends = [number, math.inf] if key in ("at_least", "more_than") else [-math.inf, number]
            excluded += [number] if key in ("more_than", "less_than") else []
        lower.append(ends[0])
        upper.append(ends[1])
    low, high = max(lower), min(upper)
    if low > high:
        raise UserError(f"{where}: no number is within its limits, {low:g} to {high:g}")
    return Limits(low, high, tuple(excluded))


def _number(raw: Any, key: str, where: str) -> float:
    try:
        return finite(raw)
    except ValueError as error:
        raise UserError(f"{where}: {key} {error}, got {show(raw)}") from None
