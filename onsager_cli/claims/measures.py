"""Measures on recorded curves and tables, and the limits they are held against; `criteria` says how to write them.

A series maps layers to values; under the key None it has one value, the same at every layer.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from onsager_cli.claims.recorded import NotRecordedError, Realization, Record
from onsager_cli.kinds.thinning import DENSE
from onsager_cli.text import one_of


class Range(NamedTuple):
    """A number known to lie in [low, high]: mostly one number; "not within 20 layers" is [21, inf]."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> "Range":
        return cls(value, value)

    def __neg__(self) -> "Range":  # type: ignore[override]
        return Range(-self.high, -self.low)


# Layer, None (a level) or a line of a table → value.
Series = dict[Any, Range]


@dataclass(frozen=True)
class Limits:
    """lower <= value <= upper; a limit that is in `excluded` is itself outside."""

    lower: float = -math.inf
    upper: float = math.inf
    excluded: tuple[float, ...] = ()

    def margin(self, value: Range) -> float:
        """How far inside (negative: outside) the nearest limit the value surely is; -inf for NaN."""
        margin = min(value.low - self.lower, self.upper - value.high)
        # 1e-9: a difference of two rounded table entries is rounded too.
        return -math.inf if math.isnan(margin) else round(margin, 9)

    def hold(self, value: Range) -> bool:
        """Whether the value is surely within the limits."""
        margin = self.margin(value)
        on_edge = any(round(end - edge, 9) == 0 for end in value for edge in self.excluded)
        return margin > 0 or (margin == 0 and not on_edge)


@dataclass(frozen=True)
class Data:
    """Where measures take their numbers from; names without an experiment mean `experiment`."""

    record: Record
    experiment: str
    metric: str
    realization: Realization | None = None


@dataclass(frozen=True)
class Measure:
    """A verb, what it is of (curve names or measures), and what of its values counts."""

    verb: str
    of: tuple["str | Measure", ...]
    layers: tuple[int | None, int | None] | None = None  # (None, None): the last; (4, None): from 4 on
    when: "tuple[Measure, Limits] | None" = None
    take: str | None = None
    level: float = 0.0
    upwards: bool = False
    table: str = ""
    where: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def unit(self) -> str:
        """dB, layers, or nothing."""
        if self.verb == "first":
            return "layers"
        if self.verb == "ratio":
            return ""
        if self.verb == "column":
            return "dB" if self.of[0].endswith("_db") else ""  # type: ignore[union-attr]
        return self.of[0].unit if isinstance(self.of[0], Measure) else "dB"

    def curves(self) -> Iterator[str]:
        """The curves that it reads, as they are named."""
        for item in (*self.of, *([self.when[0]] if self.when else ())):
            if isinstance(item, Measure):
                yield from item.curves()
            elif self.verb != "column":
                yield item

    def tables(self) -> Iterator[str]:
        """The tables that it reads apart from curves."""
        if self.table:
            yield self.table
        for item in (*self.of, *([self.when[0]] if self.when else ())):
            if isinstance(item, Measure):
                yield from item.tables()

    def series(self, data: Data) -> Series:
        """Its values. Raises NotRecordedError if one that counts is not recorded, UserError for an unknown name."""
        if self.verb == "column":
            name = str(self.of[0])
            found = data.record.column(self.table, name, self.where)
            series = {key: Range.of(value) for key, value in found.items()}
        else:
            parts = [_curve(i, data) if isinstance(i, str) else i.series(data) for i in self.of]
            series = self._first(parts[0]) if self.verb == "first" else _POINTWISE[self.verb](parts)
        series = self._counted(series, data)
        if self.take in (None, "every"):
            return series
        reduce = _TAKE[self.take]
        return {None: Range(reduce([v.low for v in series.values()]), reduce([v.high for v in series.values()]))}

    def _first(self, of: Series) -> Series:
        """The first layer at which a curve crosses the level.

        After a gap in the table it is a range, unless the rule of `thinning` makes it exact.
        """
        layers = sorted(key for key in of if isinstance(key, int))
        if not layers:
            raise NotRecordedError("a level has no first layer")
        before = 0
        for t in layers:
            value = of[t].low
            # A curve that has diverged to NaN is above every level.
            if not value <= self.level if self.upwards else value <= self.level:
                exact = t > DENSE and self.level == round(self.level)
                return {None: Range(t if exact else before + 1, t)}
            before = t
        return {None: Range(before + 1, math.inf)}

    def _counted(self, series: Series, data: Data) -> Series:
        """The values that `layers` and `when` choose; NotRecordedError if one of them is not there."""
        if self.layers is not None and set(series) != {None}:
            last = max(series)
            start, stop = self.layers
            wanted = range(last if start is None else start, (last if stop is None else stop) + 1)
            for t in wanted:
                if t not in series:
                    raise NotRecordedError(f"no layer {t} of {self._lacking(t, data)}")
            series = {t: series[t] for t in wanted}
        if self.when is not None:
            measure, limits = self.when
            condition = measure.series(data)
            series = {t: value for t, value in series.items() if t in condition and limits.hold(condition[t])}
        if not series:
            raise NotRecordedError("no layer is left to look at")
        return series

    def _lacking(self, t: int, data: Data) -> str:
        names = list(dict.fromkeys(self.curves()))
        return one_of([name for name in names if not {t, None} & set(_curve(name, data))] or names)


