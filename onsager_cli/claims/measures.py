"""Measures on recorded curves and tables, and the limits they are held against; `criteria` says how to write them.

A series maps layers to values; under the key None it has one value, the same at every layer.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from onsager_cli.claims.recorded import NotRecordedError, Place, Realization, Record, Values
from onsager_cli.kinds.thinning import DENSE
from onsager_cli.text import one_of


class Range(NamedTuple):
    """A number known to lie in [low, high]: mostly one number; "not within 20 layers" is [21, inf]."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> "Range":
        return cls(value, value)


Series = dict[Place, Range]


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
    """Where measures take their numbers from; names without an experiment mean `experiment`.

    `replicate` counts from 0: the numbers as they would be on resampled test samples; None: as they are recorded.
    """

    record: Record
    experiment: str
    metric: str
    realization: Realization | None = None
    replicate: int | None = None
    made: "dict[tuple[object, ...], Series]" = field(default_factory=dict, hash=False, compare=False)

    def curve(self, name: str) -> Series:
        """A curve by its name. Raises as `Record.curve` does."""
        experiment, _, slug = name.rpartition("/")
        where = experiment or self.experiment, slug, self.metric, self.realization
        if (known := self.made.get(key := (*where, self.replicate))) is not None:
            return known
        values = self.record.curve(*where)
        if self.replicate is not None:
            moved = self.record.deviations(*where)
            values = {layer: value + moved[layer][self.replicate] for layer, value in values.items()}
        return self.made.setdefault(key, _exact(values))

    def column(self, table: str, name: str, where: Mapping[str, object]) -> Series:
        """A column of another table. Raises as `Record.column` does."""
        values = self.record.column(table, name, where)
        if self.replicate is not None:
            moved = self.record.column_deviations(table, name, where)
            values = {place: value + moved[place][self.replicate] for place, value in values.items()}
        return _exact(values)


@dataclass(frozen=True)
class Measure:
    """A verb, what it is of (curve names or measures), and what of its values counts."""

    verb: str
    of: tuple["str | Measure", ...]
    layers: tuple[int | None, int | None] | None = None  # (None, None): the last; (4, None): from 4 on
    when: "tuple[Measure, Limits] | None" = None
    take: str = "every"
    reaches: float | None = None  # dB, as `exceeds`
    exceeds: float | None = None
    table: str = ""
    where: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def unit(self) -> str:
        """dB, layers, or nothing."""
        of = self.of[0]
        if self.verb in ("first", "ratio"):
            return "layers" if self.verb == "first" else ""
        if isinstance(of, Measure):
            return of.unit
        return "" if self.verb == "column" and not of.endswith("_db") else "dB"

    @property
    def _inner(self) -> "tuple[str | Measure, ...]":
        return self.of if self.when is None else (*self.of, self.when[0])

    def curves(self) -> Iterator[str]:
        """The curves that it reads, as they are named."""
        for item in self._inner:
            if isinstance(item, Measure):
                yield from item.curves()
            elif self.verb != "column":
                yield item

    def tables(self) -> Iterator[str]:
        """The tables that it reads apart from curves."""
        if self.table:
            yield self.table
        for item in self._inner:
            if isinstance(item, Measure):
                yield from item.tables()

    def series(self, data: Data) -> Series:
        """Its values. Raises NotRecordedError if one that counts is not recorded, UserError for an unknown name."""
        if self.verb == "column":
            series = data.column(self.table, str(self.of[0]), self.where)
        else:
            parts = [data.curve(of) if isinstance(of, str) else of.series(data) for of in self.of]
            series = self._first(parts[0]) if self.verb == "first" else _POINTWISE[self.verb](parts)
        series = self._counted(series, data)
        if self.take == "every":
            return series
        return {None: _taken(self.take, series.values())}

    def _first(self, of: Series) -> Series:
        """The first layer at which a curve crosses the level.

        After a gap in the table it is a range, unless the rule of `thinning` makes it exact.
        """
        layers = _layers(of)
        if not layers:
            raise NotRecordedError("a level has no first layer")
        level = self.reaches if self.exceeds is None else self.exceeds
        assert level is not None  # a measure with this verb has one of them
        for before, t in itertools.pairwise([0, *layers]):
            # A curve that has diverged to NaN is above every level.
            if (of[t].low <= level) == (self.exceeds is None):
                exact = t > DENSE and level == round(level)
                return {None: Range(t if exact else before + 1, t)}
        return {None: Range(layers[-1] + 1, math.inf)}

    def _counted(self, series: Series, data: Data) -> Series:
        """The values that `layers` and `when` choose; NotRecordedError if one of them is not there."""
        if self.layers is not None and set(series) != {None}:
            last = max(_layers(series), default=0)
            start, stop = (last if end is None else end for end in self.layers)
            for t in range(start, stop + 1):
                if t not in series:
                    raise NotRecordedError(f"no layer {t} of {self._lacking(t, data)}")
            series = {t: series[t] for t in range(start, stop + 1)}
        if self.when is not None:
            measure, limits = self.when
            condition = measure.series(data)
            series = {t: value for t, value in series.items() if t in condition and limits.hold(condition[t])}
        if not series:
            raise NotRecordedError("no layer fulfils `when`")
        return series

    def _lacking(self, t: int, data: Data) -> str:
        names = list(dict.fromkeys(self.curves()))
        return one_of([name for name in names if not {t, None} & set(data.curve(name))] or names)


