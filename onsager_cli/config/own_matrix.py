"""The user's own matrix behind a curve, checked first and read once for all curves; checksums of own matrices and signals."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.own_pairs import own_pairs
from onsager_cli.errors import UserError
from onsager_cli.kinds.cellular import Cellular
from onsager_cli.kinds.problems import Linear, ProblemSettings
from onsager_cli.kinds.signals import FileSignal
from onsager_cli.store import matrix
from onsager_cli.store.content import checksum, unchanged
from onsager_cli.store.foreign import UnreadableError, variables
from onsager_cli.store.foreign.variable import NUMBERS
from onsager_cli.store.matrix_remarks import remarks

P = TypeVar("P", bound=ProblemSettings)

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
    problem = curve.settings.problem
    return None if problem.matrix is None else _read(*_file_of(problem))


def remarks_on_own_matrix(curve: Curve) -> tuple[str, ...]:
    """What the user should know of that matrix; nothing if there is none. Raises UserError as `own_matrix` does."""
    problem = curve.settings.problem
    return () if problem.matrix is None else _remarks(*_file_of(problem))


def _file_of(problem: ProblemSettings) -> File:
    """The file of a matrix. Raises UserError if that file is not what it was in the training."""
    assert problem.matrix is not None
    content = unchanged(Path(problem.matrix), "problem.matrix", problem.content)
    return content, problem.matrix, problem.matrix_shape, problem.matrix_name, problem.sizes


def with_files(problem: P) -> P:
    """The settings with what their files say: the checksums of a matrix and of signals, and `embedding` where null.

    The embedding is complex if the matrix or the signals are. A file that cannot be read changes nothing: `check_matrices` and
    `signals.of` say why, before any work starts.
    """
    with contextlib.suppress(UserError):
        if isinstance(signal := problem.signal, FileSignal):
            content = checksum(Path(signal.file), "signal.file")
            problem = replace(problem, signal=replace(signal, content=content))
            problem = _complex_if(problem, _has_complex(content, signal.file))
    with contextlib.suppress(UserError):
        if isinstance(problem, Linear | Cellular) and problem.matrix is not None:
            problem = replace(problem, content=checksum(Path(problem.matrix), "problem.matrix"))
            problem = _complex_if(problem, np.iscomplexobj(_read(*_file_of(problem))))
    return problem


def _complex_if(problem: P, found: bool) -> P:
    wanted = found and isinstance(problem, Linear) and problem.embedding is None
    return replace(problem, embedding="complex") if wanted else problem


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
