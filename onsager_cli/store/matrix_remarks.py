"""What the user should know of a matrix of their own, although training can live with it."""

import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from onsager_cli.errors import Notice
from onsager_cli.text import further

LARGEST_GRAM = 2000  # rows or columns, the fewer of them, up to which the rank is looked at
NORMS = 10.0  # how many times the smallest norm of a column the largest may be without a word
CENTRED = 9.0  # how many times its share of the energy the direction of the mean may hold without a word
ALIKE = 1e-6  # how far apart proportional columns, scaled to norm 1, may be in a random direction
DIRECTIONS = 4
NAMED = 4  # of many columns or groups of them, how many a message names
ENTRIES = 2**20  # of A that are in double precision at a time


def warn(texts: Iterable[str], name: str) -> None:
    """A Notice for each remark on the matrix that it calls `name`."""
    for text in texts:
        warnings.warn(f"{name} {text}", Notice, stacklevel=2)


def remarks(A: np.ndarray) -> Iterator[str]:
    """What is unusual in A (M, N), real or complex: its rank, its columns, its mean. Each continues the name of the matrix."""
    M, N = A.shape
    norms = np.sqrt(sum(np.sum(np.abs(block) ** 2, axis=0) for block in _blocks(A)))
    if (full := min(M, N)) <= LARGEST_GRAM and (rank := _rank(A)) < full:
        yield f"has rank {rank} instead of {full}: {M - rank} of its {M} rows are linear combinations of the others"
    low, high = int(np.argmin(norms)), int(np.argmax(norms))
    if norms[high] > NORMS * norms[low]:
        yield (
            f"has columns of very different norms: from {norms[low]:.3g} (column {low + 1}) to "
            f"{norms[high]:.3g} (column {high + 1}, counted from 1); y has little information on x at small columns"
        )
    energy = np.sum(norms**2)
    mean = sum(np.sum(block) for block in _blocks(A)) / A.size
    if energy > 0 and (share := abs(mean) ** 2 * A.size / energy) * min(M, N) > CENTRED:
        yield (
            f"has entries with mean {mean:.3g}, and this constant part has {share:.0%} of the energy of the matrix; "
            "onsager whitens the rows unless problem.balance=off"
        )
    if M > 1 and (groups := proportional(A, norms)):
        alike = (A[:, groups[0]] == A[:, groups[0][:1]]).all()
        yield (
            f"has columns that y cannot distinguish: columns {_words(groups[0])} are {'equal' if alike else 'proportional'} "
            f"(counted from 1){_others(groups)}"
        )


def proportional(A: np.ndarray, norms: np.ndarray) -> list[np.ndarray]:
    """Groups of columns of A (M, N) that are multiples of each other, each as rising positions from 0.

    Columns scaled to norm 1 are compared in a few random directions, in O(M N + N log N). Columns that are no multiples
    agree in all of them with a probability near (N ALIKE)^DIRECTIONS.
    """
    M, N = A.shape
    directions = np.random.default_rng(0).normal(size=(DIRECTIONS, M))
    seen, start = np.zeros((DIRECTIONS, N), np.result_type(A, np.float64)), 0
    for block in _blocks(A):
        seen += directions[:, start : start + len(block)] @ block
        start += len(block)
    seen *= np.conj(seen[0]) / np.maximum(np.abs(seen[0]), np.finfo(np.float64).tiny) / norms
    seen = np.concatenate([seen.real, seen.imag]) if np.iscomplexobj(seen) else seen
    group = np.zeros(N, dtype=int)
    for direction in seen:  # split each group where two neighbours are apart
        order = np.lexsort((direction, group))
        apart = (np.diff(group[order]) != 0) | (np.diff(direction[order]) > ALIKE)
        group[order] = np.concatenate([[0], np.cumsum(apart)])
    order = np.argsort(group, kind="stable")
    found = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted((columns for columns in found if columns.size > 1), key=lambda columns: columns[0])


def _rank(A: np.ndarray) -> int:
    """The number of singular values above the rounding of float32, from the smaller of A Aᵀ and Aᵀ A.

    Their eigenvalues are the squares, which float64 holds. An SVD takes ten times as long.
    """
    tall = A if A.shape[0] > A.shape[1] else A.T
    squares = np.linalg.eigvalsh(sum(block.conj().T @ block for block in _blocks(tall)))
    return int(np.sum(squares > squares[-1] * (max(A.shape) * np.finfo(np.float32).eps) ** 2))


def _blocks(A: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of A in double precision, some at a time."""
    step = max(1, ENTRIES // A.shape[1])
    for start in range(0, len(A), step):
        yield A[start : start + step].astype(np.result_type(A, np.float64))


def _words(columns: np.ndarray) -> str:
    """Columns, from 1, in a sentence: "7 and 8", "1, 2, 3, 4, and 36 more"."""
    named = [str(column + 1) for column in columns[:NAMED]]
    if columns.size > NAMED:
        return ", ".join(named) + further(columns.size, NAMED)
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _others(groups: Sequence[np.ndarray]) -> str:
    """The groups after the first, at the end of a sentence."""
    listed = "".join(f"; so are {_words(group)}" for group in groups[1:NAMED])
    return listed + further(len(groups), NAMED, " groups")
