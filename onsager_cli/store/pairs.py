"""Recorded pairs (x, y) of the user's own: which arrays of a file they are, and why they cannot be used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import entries
from onsager_cli.store.foreign import UnreadableError, Variable, variables
from onsager_cli.store.foreign.variable import described
from onsager_cli.text import did_you_mean, further

NAMED = 8  # of many arrays, how many a message names
BLOCK = 4096  # pairs that are looked at together
NOISE = "noise_variance"


class Names(NamedTuple):
    """The names of the arrays, as the config gives them."""

    x: str | None = None
    y: str | None = None
    matrix: str | None = None


@dataclass(frozen=True)
class Header:
    """What a file of pairs has: sizes as the file counts them, how many pairs, and where they lie."""

    M: int
    N: int
    pairs: int
    samples_in: str  # rows or columns
    is_complex: bool
    has_matrix: bool


@dataclass(frozen=True, eq=False)
class Pairs:
    """The arrays: x (L, N) and y (L, M), a pair to a row, perhaps in the file; A (M, N) and σ_w² if the file has them."""

    x: np.ndarray
    y: np.ndarray
    A: np.ndarray | None
    noise_variance: float | None
    is_complex: bool

    def rows(self, chosen: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        """The pairs at these positions, x (l, N) and y (l, M), in float32 or complex64."""
        kind = np.complex64 if self.is_complex else np.float32
        with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
            return np.ascontiguousarray(self.x[chosen], kind), np.ascontiguousarray(self.y[chosen], kind)


class _Found(NamedTuple):
    """The arrays of a file, by what they are."""

    x: Variable
    y: Variable
    matrix: Variable | None
    noise: Variable | None


def header(path: str, names: Names, samples_in: str | None, shape: tuple[int | None, int | None]) -> Header:
    """What the file has; `shape` is (M, N) as far as the config gives it. Raises UserError for what cannot be used.

    Reads no numbers, except of a .mat of version 4, which does not say otherwise whether it is complex.
    """
    label = f"problem.file={path}"
    try:
        found = _found(path, names)
        for one in (found.x, found.y):
            one.check(largest=float("inf"))
        where = _orientation(found, samples_in, shape, label)
        is_complex = _check_complex(found, label)
    except UnreadableError as error:
        raise UserError(f"{label} {error}") from error
    x, y = ((one.shape[::-1] if where == "columns" else one.shape) for one in (found.x, found.y))
    for key, size, name, array in (("M", y[1], "y", found.y), ("N", x[1], "x", found.x)):
        if (asked := shape[key == "N"]) not in (None, size):
            raise UserError(f"problem.{key}={asked}, but {name} of {label} is {described(array)}: {key} is {size}")
    return Header(y[1], x[1], x[0], where, is_complex, found.matrix is not None)


def read(path: str, names: Names, known: Header) -> Pairs:
    """The pairs of a file with this header, after a check of every number. Raises UserError for what cannot be used."""
    label = f"problem.file={path}"
    try:
        found = _found(path, names)
        x, y = ((one.mapped().T if known.samples_in == "columns" else one.mapped()) for one in (found.x, found.y))
        A = None if found.matrix is None else _matrix(found.matrix, f"{label}: {found.matrix.name}", known.is_complex)
        noise = None if found.noise is None else _variance(found.noise, f"{label}: {found.noise.name}")
        pairs = Pairs(x, y, A, noise, known.is_complex)
        _check_numbers(pairs, {"x": f"{label}: {found.x.name}", "y": f"{label}: {found.y.name}"})
    except UnreadableError as error:
        raise UserError(f"{label} {error}") from error
    return pairs


# -- which array is which


def _found(path: str, names: Names) -> _Found:
    """The arrays of a file or a folder. Raises UnreadableError for one that is missing."""
    place = Path(path)
    there = list(_of_folder(place)) if place.is_dir() else variables(place)
    x, y = _chosen(there, names.x, ("x", "X"), "x_name"), _chosen(there, names.y, ("y", "Y"), "y_name")
    if x is None or y is None:
        lacking, key = ("x", "x_name") if x is None else ("y", "y_name")
        raise UnreadableError(f"has no array {lacking}: it has {_list(there)}: add problem.{key}=…")
    matrix = _chosen(there, names.matrix, ("A",), "matrix_name")
    return _Found(x, y, matrix, _chosen(there, None, (NOISE,), ""))


def _of_folder(folder: Path) -> Iterator[Variable]:
    """The arrays of a folder, each named as its .npy is. Raises UnreadableError if there is none."""
    files = entries(folder, "*.npy")
    if not files:
        raise UnreadableError("is a folder without arrays: it must have x.npy and y.npy")
    for file in files:
        (one,) = variables(file)
        yield Variable(file.stem, one.shape, one.kind, one.load, is_complex=one.is_complex, map=one.map)


def _chosen(there: Sequence[Variable], name: str | None, usual: Sequence[str], key: str) -> Variable | None:
    """The array of this name, else of one of the usual names; None if there is none. Raises UnreadableError."""
    named = {one.name: one for one in there}
    if name is None:
        return next((named[word] for word in usual if word in named), None)
    if (own := named.get(name) or named.get(name.strip("/"))) is None:
        raise UnreadableError(f"has no array {name} (problem.{key}){did_you_mean(name, named)}: it has {_list(there)}")
    return own


def _list(there: Sequence[Variable]) -> str:
    """Names and sizes of the first arrays, and how many more there are."""
    return ", ".join(map(described, there[:NAMED])) + further(len(there), NAMED)


def _orientation(found: _Found, samples_in: str | None, shape: tuple[int | None, int | None], label: str) -> str:
    """Where the samples are: rows or columns. Raises UserError where the sizes do not fit, or do not tell."""
    x, y, A = found.x, found.y, found.matrix
    for one in (x, y, *((A,) if A else ())):
        if len(one.shape) != 2 or 0 in one.shape:
            raise UserError(f"{label}: {described(one)} must be a matrix with rows and columns")
    M, N = A.shape if A else (None, None)

    def fits(where: str, M: int | None, N: int | None) -> bool:
        (own_N, of_x), (own_M, of_y) = (x.shape, y.shape) if where == "columns" else (x.shape[::-1], y.shape[::-1])
        return of_x == of_y and M in (None, own_M) and N in (None, own_N)

    ways = [where for where in ("columns", "rows") if samples_in in (None, where)]
    possible = [where for where in ways if fits(where, M, N)]
    if len(possible) == 2:  # square ones: what the config knows may tell
        told = [where for where in possible if fits(where, *shape)]
        possible = told if len(told) == 1 else possible
    if len(possible) == 1:
        return possible[0]
    sizes = f"{described(x)}, {described(y)}"
    if possible:
        raise UserError(
            f"{label}: the samples of {sizes} could be rows or columns: add problem.samples_in=rows or "
            "problem.samples_in=columns"
        )
    only = f" with problem.samples_in={samples_in}" if samples_in else ""
    if A is None:
        raise UserError(f"{label}: {sizes} do not have the same number of samples, in rows or in columns{only}")
    turned = ": save A.T" if any(fits(where, N, M) for where in ways) else ""
    raise UserError(
        f"{label}: {sizes} do not fit {described(A)}, for which x is {N} x L and y {M} x L, or both transposed{only}{turned}"
    )


def _check_complex(found: _Found, label: str) -> bool:
    """Whether the pairs are complex. Raises UserError for real measurements of complex signals, and the like."""
    x, y = _is_complex(found.x), _is_complex(found.y)
    A = found.matrix is not None and _is_complex(found.matrix)
    if x and not y and not A:
        raise UserError(f"{label}: x is complex and y is real, which needs a complex A: save y as complex numbers")
    if A and not x and not y:
        raise UserError(f"{label}: A is complex, but x and y are real: save x and y as complex numbers, or Re A")
    return x or y


def _is_complex(one: Variable) -> bool:
    return bool(np.iscomplexobj(one.read()) if one.is_complex is None else one.is_complex)


# -- the numbers


def _matrix(one: Variable, label: str, is_complex: bool) -> np.ndarray:
    """A (M, N) in float32 or complex64. Raises UserError for what is not finite, and for a column of zeros."""
    with np.errstate(over="ignore"):
        A = one.read().astype(np.complex64 if is_complex else np.float32)
    if (wrong := ~np.isfinite(A)).any():
        row, column = np.unravel_index(np.argmax(wrong), A.shape)
        raise UserError(f"{label} holds NaN or infinity at row {row + 1}, column {column + 1} (counted from 1)")
    if (zero := np.flatnonzero(~A.any(axis=0))).size:
        place = f"column {zero[0] + 1} (counted from 1)"
        raise UserError(f"{label} has a column of zeros: {place} never reaches y{further(zero.size, 1)}")
    return A


def _variance(one: Variable, label: str) -> float:
    """σ_w², one finite number, at least 0. Raises UserError for anything else."""
    value = one.read()
    if value.size != 1 or np.iscomplexobj(value):
        raise UserError(f"{label} must be one real number, got {described(one)}")
    if not 0 <= (number := float(value.ravel()[0])) < np.inf:
        raise UserError(f"{label} must be a finite number, at least 0, got {number:g}")
    return number


def _check_numbers(pairs: Pairs, labels: dict[str, str]) -> None:
    """Raises UserError for a pair that is not finite, and for signals or measurements that are all zero."""
    seen = dict.fromkeys(labels, False)
    for start in range(0, len(pairs.x), BLOCK):
        for name, block in zip(labels, pairs.rows(slice(start, start + BLOCK)), strict=True):
            if (wrong := ~np.isfinite(block).all(axis=1)).any():
                sample = start + int(np.argmax(wrong)) + 1
                raise UserError(
                    f"{labels[name]} holds NaN or infinity, or a number beyond single precision, in sample {sample} "
                    "(counted from 1)"
                )
            seen[name] |= bool(block.any())
    for name, any_there in seen.items():
        if not any_there:
            raise UserError(f"{labels[name]} is zero in all {len(pairs.x)} samples")
