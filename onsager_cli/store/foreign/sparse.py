"""Sparse matrices become dense here. NumPy checks every index, which compiled code would trust."""

from collections.abc import Mapping

import numpy as np


def dense(shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The matrix with these entries; those at one place add up. Raises ValueError for an index outside."""
    matrix = np.zeros(shape, values.dtype)
    np.add.at(matrix, (_inside(rows, shape[0]), _inside(columns, shape[1])), values)
    return matrix


def from_scipy(form: str, shape: tuple[int, int], parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """The dense matrix of the arrays that scipy.sparse.save_npz writes in the format `form`.

    Raises ValueError, KeyError or IndexError for arrays that are no such matrix.
    """
    values, (M, N) = parts["data"], shape
    if form == "coo":
        rows, columns = parts["coords"] if "coords" in parts else (parts["row"], parts["col"])
    elif form == "csr":
        rows, columns = _lines(parts, M), parts["indices"]
    elif form == "csc":
        rows, columns = parts["indices"], _lines(parts, N)
    elif form == "bsr":
        _, height, width = values.shape
        rows = _lines(parts, M // height)[:, None, None] * height + np.arange(height)[:, None]
        columns = _inside(parts["indices"], N // width)[:, None, None] * width + np.arange(width)
    elif form == "dia":  # values[k, n] stands in column n, offsets[k] above the main diagonal
        columns = np.arange(values.shape[1])[None, :]
        rows = columns - parts["offsets"][:, None]
        exists = (rows >= 0) & (rows < M) & (columns < N)
        values, rows, columns = values[exists], rows[exists], np.broadcast_to(columns, rows.shape)[exists]
    else:
        raise ValueError(f"the format {form!r} is unknown")
    rows, columns = np.broadcast_arrays(rows, columns)
    return dense(shape, rows, columns, values)


def _lines(parts: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """The row (csr) or column (csc) of each entry. Raises ValueError for pointers that leave the entries."""
    entries = len(parts["indices"])
    pointers = _inside(parts["indptr"], entries + 1)
    if pointers[0] != 0 or pointers[-1] != entries:
        raise ValueError("its pointers skip entries")
    return np.repeat(np.arange(count), np.diff(pointers))  # ValueError where they fall


def _inside(index: np.ndarray, length: int) -> np.ndarray:
    """`index` if all of it is from 0 to length - 1. Raises ValueError otherwise."""
    if index.dtype.kind not in "iu" or (index.size and not 0 <= index.min() <= index.max() < length):
        raise ValueError("an index lies outside the matrix")
    return index.astype(np.intp)
