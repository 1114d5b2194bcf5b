"""Tables as CSV files. Figures, claims and the published record read nothing else.

`read_csv` and `csv_bytes` read and write any table. `read_table` and `table_bytes` are for curves: one row per point,
with typed columns. NMSEs are in dB. `steps` and `seconds` count the training from the start of the curve to this
point, so the last point has the cost of the curve. A table of an untrained curve is thinned out (`thinning`).
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from onsager_cli.errors import UserError
from onsager_cli.store.files import atomic_write, read_bytes
from onsager_cli.text import cell, show

Value = str | float | None  # what a field of a table holds
Row = dict[str, Any]
"""A point of a curve, or a row of another table: column → value."""
Point = Mapping[str, Any]
"""A row that is only read."""
K = TypeVar("K")
V = TypeVar("V")


_INTEGERS = (
    "layer", "seed", "steps", "parameters", "test_samples", "nonconverged", "clipped", "rescued", "zero_samples",
    "fresh_samples",
)  # fmt: skip
_DECIBELS = (
    "nmse_db",
    "nmse_mean_ratio_db",
    "nmse_median_db",
    "selection_nmse_db",
    "training_nmse_db",
    "attainable_db",
    "fresh_nmse_db",
)
_ERRORS = ("nmse_db_se", "nmse_mean_ratio_db_se", "fresh_nmse_db_se")
_NUMBERS = (*_DECIBELS, *_ERRORS, "seconds", "seconds_per_sample")

REQUIRED = (
    "curve", "network", "shrinkage", "tied", "layer", "nmse_db", "nmse_db_se", "nmse_mean_ratio_db",
    "problem", "instance", "seed", "steps", "seconds", "parameters",
)  # fmt: skip
EXTRAS = (
    "nmse_mean_ratio_db_se", "nmse_median_db", "selection_nmse_db", "test_samples", "nonconverged", "clipped", "rescued",
    "zero_samples", "embedding",
)  # fmt: skip
COLUMNS = REQUIRED + EXTRAS
OPTIONAL = (
    "training_nmse_db",
    "attainable_db",
    "told",
    "fresh_nmse_db",
    "fresh_nmse_db_se",
    "fresh_samples",
)  # columns of tables with a row that has them

# The meanings of NMSE over the test samples (dB).
NMSE = ("nmse_db", "nmse_mean_ratio_db", "nmse_median_db")

FRESH = "fresh_"  # before the NMSE on fresh samples
# Of the test samples in the table `replicates`: a standard deviation over so many is known to an eighth.
REPLICATES = 32
REPLICATE_KEY = ("curve", "instance", "seed", "layer", "set", "metric")

# Columns of other tables that hold text, even where it looks like a number.
_TEXTS = (
    "curve", "network", "shrinkage", "embedding", "problem", "instance", "told", "panel", "condition", "key", "value",
    "method", "size", "quantity", "form",
)  # fmt: skip

# What makes two rows the same point.
KEY = ("curve", "problem", "instance", "seed", "layer")

# Column → how its text is read and what it must be; other columns hold text.
_PARSERS: dict[str, tuple[Callable[[str], object], str]] = {
    **dict.fromkeys(_INTEGERS, (int, "a whole number")),
    **dict.fromkeys(_NUMBERS, (float, "a number")),
    "tied": ({"true": True, "false": False}.__getitem__, "true, false or empty"),
}
# Column → the least and the largest number. A curve that has diverged has NaN and ∞, too, but not in its seconds.
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_INTEGERS, (0, 1e15)), **dict.fromkeys(_DECIBELS, (-1e5, 1e5)), **dict.fromkeys(_ERRORS, (0, 1e5)),
    "layer": (1, 1e15), "seconds": (0, 1e12), "seconds_per_sample": (0, 1e12),
}  # fmt: skip


def _format(column: str, value: Any) -> str:
    """The text of a field. Raises TypeError for a value of the wrong type."""
    if value is None:
        return ""
    if column in _NUMBERS:
        return format(float(value), ".4f" if column in _DECIBELS else ".6g")
    if column == "tied":
        holds, fits, text = "True, False or None", isinstance(value, bool), cell(value)
    elif column in _INTEGERS:
        holds, fits, text = "whole numbers", int(value) == value, str(int(value))
    else:
        holds, fits, text = "text", isinstance(value, str), value
    if not fits:
        raise TypeError(f"column {column} holds {holds}, got {value!r}")
    return text


def csv_bytes(
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str] | None = None,
    text: Callable[[str, object], str] = lambda _, value: cell(value),
) -> bytes:
    """Rows as UTF-8 CSV.

    Args:
        rows: column → value. A missing column is written as None.
        columns: the header; by default the keys of the first row.
        text: (column, value) → what the file holds; by default 6 significant digits, and nothing for None.

    Raises ValueError for a row with another column, and whatever `text` raises.
    """
    rows = list(rows)
    columns = list(rows[0]) if columns is None else columns
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        if unknown := set(row) - set(columns):
            raise ValueError(f"unknown columns {sorted(unknown)}; known columns are {', '.join(columns)}")
        writer.writerow([text(column, row.get(column)) for column in columns])
    return file.getvalue().encode()


def read_csv(path: Path, data: bytes | None = None) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a CSV file, and (line number, fields) of every row, as text; `data` is its content, if known.

    Raises UserError, with the file and the line, for bytes that are no UTF-8 CSV and for a row that is longer or
    shorter than the header.
    """
    data = read_bytes(path, 2**28) if data is None else data
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        rows = [(lines.line_num, fields) for fields in lines if fields]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV table in UTF-8: {error}") from error
    for line, fields in rows:
        if len(fields) != len(header):
            raise UserError(f"{path}, line {line}: {len(fields)} fields, the header has {len(header)}")
    return header, rows


