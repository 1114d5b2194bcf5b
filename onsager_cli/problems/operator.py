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
from onsager_cli.text import further

PAIRS = 20_000  # a single batch of 1000 gives an NMSE floor 3 to 5 dB higher
ADVISED = 10  # recorded training pairs per unknown, for an estimate of A that costs a network little
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


def from_moments(
    cross: np.ndarray, gram: np.ndarray, energy: float, pairs: int
) -> tuple[np.ndarray, float, str | None]:
    """Â (M, N), how many degrees of freedom of each row of Y it takes, and a warning of too few pairs or None.

    From Y Xᴴ (M, N), X Xᴴ (N, N) and ‖Y‖² of recorded `pairs`. Where these are fewer than 2 N or do not determine Â,
    it is (Y Xᴴ)(X Xᴴ + λ I)⁻¹, with the λ of generalized cross-validation.
    """
    N = len(gram)
    unseen = np.flatnonzero(np.real(np.diagonal(gram)) <= 0)
    if pairs >= 2 * N and not unseen.size and _least_share(gram) >= DISTINCT:
        return np.linalg.solve(gram.T, cross.T).T, float(N), None
    spectrum, V = np.linalg.eigh(gram)
    spectrum, turned = np.maximum(spectrum, 0), cross @ V
    explained = np.sum(np.abs(turned) ** 2, axis=0)
    best = (np.inf, 1.0)
    for weight in (np.mean(spectrum) or 1.0) * np.logspace(-9, 2, 45):
        shrunk = spectrum + weight
        residual = energy - float(explained @ ((2 - spectrum / shrunk) / shrunk))
        left = pairs - float(np.sum(spectrum / shrunk))
        best = min(best, (max(residual, 0.0) / max(left, 1e-3 * pairs) ** 2, float(weight)))
    shrunk = spectrum + best[1]
    few = f"and at least {ADVISED * N} ({ADVISED} per unknown) are recommended"
    text = f"A is estimated from {pairs} training pairs, {few if pairs < ADVISED * N else 'and they do not determine A uniquely'}"
    if unseen.size:
        text += f"; x_{unseen[0] + 1} (counted from 1) is 0 in all of them{further(unseen.size, 1)}"
    return turned / shrunk @ V.conj().T, float(np.sum(spectrum / shrunk)), text


def _check_excited(gram: np.ndarray, pairs: int) -> None:
    """Raises UserError if X Xᴴ (N, N) of so many training pairs is singular: some columns of A are not determined."""
    advice = f"in all {pairs} training pairs: raise the activity of x (problem.gamma, problem.activity)"
    energy = np.real(np.diagonal(gram))
    if (unseen := np.flatnonzero(energy <= 0)).size:
        others = f" and {unseen.size - 1} others are" if unseen.size > 1 else " is"
        raise UserError(f"A cannot be estimated: x_{unseen[0] + 1} (counted from 1){others} 0 {advice}")
    if _least_share(gram) < DISTINCT:
        raise UserError(f"A cannot be estimated: some coefficients of x are linearly dependent {advice}")


def _least_share(gram: np.ndarray) -> float:
    """The least share of a coefficient's energy in X Xᴴ (N, N) that those before it do not explain; 0 if it is singular."""
    scale = np.sqrt(np.real(np.diagonal(gram)))
    try:
        return float(np.min(np.real(np.diagonal(np.linalg.cholesky(gram / np.outer(scale, scale)))) ** 2))
    except np.linalg.LinAlgError:
        return 0.0


def at_start(problem: Problem, init: str, key: Array) -> np.ndarray:
    """The matrix (M, N) that a network with this `init` starts from, in double precision.

    svd            the problem's A
    least_squares  its estimate from fresh pairs, drawn with `key`; A itself where pairs are recorded
    random         i.i.d. N(0, 1/M), drawn with `key`, independent of A (footnote 13); complex if A is
    """
    if init == "least_squares":
        return least_squares(problem, key) if problem.training_set(1) is None else double(problem.A)
    if init == "random":
        M = problem.A.shape[0]
        dtype = jnp.complex64 if jnp.iscomplexobj(problem.A) else jnp.float32
        return double(jax.random.normal(key, problem.A.shape, dtype)) / np.sqrt(M)
    return double(problem.A)
