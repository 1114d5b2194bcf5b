"""Sparse linear inverse problems y = A x + w: a fixed A, and many (x, w). Samples are columns."""

from importlib.metadata import entry_points

from onsager_cli.problems import bernoulli_gaussian, cellular, matrix
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.schema import Problem as ProblemSettings
from onsager_cli.schema_cellular import Cellular

__all__ = ["Problem", "Samples", "build"]


def build(settings: ProblemSettings | Cellular, seed: int) -> Problem:
    """The problem that a config describes, with its selection and test sets.

    A kind that is not built in comes from an installed package: the entry point `onsager.problems` names a
    function of (problem settings, seed). Raises UserError for a matrix file that cannot be used.
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