def _curve(name: str, data: Data) -> Series:
    experiment, _, slug = name.rpartition("/")
    found = data.record.curve(experiment or data.experiment, slug, data.metric, data.realization)
    return {layer: Range.of(value) for layer, value in found.items()}


def _pointwise(combine: Callable[[list[Range]], Range]) -> Callable[[list[Series]], Series]:
    """Applies `combine` at every layer that all have; a level is there at every layer."""

    def apply(parts: list[Series]) -> Series:
        over = [part for part in parts if None not in part]
        keys = [key for key in over[0] if all(key in part for part in over)] if over else [None]
        if not keys:
            raise NotRecordedError("the curves have no layer in common")
        return {key: combine([part.get(key, part.get(None)) for part in parts]) for key in keys}  # type: ignore[misc]

    return apply


def _difference(values: Sequence[Range]) -> Range:
    a, b = values
    return Range(a.low - b.high, a.high - b.low)


def _absolute(value: Range) -> Range:
    if math.isnan(value.low):
        return value
    return Range(max(0.0, value.low, -value.high), max(abs(value.low), abs(value.high)))


def _ratio(values: Sequence[Range]) -> Range:
    """The ratio of positive numbers. NaN, which is outside all limits, if the divisor is not positive."""
    a, b = values
    return Range(a.low / b.high, a.high / b.low) if b.low > 0 else Range.of(math.nan)


def _lowest(values: Sequence[Range]) -> Range:
    return Range(_TAKE["min"]([v.low for v in values]), _TAKE["min"]([v.high for v in values]))


def _highest(values: Sequence[Range]) -> Range:
    return -_lowest([-value for value in values])


def _step(parts: list[Series]) -> Series:
    (of,) = parts
    return {t: _absolute(_difference([of[t], of[t - 1]])) for t in of if isinstance(t, int) and t - 1 in of}


def _limit(parts: list[Series]) -> Series:
    (of,) = parts
    return {None: of[None] if None in of else of[max(of)]}


def _or_nan(function: Callable[[list[float]], float]) -> Callable[[list[float]], float]:
    """Python's min, max and median leave out or misplace NaN; here one NaN makes the whole NaN."""
    return lambda values: math.nan if any(map(math.isnan, values)) else function(values)


_TAKE: dict[str | None, Callable[[list[float]], float]] = {
    "max": _or_nan(max),
    "min": _or_nan(min),
    "mean": _or_nan(statistics.fmean),
    "median": _or_nan(statistics.median),
}
_POINTWISE: dict[str, Callable[[list[Series]], Series]] = {
    "value": lambda parts: parts[0],
    "step": _step,
    "limit": _limit,
    "difference": _pointwise(_difference),
    "gap": _pointwise(lambda values: _absolute(_difference(values))),
    "ratio": _pointwise(_ratio),
    "lowest": _pointwise(_lowest),
    "highest": _pointwise(_highest),
    "spread": _pointwise(lambda values: _difference([_highest(values), _lowest(values)])),
    "order": _pointwise(lambda values: _lowest([_difference([b, a]) for a, b in itertools.pairwise(values)])),
}


@dataclass(frozen=True)
class Outcome:
    """A check that was run: the number that decides, where it is, and how far it is inside the limits."""

    value: Range
    at: Any  # layer, line of a table, or None
    margin: float
    holds: bool
    unit: str


@dataclass(frozen=True)
class Check:
    """A measure and its limits; `source` is the mapping that it was made from."""

    measure: Measure
    limits: Limits
    source: Mapping[str, Any]

    def run(self, data: Data) -> Outcome:
        """Measure, and compare with the limits.

        Raises NotRecordedError if a number is not recorded, UserError for an unknown curve or column.
        """
        series = self.measure.series(data)
        at = min(series, key=lambda key: self.limits.margin(series[key]))
        value = series[at]
        return Outcome(value, at, self.limits.margin(value), self.limits.hold(value), self.measure.unit)
