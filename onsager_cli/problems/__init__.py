"""Sparse linear inverse problems y = A x + w: a fixed A, and many (x, w). Samples are columns."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from onsager_cli.errors import Notice
from onsager_cli.kinds.data import Recorded
from onsager_cli.kinds.problems import Linear, ProblemSettings
from onsager_cli.kinds.registry import implementation
from onsager_cli.problems import data, linear
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.operator import least_squares

__all__ = ["Problem", "Samples", "build"]

ESTIMATE_KEY = 5  # folded into the seed for the pairs that an unknown A is estimated from
RESOLVED_DB = 120  # SNR up to which rounding in float32 costs a network less than half a dB; at 130 dB, 1 to 3 dB


def build(
    settings: ProblemSettings, seed: int, A: np.ndarray | None = None, pairs: data.Pairs | None = None
) -> Problem:
    """The problem that settings describe, with its selection and test sets.

    `A` (M, N) is a matrix of the user's own, `pairs` are recorded ones.

    Where A is not known, networks are given the least-squares estimate (Section III-C) and the samples still come from A.
    Raises ValueError if the settings name a file and `A` or `pairs` is missing: no file is read here.
    """
    if settings.matrix is not None and A is None:
        raise ValueError(f"the caller reads problem.matrix={settings.matrix} and passes it as A")
    if isinstance(settings, Recorded):
        if pairs is None:
            raise ValueError(f"the caller reads problem.file={settings.file} and passes its pairs")
        return data.build(settings, seed, pairs)
    snr_db = getattr(settings, "snr_db", 0)
    if (snr_db := max(snr_db) if isinstance(snr_db, tuple) else snr_db or 0) > RESOLVED_DB:
        message = f"float32 rounds measurements and products: results hardly improve above {RESOLVED_DB} dB"
        warnings.warn(f"problem.snr_db={snr_db:g}: {message}", Notice, stacklevel=2)
    make = implementation(settings.record)
    problem = (
        linear.from_settings(settings, make(settings, seed) if settings.takes_signal else make(settings), seed, A)
        if isinstance(settings, Linear)
        else make(settings, seed, *([] if A is None else [A]))
    )
    if settings.known_operator:
        return problem
    estimate = least_squares(problem, jax.random.fold_in(jax.random.key(seed), ESTIMATE_KEY))
    return replace(problem, A=jnp.asarray(estimate, problem.A.dtype), source=problem.A)