def table_bytes(rows: Iterable[Mapping[str, object]], further: Sequence[str] = ()) -> bytes:
    """A table of curves as UTF-8 CSV, with `further` columns at the end. A missing column or None is an empty field.

    dB values have 4 decimals, other numbers 6 significant digits. Raises ValueError for an unknown column and
    TypeError for a value of the wrong type.
    """
    rows = list(rows)
    more = [column for column in OPTIONAL if any(row.get(column) is not None for row in rows)]
    absent = set(OPTIONAL) - set(more)
    kept = [{column: value for column, value in row.items() if column not in absent} for row in rows]
    return csv_bytes(kept, (*COLUMNS, *more, *further), _format)


def is_table(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a table of curves."""
    return head.startswith(",".join(REQUIRED).encode())


def write_table(path: Path | str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write `rows` (see `table_bytes`) in one atomic step."""
    atomic_write(Path(path), table_bytes(rows))


def read_points(path: Path, data: bytes) -> list[Row]:
    """The rows of a stored curve (see `read_table`), each with its NMSE. Raises UserError for a row without."""
    rows = read_table(path, data)
    for row in rows:
        if row["nmse_db"] is None or not row["nmse_db"] < math.inf:
            raise UserError(f"{path}: the row of layer {row['layer']} needs a number in nmse_db")
    return rows


def read_table(path: Path | str, data: bytes | None = None, key: Sequence[str] = KEY) -> list[Row]:
    """The rows of a table of curves, with typed values. Empty fields are None; `tied` is True, False or None.

    `data` is the content of the file, if it is known. Rows that are equal in the columns of `key` are one point.

    Columns that this version does not know stay text. Raises UserError, with the file and, where there is one, the
    line and the column: for a missing or doubled column, a value that does not parse, a row that is longer or shorter
    than the header, and two rows for one point.
    """
    path = Path(path)
    header, lines = read_csv(path, data)
    _check_header(path, header)
    rows = [_parse(f"{path}, line {line}", header, fields) for line, fields in lines]
    seen: dict[tuple[object, ...], int] = {}
    for (line, _), row in zip(lines, rows, strict=True):
        first = seen.setdefault(tuple(row.get(column) for column in key), line)
        if first != line:
            point = f"curve {row['curve']}, layer {row['layer']}"
            raise UserError(f"{path}, line {line}: the same point as line {first} ({point})")
    return rows


def read_rows(path: Path) -> list[Row]:
    """The rows of any table that `csv_bytes` wrote, such as roc.csv: text, numbers, True and False; None for nothing.

    Raises UserError for a file that is no table.
    """
    header, lines = read_csv(path)
    return [{name: _guess(name, text) for name, text in zip(header, fields, strict=True)} for _, fields in lines]


def _guess(column: str, text: str) -> Value:
    """The value of a field, by its looks."""
    if column in _TEXTS:
        return text
    if text in ("", "true", "false"):
        return {"true": True, "false": False}.get(text)
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _check_header(path: Path, header: list[str]) -> None:
    """Raises UserError for a missing or doubled column."""
    if missing := [column for column in REQUIRED if column not in header]:
        raise UserError(f"{path}: column {missing[0]} is missing; required columns are {', '.join(REQUIRED)}")
    if doubled := sorted(column for column, count in Counter(header).items() if count > 1):
        raise UserError(f"{path}: column {doubled[0]} appears twice")


def _parse(where: str, header: list[str], fields: list[str]) -> Row:
    """The row of these fields. Raises UserError for one that does not parse."""
    row: Row = dict.fromkeys(COLUMNS)
    for column, text in zip(header, fields, strict=True):
        if text == "":
            continue
        parse, expected = _PARSERS.get(column, (str, "text"))
        try:
            row[column] = value = parse(text)
        except (KeyError, ValueError):
            raise UserError(f"{where}, column {column}: must be {expected}, got {show(text)}") from None
        if column in _LIMITS and not _possible(column, value):
            low, high = _LIMITS[column]
            raise UserError(f"{where}, column {column}: must be from {low:g} to {high:g}, got {show(text)}")
    return row


def _possible(column: str, value: object) -> bool:
    """Whether a column with limits can have this number."""
    assert isinstance(value, int | float)
    low, high = _LIMITS[column]
    return low <= value <= high or (column in (*_DECIBELS, *_ERRORS) and not math.isfinite(value))


def trainings(rows: Iterable[Point]) -> dict[tuple, float]:
    """The trained networks behind these points → the seconds of training, up to the deepest point of each.

    A network has the same key in every table that holds its first point, whatever its name and depth there.
    """
    seconds: dict[tuple, float] = {}
    for points in grouped(((row["curve"], row["instance"], row["seed"]), row) for row in rows).values():
        first = min(points, key=lambda row: row["layer"] or 0)
        if first["steps"]:
            key = tuple(first[name] for name in ("problem", "instance", "seed", "layer", "nmse_db", "steps", "seconds"))
            seconds[key] = max(row["seconds"] or 0.0 for row in points)
    return seconds


def all_trainings(experiments: Iterable[Mapping[tuple, float]]) -> dict[tuple, float]:
    """The trained networks of several experiments (`trainings`), each once, with the seconds of the deepest one."""
    seconds: dict[tuple, float] = {}
    for key, value in chain.from_iterable(found.items() for found in experiments):
        seconds[key] = max(value, seconds.get(key, 0.0))
    return seconds


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Key → the values that have this key; keys and values in order of appearance."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def by_curve(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each curve, in the order of the table."""
    return grouped((row["curve"], row) for row in rows)
