"""The matrix of the user's own behind a curve: checked before anything is made, read once for all curves."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.own_pairs import own_pairs
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import Linear, ProblemSettings
from onsager_cli.store import matrix
from onsager_cli.store.files import checksum
from onsager_cli.store.matrix_remarks import remarks

File = tuple[str, str, tuple[int, int], str | None]
"""The checksum of a file, its path, (M, N), and the name of the matrix in it."""


def check_matrices(experiments: Iterable[Experiment]) -> None:
    """Raises UserError for a matrix or recorded pairs of the user's own that cannot be used."""
    for experiment in experiments:
        for part in experiment.parts:
            for curve in part.curves:
                own_matrix(curve)
                own_pairs(curve.settings.problem)


def own_matrix(curve: Curve) -> np.ndarray | None:
    """A (M, N) from the file that the problem of a curve names; None if it names none. Not to be written to.

    Raises UserError if that matrix cannot be used.
    """
    file = _file_of(curve)
    return None if file is None else _read(*file)


def remarks_on_own_matrix(curve: Curve) -> tuple[str, ...]:
    """What the user should know of that matrix; nothing if there is none. Raises UserError as `own_matrix` does."""
    file = _file_of(curve)
    return () if file is None else _remarks(*file)


def _file_of(curve: Curve) -> File | None:
    settings = curve.settings.problem
    if settings.matrix is None:
        return None
    return curve.identity["problem"]["matrix"], settings.matrix, settings.matrix_shape, settings.matrix_name


def with_embedding(problem: ProblemSettings) -> ProblemSettings:
    """The settings with `problem.embedding` complex, where it is null and the matrix of the user's own is complex."""
    if not isinstance(problem, Linear) or problem.matrix is None or problem.embedding is not None:
        return problem
    try:
        content = checksum(Path(problem.matrix), "problem.matrix")
        found = np.iscomplexobj(_read(content, problem.matrix, problem.matrix_shape, problem.matrix_name))
    except UserError:  # `check_matrices` raises it again, before any work starts
        return problem
    return replace(problem, embedding="complex") if found else problem


@lru_cache(maxsize=1)
def _read(checksum: str, path: str, shape: tuple[int, int], name: str | None) -> np.ndarray:
    """The matrix; again if the file has become another, by its checksum."""
    del checksum
    A = matrix.read(path, shape, name)
    A.flags.writeable = False
    return A


@lru_cache(maxsize=1)
def _remarks(checksum: str, path: str, shape: tuple[int, int], name: str | None) -> tuple[str, ...]:
    """The remarks, which take seconds for a large matrix."""
    return tuple(remarks(_read(checksum, path, shape, name)))
