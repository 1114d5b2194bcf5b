"""The recorded pairs of the user's own: their sizes for the settings, their numbers for the problem, each read once."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from onsager_cli.errors import UserError
from onsager_cli.kinds.data import Recorded
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.store import pairs
from onsager_cli.store.content import of_arrays, unchanged
from onsager_cli.store.files import entries
from onsager_cli.store.pairs import Header, Names, Pairs

P = TypeVar("P", bound=ProblemSettings)


def with_sizes(problem: P) -> P:
    """The settings of a problem with what its file of pairs says: M, N, how many pairs, whether A is known.

    Raises UserError for a file that cannot be used, keys that contradict it, and too few pairs. Other problems stay as
    they are.
    """
    if not isinstance(problem, Recorded) or problem.file is None:
        return problem
    asked = (problem.M, problem.N)
    content = of_arrays(Path(problem.file), "problem.file")
    found = _header(content, problem.file, _names(problem), problem.samples_in, asked)
    if problem.embedding is not None and not found.is_complex:
        raise UserError(
            f"problem.embedding must be null for the real pairs of problem.file={problem.file}, got {problem.embedding}"
        )
    known = replace(
        problem, M=found.M, N=found.N, samples_in=found.samples_in, pairs=found.pairs, has_matrix=found.has_matrix,
        content=content, embedding=(problem.embedding or "complex") if found.is_complex else None,
    )  # fmt: skip
    known.check_counts()
    return known


def own_pairs(problem: ProblemSettings) -> Pairs | None:
    """The pairs of the file that a problem names; None if it names none.

    Raises UserError if they cannot be used, and if the file is no longer the one of the settings.
    """
    if not isinstance(problem, Recorded) or problem.file is None:
        return None
    assert problem.M is not None
    assert problem.N is not None
    assert problem.samples_in is not None
    known = Header(
        problem.M, problem.N, problem.pairs, problem.samples_in, problem.embedding is not None, problem.has_matrix
    )
    content = unchanged(Path(problem.file), "problem.file", problem.content)
    return _read(content, _places(Path(problem.file)), problem.file, _names(problem), known)


def _places(path: Path) -> tuple[tuple[int, int], ...]:
    """Where the arrays are on the disk. They are mapped: a file that is written over has the same place, and other numbers."""
    found = (one.stat() for one in (entries(path, "*.npy") if path.is_dir() else [path]))
    return tuple((one.st_ino, one.st_mtime_ns) for one in found)


def _names(problem: Recorded) -> Names:
    return Names(problem.x_name, problem.y_name, problem.matrix_name)


@lru_cache(maxsize=10)
def _header(
    checksum: str, path: str, names: Names, samples_in: str | None, shape: tuple[int | None, int | None]
) -> Header:
    """The header; again if the file has become another, by its checksum."""
    del checksum
    return pairs.header(path, names, samples_in, shape)


@lru_cache(maxsize=1)
def _read(checksum: str, places: tuple[tuple[int, int], ...], path: str, names: Names, known: Header) -> Pairs:
    """The pairs; again if the file has become another, by its checksum, or has been written again."""
    del checksum, places
    return pairs.read(path, names, known)
