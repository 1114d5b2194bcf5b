"""Matrices B (N, M) of a linear stage r = x̂ + γ B (y - A x̂) that follow from A alone.

| name      | B                                       | scale                        | source                        |
|-----------|-----------------------------------------|------------------------------|-------------------------------|
| transpose | Aᴴ                                      | as it is                     | ISTA, AMP                     |
| analytic  | Wᴴ, w_n = (AAᴴ + ρ I)⁻¹ a_n / d_n       | w_nᴴ a_n = 1 for every n     | ALISTA (Liu et al., 2019)     |
| pinv      | A⁺                                      | the mean of diag(B A) is 1   | TISTA (Ito et al., 2019)      |
| lmmse     | Aᴴ (AAᴴ + (σ_w²/E|x|²) I)⁻¹             | the mean of diag(B A) is 1   | OAMP (Ma and Ping, 2017)      |

`analytic` with ρ = 0 (`ridge`) has the least ‖WᴴA‖_F of all W with w_nᴴ a_n = 1: ALISTA's weight in closed form. It is
not the W of least coherence. The three are one matrix up to the scale of rows, but for ρ. A rank-deficient AAᴴ is
inverted on its range.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.linalg import adjoint, double
from onsager_cli.networks.base import single
from onsager_cli.problems.base import Problem

RANK_TOLERANCE = 1e-6  # singular values below this share of the largest are rounding errors of float32


def weight(problem: Problem, name: str | None, ridge: float = 0.0) -> Array:
    """B (N, M) of this name (None: transpose), for the A that networks know; `ridge` is ρ of `analytic`, in units of A's squared s_i.

    Raises UserError for `analytic` where a column of A is zero.

    Example:
        >>> import numpy as np
        >>> from onsager_cli.networks.weights import analytic
        >>> A = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 2.0]])
        >>> np.round(np.diag(analytic(A) @ A), 12).tolist()
        [1.0, 1.0, 1.0]
    """
    if name in (None, "transpose"):
        return adjoint(problem.A)
    A = double(problem.A)
    if name == "analytic":
        return single(jnp.asarray(analytic(A, ridge)), problem)
    if name == "pinv":
        return single(jnp.asarray(filtered(A, 0.0)), problem)
    power = float(np.mean(np.asarray(problem.known_power, np.float64)))
    return single(jnp.asarray(filtered(A, float(problem.noise_variance) / power)), problem)


def analytic(A: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Wᴴ (N, M) of A (M, N), in double precision: rows a_nᴴ (AAᴴ + `ridge` I)⁻¹, scaled so that w_nᴴ a_n = 1."""
    B = _regularized(A, ridge)
    d = np.real(np.sum(B * A.T, axis=1, keepdims=True))
    if not np.all(d > 0):
        column = int(np.argmin(d))
        raise UserError(f"network.weight=analytic needs columns of A that are not zero, and column {column} is zero")
    return B / d


def filtered(A: np.ndarray, rho: float) -> np.ndarray:
    """c Aᴴ (AAᴴ + `rho` I)⁻¹ (N, M) of A (M, N), in double precision, with c such that the mean of diag(B A) is 1."""
    B = _regularized(A, rho)
    return B * (A.shape[1] / np.real(np.sum(B * A.T)))


def _regularized(A: np.ndarray, rho: float) -> np.ndarray:
    """Aᴴ (AAᴴ + rho I)⁻¹, (N, M), on the range of A."""
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    kept = s > RANK_TOLERANCE * s[0]
    U, s, Vh = U[:, kept], s[kept], Vh[kept]
    return (Vh.conj().T * (s / (s**2 + rho))) @ U.conj().T
