"""A matrix of the user's own: which array of a file it is, and why it cannot be used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.foreign import UnreadableError, Variable, variables
from onsager_cli.store.foreign.text import without_counts
from onsager_cli.store.foreign.variable import NUMBERS, described
from onsager_cli.text import did_you_mean, further

Sizes = tuple[str, str]
"""The keys of the number of rows and of columns."""
SIZES: Sizes = ("problem.M", "problem.N")
SMALLEST = 1e-12  # norm of a column: float32 holds its square, and that of the noise
NAMED = 8  # of many arrays, how many a message names


def read(path: str, shape: tuple[int, int], name: str | None = None, sizes: Sizes = SIZES) -> np.ndarray:
    """A (M, N) in float32 or complex64 from a file of any known format.

    It is the array `name`, else the one named A, else the only matrix. Raises UserError, which names the file, for
    anything that is no matrix of this shape.
    """
    label = f"problem.matrix={path}"
    try:
        found = variables(Path(path))
        chosen = _chosen(found, name, shape)
        label += f": {chosen.name}" if len(found) > 1 else ""
        chosen.check()
        if not chosen.is_table:
            _check_shape(chosen.shape, label, shape, sizes)  # before it takes any memory
        array = chosen.read()
    except UnreadableError as error:
        raise UserError(f"problem.matrix={path} {error}") from error
    return checked(without_counts(array, shape) if chosen.is_table else array, label, shape, sizes)


def read_any(path: str, name: str | None = None) -> np.ndarray:
    """A (M, N) of any size in float32 or complex64, chosen as `read` does. Raises UserError, which names the file."""
    try:
        found = variables(Path(path))
        chosen = _chosen(found, name, (0, 0))
        chosen.check()
        array = chosen.read()
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from error
    label = f"{path}: {chosen.name}" if len(found) > 1 else path
    if array.ndim != 2 or 0 in array.shape:
        raise UserError(f"{label} must hold a matrix, got an array of shape {array.shape}")
    return checked(array, label, array.shape)


def checked(A: np.ndarray, name: str, shape: tuple[int, int], sizes: Sizes = SIZES) -> np.ndarray:
    """A (M, N) in float32, or complex64 if an imaginary part is not zero.

    Raises UserError, which calls it `name`, for what is no matrix of this shape.
    """
    _check_shape(A.shape, name, shape, sizes)
    given = np.real(A) if np.iscomplexobj(A) and not np.imag(A).any() else A
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
        A = given.astype(np.complex64 if np.iscomplexobj(given) else np.float32)
    if (wrong := ~np.isfinite(A)).any():
        row, column = np.unravel_index(np.argmax(wrong), shape)
        value = given[row, column]
        place = f"row {row + 1}, column {column + 1} (counted from 1){further(int(np.count_nonzero(wrong)), 1)}"
        why = f": {value:g} is too large for single precision" if np.isfinite(value) else ""
        raise UserError(f"{name} holds NaN or infinity at {place}{why}")
    typical = float(np.sqrt(np.mean(np.abs(A.astype(np.result_type(A, np.float64))) ** 2) * len(A)))
    if typical and not SMALLEST <= typical <= 1 / SMALLEST:
        raise UserError(
            f"{name} has columns of norm {typical:.3g}; allowed are {SMALLEST:g} to {1 / SMALLEST:g}: change the unit of y"
        )
    if (zero := np.flatnonzero(~A.any(axis=0))).size:
        place = f"column {zero[0] + 1} (counted from 1)"
        raise UserError(f"{name} has a column of zeros: {place} never reaches y{further(zero.size, 1)}")
    return A


def _chosen(found: Sequence[Variable], name: str | None, shape: tuple[int, int]) -> Variable:
    """The variable that is A. Raises UnreadableError if that is not clear."""
    named = {variable.name: variable for variable in found if variable.name}
    if name is not None:
        if (own := named.get(name) or named.get(name.strip("/"))) is not None:  # paths in HDF5 may begin with a slash
            return own
        if not named:
            raise UnreadableError("holds one array without a name: leave problem.matrix_name out")
        raise UnreadableError(f"has no array {name}{did_you_mean(name, named)}: it has {_list(found)}")
    matrices = [variable for variable in found if variable.kind == NUMBERS and len(variable.shape) == 2]
    if (A := named.get("A")) in matrices:
        return A
    if len(found) == 1 and not _is_struct(found[0]):
        return found[0]
    wide = [variable for variable in matrices if min(variable.shape) > 1]  # MATLAB's numbers and vectors are matrices
    structs = [variable.name for variable in found if _is_struct(variable)]
    if not wide and structs:
        raise UnreadableError(f"has a struct {structs[0]}: save A itself, not in a struct")
    if len(candidates := wide or matrices) == 1:
        return candidates[0]
    if not candidates:
        raise UnreadableError(f"has no matrix: it has {_list(found)}")
    fitting = [variable.name for variable in candidates if variable.shape == shape]
    choice = fitting[0] if len(fitting) == 1 else candidates[0].name
    raise UnreadableError(
        f"has several matrices, {_list(candidates)}, and none named A: add problem.matrix_name={choice}"
    )


def _is_struct(variable: Variable) -> bool:
    return "struct" in variable.kind


def _list(found: Sequence[Variable]) -> str:
    """Names and sizes of the first variables, and how many more there are."""
    return ", ".join(map(described, found[:NAMED])) + further(len(found), NAMED)


def _check_shape(found: tuple[int, ...], name: str, shape: tuple[int, int], sizes: Sizes) -> None:
    """Raises UserError for another shape than (M, N), with what to do about it."""
    asked = f"{sizes[0]}={shape[0]} {sizes[1]}={shape[1]}"
    if found == shape:
        return
    if len(found) != 2:
        raise UserError(f"{name} must hold a matrix, got an array of shape {found}: save it with rows and columns")
    rows, columns = found
    size, own = f"{rows} x {columns}", f"add {sizes[0]}={rows} {sizes[1]}={columns}"
    if 0 in found:
        raise UserError(f"{name} is empty: {size} instead of {asked}")
    if found == shape[::-1]:
        raise UserError(
            f"{name} is {size}, the transpose of {asked}: save A.T; or, if you have {rows} measurements of {columns} "
            f"unknowns, {own}"
        )
    if 1 in found and rows * columns == shape[0] * shape[1]:
        raise UserError(
            f"{name} is {size}, all entries in one line: save it with {shape[0]} rows and {shape[1]} columns"
        )
    raise UserError(f"{name} is {size}, the config has {asked}: {own}")
