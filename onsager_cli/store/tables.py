"""Result tables: tidy CSV, one row per point, typed columns checked on writing and reading.

Figures, claims and the published record read nothing but these tables. NMSEs are in dB. `steps` and
`seconds` count the training from the start of the curve to this point: the last point has the curve's cost.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.store.files import atomic_write, read_bytes

Row = dict[str, Any]


def _integer(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true, false or empty")
    return text == "true"


_INTEGERS = (
    "layer", "seed", "steps", "parameters", "test_samples", "nonconverged", "clipped", "rescued", "zero_samples",
)  # fmt: skip
_DECIBELS = ("nmse_db", "nmse_mean_ratio_db", "nmse_median_db", "selection_nmse_db")
_NUMBERS = (*_DECIBELS, "nmse_db_se", "nmse_mean_ratio_db_se", "seconds")

REQUIRED = (
    "curve", "network", "shrinkage", "tied", "layer", "nmse_db", "nmse_db_se", "nmse_mean_ratio_db",
    "problem", "instance", "seed", "steps", "seconds", "parameters",
)  # fmt: skip
EXTRAS = (
    "nmse_mean_ratio_db_se", "nmse_median_db", "selection_nmse_db", "test_samples", "nonconverged", "clipped", "rescued",
    "zero_samples", "embedding",
)  # fmt: skip
COLUMNS = REQUIRED + EXTRAS

# The meanings of NMSE over the test samples (dB).
NMSE = ("nmse_db", "nmse_mean_ratio_db", "nmse_median_db")

# What makes two rows the same point.
_KEY = ("curve", "problem", "instance", "seed", "layer")

_PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys(_NUMBERS, _number),
    "tied": _boolean,
}


def _format(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "tied":
        if not isinstance(value, bool):
            raise TypeError(f"column tied holds True, False or None, got {value!r}")
        return "true" if value else "false"
    if column in _INTEGERS:
        if int(value) != value:
            raise TypeError(f"column {column} holds whole numbers, got {value!r}")
        return str(int(value))
    if column in _DECIBELS:
        return f"{float(value):.4f}"
    if column in _NUMBERS:
        return f"{float(value):.6g}"
    if not isinstance(value, str):
        raise TypeError(f"column {column} holds text, got {value!r}")
    return value


def table_bytes(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The table as UTF-8 CSV. A missing column or None is an empty field.

    dB values have 4 decimals, other numbers 6 significant digits. Raises ValueError for an unknown column and
    TypeError for a value of the wrong type.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        unknown = set(row) - set(COLUMNS)
        if unknown:
            raise ValueError(f"unknown columns {sorted(unknown)}; known are {', '.join(COLUMNS)}")
        writer.writerow([_format(column, row.get(column)) for column in COLUMNS])
    return text.getvalue().encode()


def write_table(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows` (see `table_bytes`) in one atomic step."""
    atomic_write(Path(path), table_bytes(rows))


def read_table(path: Path | str) -> list[Row]:
    """Rows with typed values; empty fields are None, `tied` is True, False or None.

    Columns that this version does not know are kept as text. Raises UserError naming the file and, where
    there is one, the line and the column: a missing or doubled column, a value that does not parse, a ragged
    row, two rows for one point.
    """
    path = Path(path)
    try:
        lines = csv.reader(io.StringIO(read_bytes(path, 2**28).decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        _check_header(path, header)
        rows: list[Row] = []
        seen: dict[tuple[Any, ...], int] = {}
        for fields in lines:
            if not fields:
                continue
            row = _parse(f"{path}, line {lines.line_num}", header, fields)
            key = tuple(row[column] for column in _KEY)
            if key in seen:
                raise UserError(
                    f"{path}, line {lines.line_num}: the same point as line {seen[key]} "
                    f"(curve {row['curve']}, layer {row['layer']})"
                )
            seen[key] = lines.line_num
            rows.append(row)
        return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV table in UTF-8: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    for column in REQUIRED:
        if column not in header:
            raise UserError(f"{path}: column {column} is missing; needed are {', '.join(REQUIRED)}")
    doubled = sorted({column for column in header if header.count(column) > 1})
    if doubled:
        raise UserError(f"{path}: column {doubled[0]} appears twice")


def _parse(where: str, header: list[str], fields: list[str]) -> Row:
    if len(fields) != len(header):
        raise UserError(f"{where}: {len(fields)} fields, the header has {len(header)}")
    row: Row = dict.fromkeys(COLUMNS)
    for column, text in zip(header, fields, strict=True):
        if text == "":
            continue
        try:
            row[column] = _PARSERS.get(column, str)(text)
        except ValueError as error:
            raise UserError(f"{where}, column {column}: must be {error}, got {text!r}") from None
    return row


def markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, numbers to the right; without a header it has two columns of text."""
    lines = [
        list(header),
        ["---", *["---:"] * (len(header) - 1)] if header[0] else ["---"] * len(header),
        *body,
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def trainings(rows: Iterable[Mapping[str, Any]]) -> dict[tuple, float]:
    """The networks that were trained for these points, each with its seconds: those of its deepest point.

    The keys are the same in every table that has a network's first point, under whatever name and to whatever depth.
    """
    found: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in ("curve", "instance", "seed")), []).append(row)
    seconds: dict[tuple, float] = {}
    for points in found.values():
        first = min(points, key=lambda row: row["layer"] or 0)
        if first["steps"]:
            key = tuple(
                first[name]
                for name in ("problem", "instance", "seed", "layer", "nmse_db", "steps", "seconds")
            )
            seconds[key] = max(row["seconds"] or 0.0 for row in points)
    return seconds
