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
from onsager_cli.store.foreign import UnreadableError, variables
from onsager_cli.store.foreign.variable import NUMBERS
from onsager_cli.store.matrix_remarks import remarks

File = tuple[str, str, tuple[int, int], str | None, tuple[str, str]]
"""The checksum of a file, its path, (M, N), the name of the matrix in it, and the keys of M and N."""


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
    return (
        curve.identity["problem"]["matrix"],
        settings.matrix,
        settings.matrix_shape,
        settings.matrix_name,
        settings.sizes,
    )


def with_embedding(problem: ProblemSettings) -> ProblemSettings:
    """The settings with `problem.embedding` complex, where it is null and a matrix or signals from a file are complex."""
    if not isinstance(problem, Linear) or problem.embedding is not None:
        return problem
    if (signal := getattr(problem.signal, "file", None)) is not None and _is_complex(signal):
        return replace(problem, embedding="complex")
    if problem.matrix is None:
        return problem
    try:
        content = checksum(Path(problem.matrix), "problem.matrix")
        found = np.iscomplexobj(
            _read(content, problem.matrix, problem.matrix_shape, problem.matrix_name, problem.sizes)
        )
    except UserError:  # `check_matrices` raises it again, before any work starts
        return problem
    return replace(problem, embedding="complex") if found else problem


def _is_complex(file: str) -> bool:
    """Whether a file of signals is complex; a file that cannot be read says no, and `signals.of` says why."""
    try:
        return _has_complex(checksum(Path(file), "signal.file"), file)
    except UserError:
        return False


@lru_cache(maxsize=8)
def _has_complex(digest: str, file: str) -> bool:
    """Whether the first array of numbers in a file is complex; again if the file has become another."""
    del digest
    try:
        found = [
            variable for variable in variables(Path(file)) if variable.kind == NUMBERS and len(variable.shape) == 2
        ]
        named = [variable for variable in found if variable.name in ("x", "X")] or found
        return bool(named) and bool(np.imag(named[0].read()).any())
    except (UnreadableError, OSError):  # told before anything is made
        return False


@lru_cache(maxsize=1)
def _read(digest: str, path: str, shape: tuple[int, int], name: str | None, sizes: tuple[str, str]) -> np.ndarray:
    """The matrix; again if the file has become another, by its checksum."""
    del digest
    A = matrix.read(path, shape, name, sizes)
    A.flags.writeable = False
    return A


@lru_cache(maxsize=1)
def _remarks(
    digest: str, path: str, shape: tuple[int, int], name: str | None, sizes: tuple[str, str]
) -> tuple[str, ...]:
    """The remarks, which take seconds for a large matrix."""
    return tuple(remarks(_read(digest, path, shape, name, sizes)))
