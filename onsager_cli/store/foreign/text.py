"""A matrix in plain text, one row to a line, with any of the usual separators; and the words for what is none."""

import codecs
import csv
import re
from collections.abc import Sequence

import numpy as np

from onsager_cli.store.foreign.variable import NUMBERS, UnreadableError, Variable
from onsager_cli.text import show

NO_TEXT, NO_NUMBERS = NO_TABLE = ("is not text and not a known format", "holds no numbers")
EXPECTED = "write comma-separated numbers, one row of the matrix per line"
HEAD = 4096  # bytes that say at once that a large file is no text
SEPARATORS = ("\t", ";", ",", None)  # None: blanks
WORDS = {"true": 1.0, "false": 0.0}
INDEX = ("", "index", "unnamed: 0")  # how pandas and R head the column that counts the rows
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_BINARY = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
_COMMENT = re.compile(r"#.*|(^|\s)%.*")
_DECIMAL_COMMA = re.compile(r",(?=\d)")
_EXPONENT = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")  # as Fortran writes it
_IMAGINARY = re.compile(r"\*?[iIjJ](?=\)?$)")

Row = tuple[int, list[str]]
"""The number of a line, from 1, and its cells."""


def decoded(data: bytes) -> str:
    """The text in these bytes, by its byte order mark, in UTF-8 or in Latin-1; lines end in "\\n".

    Raises UnreadableError for what is no text.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    if not (encoding == "utf-8" and _BINARY.search(data[:HEAD].rstrip(b"\x1a\0").decode("latin-1"))):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = data.decode("latin-1")  # letters of a header; the numbers are the same
        text = text.rstrip("\x1a\0").replace("\r\n", "\n").replace("\r", "\n")
        if not _BINARY.search(text):
            return text
    raise UnreadableError(f"{NO_TEXT} of arrays, or is damaged")


def number(cell: str) -> float | complex:
    """The number in a cell: 1.5, 1,5, "1.5", 1.5D-3, 1+2i, (1-2j). Raises ValueError."""
    word = cell.strip().strip("\"'").replace("\N{MINUS SIGN}", "-").strip()
    word = _EXPONENT.sub("e", _DECIMAL_COMMA.sub(".", word))
    if "_" in word:  # which Python skips in a number
        raise ValueError
    if word.lower() in WORDS:
        return WORDS[word.lower()]
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
    numbered = enumerate(map(_without_comment, decoded(data).split("\n")), 1)
    lines = [(at, line) for at, line in numbered if line.strip(" \t,;")]
    separator = _separator([line for _, line in lines[-3:]])
    if lines and (said := re.fullmatch(r"sep=(.)\s*", lines[0][1])):  # to Excel
        separator, lines = said[1], lines[1:]
    header: list[str] = []
    while lines and _is_header(cells := _cells(lines[0][1], separator)):
        header, lines = cells, lines[1:]
    if (matrix := _plain(lines, header, separator)) is None:
        matrix = _by_cells([(at, _cells(line, separator)) for at, line in lines], header)
    return [Variable("", matrix.shape, NUMBERS, lambda: matrix, is_table=True)]


def _plain(lines: Sequence[tuple[int, str]], header: list[str], separator: str | None) -> np.ndarray | None:
    """The matrix of lines that NumPy reads as they are, which is quick; None for others."""
    if not lines or (
        header and (header[0].strip().lower() in INDEX or len(header) != len(_cells(lines[0][1], separator)))
    ):
        return None
    try:
        return np.loadtxt([line for _, line in lines], delimiter=separator, comments=None, ndmin=2)
    except ValueError:
        return None


def _by_cells(rows: Sequence[Row], header: list[str]) -> np.ndarray:
    """The matrix of rows in which some cells are written otherwise, or are no numbers. Raises UnreadableError."""
    labels = 1 if rows and _has_labels(header, rows) else 0
    if not rows or len(rows[0][1]) == labels:
        raise UnreadableError(f"{NO_NUMBERS}: {EXPECTED}")
    values = [
        [_value(at, column, cell) for column, cell in enumerate(cells, 1) if column > labels] for at, cells in rows
    ]
    for (at, _), row in zip(rows, values, strict=True):
        if len(row) != len(values[0]):
            first = f"line {rows[0][0]} has {len(values[0])}"
            raise UnreadableError(f"cannot be read: line {at} has {len(row)} numbers, {first}; {EXPECTED}")
    return np.array(values)


def without_counts(matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The matrix without a first row that counts the columns, or a first column that counts the rows.

    pandas writes both without a name that would tell them. They are left out where the rest has this shape.
    """
    for rest, counts in ((matrix[1:], matrix[0]), (matrix[:, 1:], matrix[:, 0])):
        if rest.shape == shape and any(np.array_equal(counts, np.arange(counts.size) + start) for start in (0, 1)):
            return rest
    return matrix


def _without_comment(line: str) -> str:
    """The line up to a # or, at its beginning or after a blank, a %."""
    return _COMMENT.sub("", line) if "#" in line or "%" in line else line


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


def _value(line: int, column: int, cell: str) -> float | complex:
    """The number in a cell. Raises UnreadableError for another, with its place."""
    try:
        return number(cell)
    except ValueError:
        word = show(cell.strip(), 20) if cell.strip() else "empty"
        raise UnreadableError(f"cannot be read: line {line}, column {column} is {word}; {EXPECTED}") from None
