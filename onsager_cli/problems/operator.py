"""The matrix that a network starts from: the true A, its least-squares estimate (Section III-C), or a random one.

| symbol | name                                     |
|--------|------------------------------------------|
| X, Y   | training samples as columns, Y = A X + W |
| Â      | Y Xᴴ (X Xᴴ)⁻¹                            |
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.linalg import adjoint, double
from onsager_cli.problems.base import Problem

PAIRS = 20_000  # a single batch of 1000 gives an NMSE floor 3 to 5 dB higher
DISTINCT = 1e-5  # the least share of a coefficient's power that others do not explain; float32 resolves 1e-7


@partial(jax.jit, static_argnums=2)
def _moments(problem: Problem, key: Array, batch: int) -> tuple[Array, Array]:
    with jax.default_matmul_precision("highest"):
        x, y = problem.sample(key, batch)
        return y @ adjoint(x), x @ adjoint(x)


def least_squares(problem: Problem, key: Array, pairs: int = PAIRS, batch: int = 1000) -> np.ndarray:
    """Â (M, N) in double precision from at least `pairs` fresh training pairs, drawn `batch` at a time with `key`.

    Raises UserError if the pairs do not determine Â, as with coefficients that are hardly ever active.
    """
    M, N = problem.A.shape
    pairs = max(pairs, 4 * N)  # fewer than N would leave X Xᵀ singular
    kind = np.result_type(np.float64, problem.A.dtype)
    cross, gram = np.zeros((M, N), kind), np.zeros((N, N), kind)
    batches = -(-pairs // batch)
    for number in range(batches):
        y_x, x_x = _moments(problem, jax.random.fold_in(key, number), batch)
        cross += np.asarray(y_x, kind)
        gram += np.asarray(x_x, kind)
    _check_excited(gram, batches * batch)
    return np.linalg.solve(gram.T, cross.T).T


def _check_excited(gram: np.ndarray, pairs: int) -> None:
    """Raises UserError if X Xᴴ (N, N) of so many training pairs is singular: some columns of A are not determined."""
    advice = f"in {pairs} training pairs: raise the activity of x (problem.gamma, problem.activity)"
    energy = np.real(np.diagonal(gram))
    if (unseen := np.flatnonzero(energy <= 0)).size:
        others = f" and {unseen.size - 1} others are" if unseen.size > 1 else " is"
        raise UserError(
            f"A cannot be estimated: its column {unseen[0] + 1} (counted from 1){others} never seen {advice}"
        )
    scale = np.sqrt(energy)
    try:
        alone = np.real(np.diagonal(np.linalg.cholesky(gram / np.outer(scale, scale)))) ** 2
    except np.linalg.LinAlgError:
        alone = np.zeros(1)
    if np.min(alone) < DISTINCT:
        raise UserError(f"A cannot be estimated: some of its columns are never seen without the same others {advice}")


def at_start(problem: Problem, init: str, key: Array) -> np.ndarray:
    """The matrix (M, N) that a network with this `init` starts from, in double precision.

    svd            the problem's A
    least_squares  its estimate from fresh pairs, drawn with `key`
    random         i.i.d. N(0, 1/M), drawn with `key`, independent of A (footnote 13); complex if A is
    """
    if init == "least_squares":
        return least_squares(problem, key)
    if init == "random":
        M = problem.A.shape[0]
        dtype = jnp.complex64 if jnp.iscomplexobj(problem.A) else jnp.float32
        return double(jax.random.normal(key, problem.A.shape, dtype)) / np.sqrt(M)
    return double(problem.A)