def _exact(values: Values) -> Series:
    return {place: Range.of(value) for place, value in values.items()}


def _layers(series: Series) -> list[int]:
    return sorted(place for place in series if isinstance(place, int))


def _pointwise(combine: Callable[[list[Range]], Range]) -> Callable[[list[Series]], Series]:
    """Applies `combine` at every layer that all have; a level is there at every layer."""

    def apply(parts: list[Series]) -> Series:
        over = [part for part in parts if None not in part]
        keys = [key for key in over[0] if all(key in part for part in over)] if over else [None]
        if not keys:
            raise NotRecordedError("the curves have no layer in common")
        return {key: combine([part[key] if key in part else part[None] for part in parts]) for key in keys}

    return apply


def _difference(a: Range, b: Range) -> Range:
    return Range(a.low - b.high, a.high - b.low)


def _gap(a: Range, b: Range) -> Range:
    """|a - b|."""
    value = _difference(a, b)
    if math.isnan(value.low):
        return value
    return Range(max(0.0, value.low, -value.high), max(abs(value.low), abs(value.high)))


def _ratio(a: Range, b: Range) -> Range:
    """The ratio of positive numbers. NaN, which is outside all limits, if the divisor is not positive."""
    return Range(a.low / b.high, a.high / b.low) if b.low > 0 else Range.of(math.nan)


def _taken(take: str, values: Iterable[Range]) -> Range:
    """What `take` makes of many numbers."""
    lows, highs = zip(*values, strict=True)
    return Range(TAKE[take](lows), TAKE[take](highs))


def _step(parts: list[Series]) -> Series:
    (of,) = parts
    return {t: _gap(of[t], of[t - 1]) for t in _layers(of) if t - 1 in of}


def _limit(parts: list[Series]) -> Series:
    (of,) = parts
    return {None: of[max(_layers(of), default=next(iter(of)))]}


def _or_nan(function: Callable[[Sequence[float]], float]) -> Callable[[Sequence[float]], float]:
    """Python's min, max and median leave out or misplace NaN; here one NaN makes the whole NaN."""
    return lambda values: math.nan if any(map(math.isnan, values)) else function(values)


TAKE: dict[str, Callable[[Sequence[float]], float]] = {
    "max": _or_nan(max),
    "min": _or_nan(min),
    "mean": _or_nan(statistics.fmean),
    "median": _or_nan(statistics.median),
}
_POINTWISE: dict[str, Callable[[list[Series]], Series]] = {
    "value": lambda parts: parts[0],
    "step": _step,
    "limit": _limit,
    "difference": _pointwise(lambda values: _difference(*values)),
    "gap": _pointwise(lambda values: _gap(*values)),
    "ratio": _pointwise(lambda values: _ratio(*values)),
    "lowest": _pointwise(lambda values: _taken("min", values)),
    "highest": _pointwise(lambda values: _taken("max", values)),
    "spread": _pointwise(lambda values: _difference(_taken("max", values), _taken("min", values))),
    "order": _pointwise(lambda values: _taken("min", [_difference(b, a) for a, b in itertools.pairwise(values)])),
}
