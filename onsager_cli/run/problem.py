"""The problem of a curve: in the user's units, and as its network sees it."""

from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve
from onsager_cli.config.own_matrix import own_matrix, remarks_on_own_matrix
from onsager_cli.config.own_pairs import own_pairs
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.environment import one_blas_thread
from onsager_cli.store.matrix_remarks import warn

if TYPE_CHECKING:
    from onsager_cli.problems import Problem


def problem_of(curve: Curve, A: np.ndarray | None = None) -> "Problem":
    """The problem of a curve as its network sees it, with A (M, N) if given, else with files of the user's own read.

    Raises UserError if these cannot be used, or JAX has no device.
    """
    return seen_by(curve.settings, in_users_units(curve, A))


def seen_by(settings: Settings, problem: "Problem") -> "Problem":
    """A problem in the user's units, as the network of these settings sees it (`problems.frame`)."""
    from onsager_cli.problems import signals
    from onsager_cli.problems.frame import framed

    balance, record = settings.problem.balancing, settings.network.record
    if balance is None or record.bound:
        return problem
    with one_blas_thread():
        unit = signals.unit(settings.problem, settings.seed) if settings.problem.unit_is_known else None
        return framed(problem, "off" if record.lasso else balance, record.whitens, unit)


def balanced(problem: "Problem") -> str:
    """What of a problem is balanced as its network sees it, in words; "" for nothing."""
    if problem.columns is None:
        return ""
    assert problem.frame is not None
    return "columns and rows balanced" if problem.frame.rows.ndim else "columns balanced"


def in_users_units(curve: Curve, A: np.ndarray | None = None) -> "Problem":
    """The problem of a curve in the user's units. Raises UserError as `problem_of` does."""
    from onsager_cli.problems import build
    from onsager_cli.training.devices import device_kind

    device_kind()
    if A is None and (A := own_matrix(curve)) is not None:
        warn(remarks_on_own_matrix(curve), f"problem.matrix={curve.settings.problem.matrix}")
    with one_blas_thread():
        return build(curve.settings.problem, curve.settings.seed, A, own_pairs(curve.settings.problem))
