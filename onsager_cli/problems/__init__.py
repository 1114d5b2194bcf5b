"""Sparse linear inverse problems y = A x + w: a fixed A, and many (x, w). Samples are columns."""

from dataclasses import replace
from importlib.metadata import entry_points

import jax
import jax.numpy as jnp

from onsager_cli.config.settings import Problem as ProblemSettings
from onsager_cli.config.settings_cellular import Cellular
from onsager_cli.problems import bernoulli_gaussian, cellular
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.operator import least_squares
from onsager_cli.store import matrix

__all__ = ["Problem", "Samples", "build"]


ESTIMATE_KEY = 5  # folded into the seed for the pairs that an unknown A is estimated from


def build(settings: ProblemSettings | Cellular, seed: int) -> Problem:
    """The problem that a config describes, with its selection and test sets.

    Where its A is not known, networks are told the least-squares estimate (Section III-C) and the samples still come
    from A. Raises UserError for a matrix file that cannot be used.
    """
    problem = _known(settings, seed)
    if settings.known_operator is not False:
        return problem
    estimate = least_squares(problem, jax.random.fold_in(jax.random.key(seed), ESTIMATE_KEY))
    return replace(problem, A=jnp.asarray(estimate, problem.A.dtype), source=problem.A)


def _known(settings: ProblemSettings | Cellular, seed: int) -> Problem:
    """The problem with its true A.

    A kind that is not built in comes from an installed package: the entry point `onsager.problems` names a
    function of (problem settings, seed).
    """
    if isinstance(settings, Cellular):
        return cellular.build(settings, seed)
    if settings.kind != "bernoulli_gaussian":
        (entry,) = entry_points(group="onsager.problems", name=settings.kind)
        return entry.load()(settings, seed)
    test = None
    if settings.instance == "authors2017":
        A, test = bernoulli_gaussian.authors2017(settings.kappa)
    elif settings.matrix is not None:
        A = matrix.read(settings.matrix, (settings.M, settings.N))
        matrix.tell(A, settings.matrix)
    else:
        A = bernoulli_gaussian.gaussian_matrix(seed, settings.M, settings.N, settings.kappa)
    return bernoulli_gaussian.build(
        A=A,
        gamma=settings.gamma,
        snr_db=settings.snr_db,
        seed=seed,
        selection_samples=settings.selection_samples,
        test_samples=settings.test_samples,
        test=test,
    )
