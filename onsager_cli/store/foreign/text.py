"""A matrix in plain text, one row to a line, with any of the usual separators; and the words for what is none."""

import codecs
import csv
import re
from collections.abc import Sequence

import numpy as np

from onsager_cli.store.foreign.variable import NUMBERS, UnreadableError, Variable
from onsager_cli.text import show

EXPECTED = "expected are comma-separated numbers, one row of the matrix per line"
SEPARATORS = ("\t", ";", ",", None)  # None: blanks
INDEX = ("", "index", "unnamed: 0")  # how pandas and R head the column that counts the rows
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_BINARY = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
_COMMENT = re.compile(r"#.*|(^|\s)%.*")
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+(?:[eEdD][+-]?\d+)?)")
_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")  # as Fortran writes it
_IMAGINARY = re.compile(r"\*?[iIjJ](?=\)?$)")

Row = tuple[int, list[str]]
"""The number of a line, from 1, and its cells."""


def decoded(data: bytes) -> str:
    """The text in these bytes, by its byte order mark, in UTF-8 or in Latin-1; lines end in "\\n".

    Raises UnreadableError for what is no text.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # letters of a header; the numbers are the same
    text = text.rstrip("\x1a\0").replace("\r\n", "\n").replace("\r", "\n")
    if _BINARY.search(text):
        raise UnreadableError("is neither text nor a known format of arrays, or it is damaged")
    return text


def number(cell: str) -> float | complex:
    """The number in a cell: 1.5, 1,5, "1.5", 1.5D-3, 1+2i, (1-2j). Raises ValueError."""
    word = cell.strip().strip("\"'").replace("\N{MINUS SIGN}", "-").strip()
    if comma := _DECIMAL_COMMA.fullmatch(word):
        word = f"{comma[1]}.{comma[2]}"
    word = _EXPONENT.sub("e", word)
    if "_" in word:  # which Python skips in a number
        raise ValueError
    try:
        return float(word)
    except ValueError:
        if not re.search(r"\d", word):  # i and j may be names of columns
            raise
        return complex(_IMAGINARY.sub("j", word.replace(" ", "").replace("+-", "-")))


def is_number(cell: str) -> bool:
    """Whether a cell holds one."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def table(data: bytes) -> list[Variable]:
    """The matrix that a text holds. Raises UnreadableError, which counts lines and columns from 1."""
    lines = [(at, _COMMENT.sub("", line)) for at, line in enumerate(decoded(data).split("\n"), 1)]
    lines = [(at, line) for at, line in lines if line.strip(" \t,;")]
    separator = _separator([line for _, line in lines[-3:]])
    if lines and (said := re.fullmatch(r"sep=(.)\s*", lines[0][1])):  # to Excel
        separator, lines = said[1], lines[1:]
    rows = [(at, _cells(line, separator)) for at, line in lines]
    header: list[str] = []
    while rows and _is_header(rows[0][1]):
        header, rows = rows[0][1], rows[1:]
    if not rows:
        raise UnreadableError(f"holds no numbers: {EXPECTED}")
    labels = 1 if _has_labels(header, rows) else 0
    values = [_values(at, cells, labels) for at, cells in rows]
    for (at, _), row in zip(rows, values, strict=True):
        if len(row) != len(values[0]):
            first = f"line {rows[0][0]} has {len(values[0])}"
            raise UnreadableError(f"cannot be read: line {at} has {len(row)} numbers, {first}; {EXPECTED}")
    matrix = np.array(values)
    return [Variable("", matrix.shape, NUMBERS, lambda: matrix, is_table=True)]


def without_counts(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The matrix without a first row that counts the columns, or a first column that counts the rows.

    pandas writes both without a name that would tell them. They are left out where the rest has this shape.
    """
    for rest, counts in ((matrix[1:], matrix[0]), (matrix[:, 1:], matrix[:, 0])):
        if rest.shape == shape and any(np.array_equal(counts, np.arange(counts.size) + start) for start in (0, 1)):
            return rest
    return matrix


def _separator(sample: Sequence[str]) -> str | None:
    """The separator by which these lines are numbers, else one that they have."""
    present = [sep for sep in SEPARATORS if sep is None or any(sep in line for line in sample)]
    for separator in present:
        if all(is_number(cell) for line in sample for cell in _cells(line, separator)):
            return separator
    return present[0]


def _cells(line: str, separator: str | None) -> list[str]:
    """The cells of a line, without empty ones at its end."""
    if separator == ",":
        line = line.rstrip(" \t;")
    if '"' in line:
        cells = next(csv.reader([line], delimiter=separator or " ", skipinitialspace=True))
    else:
        cells = line.split(separator)
    while len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return cells


def _is_header(cells: list[str]) -> bool:
    """Whether these are names of columns; after the first name, pandas may number them."""
    first, *others = (cell.strip() for cell in cells)
    if is_number(first):
        return False
    return not any(map(is_number, others)) or _counts(others)


def _has_labels(header: list[str], rows: Sequence[Row]) -> bool:
    """Whether the first cells of the rows name or count them: their header is empty or missing, or says so."""
    if not header:
        return False
    firsts = [cells[0].strip() for _, cells in rows]
    unheaded = len(header) == len(rows[0][1]) - 1 and (_counts(firsts) or not is_number(firsts[0]))
    return unheaded or header[0].strip().lower() in INDEX


def _counts(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, … or 1, 2, 3, …"""
    return any(list(cells) == [str(start + n) for n in range(len(cells))] for start in (0, 1))


def _values(at: int, cells: list[str], labels: int) -> list[float] | list[complex]:
    """The numbers of line `at`, after `labels` cells that are none. Raises UnreadableError for another."""
    try:
        if not any("_" in cell for cell in cells):
            return [float(cell) for cell in cells[labels:]]
    except ValueError:
        pass
    found = []
    for column, cell in enumerate(cells[labels:], labels + 1):
        try:
            found.append(number(cell))
        except ValueError:
            word = show(cell.strip(), 20) if cell.strip() else "empty"
            raise UnreadableError(f"cannot be read: line {at}, column {column} is {word}; {EXPECTED}") from None
    return found
