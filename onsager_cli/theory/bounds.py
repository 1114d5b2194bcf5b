"""Lower bounds for the error of a network, in float64 NumPy."""

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.kinds.records import BLACK, GREY, Look, NetworkKind
from onsager_cli.linalg import double
from onsager_cli.problems.base import Problem

CONDITION = 1e8  # up to which the rounding errors of normal equations in float64 stay far below the noise

ORACLE = NetworkKind(
    "oracle",
    of="of_support",
    uses_shrinkage=False,
    bound=True,
    told=True,
    looks={"oracle": {"": Look(BLACK, "", "-", 0.9, label="support oracle")}},
    entries=lambda settings, M, N: 0,
)
LMMSE = NetworkKind(
    "lmmse",
    of="of_power",
    uses_shrinkage=False,
    bound=True,
    looks={"lmmse": {"": Look(GREY, "", "-.", 0.9, label="LMMSE")}},
)


def support_oracle(
    A: np.ndarray, x: np.ndarray, y: np.ndarray, noise_variance: float, variance: float | np.ndarray = 1.0
) -> np.ndarray:
    """LMMSE estimate x̂ (N, L) of x, given its true support and the variances of active entries and noise.

    Per sample with support S: x̂_S = (A_Sᴴ A_S + σ_w² Φ_S⁻¹)⁻¹ A_Sᴴ y, zero elsewhere, Φ the diagonal of the variances.
    `A` (M, N) is real or complex, `y` (M, L). Only the support of `x` (N, L) is used. Variances are linear; φ is one
    number or (N, L). The bound of Figs. 10 to 15. Raises UserError for shapes that do not fit and variances below zero.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import support_oracle, nmse
        >>> rng = np.random.default_rng(0)
        >>> A = rng.normal(size=(20, 40)) / np.sqrt(20)
        >>> x = rng.normal(size=(40, 200)) * (rng.uniform(size=(40, 200)) < 0.1)
        >>> y = A @ x + 0.01 * rng.normal(size=(20, 200))
        >>> bool(nmse(support_oracle(A, x, y, 1e-4), x) < -30)
        True
    """
    A, y = _fitting(A, y, noise_variance)
    gram, matched = A.conj().T @ A, A.conj().T @ y
    variance = np.broadcast_to(np.asarray(variance, np.float64), x.shape)
    if not np.all(variance[x != 0] > 0):
        raise UserError("variance must be above 0 for every active entry of x")
    x_hat = np.zeros(x.shape, A.dtype)
    for sample in range(x.shape[1]):
        if not len(support := np.flatnonzero(x[:, sample])):
            continue
        phi, energy = variance[support, sample], np.trace(gram[np.ix_(support, support)]).real
        if len(support) <= len(A) and _well_conditioned(energy, phi, noise_variance):
            system = gram[np.ix_(support, support)] + np.diag(noise_variance / phi)
            x_hat[support, sample] = np.linalg.solve(system, matched[support, sample])
        else:
            x_hat[support, sample] = _estimate(A[:, support], y[:, sample], noise_variance, phi)
    return x_hat


def lmmse(A: np.ndarray, y: np.ndarray, noise_variance: float, variance: float | np.ndarray) -> np.ndarray:
    """The best linear estimate of x with E|x_n|² = φ_n: x̂ = Φ Aᴴ (A Φ Aᴴ + σ_w² I)⁻¹ y, (N, L).

    `A` (M, N), `y` (M, L); variances are linear; φ (`variance`) is one number or (N, 1). Raises UserError for shapes
    that do not fit and for a negative noise variance.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import lmmse, nmse
        >>> rng = np.random.default_rng(0)
        >>> A = rng.normal(size=(20, 40)) / np.sqrt(20)
        >>> x = rng.normal(size=(40, 200)) * (rng.uniform(size=(40, 200)) < 0.1)
        >>> y = A @ x + 0.01 * rng.normal(size=(20, 200))
        >>> bool(nmse(lmmse(A, y, 1e-4, 0.1), x) < -2)
        True
    """
    A, y = _fitting(A, y, noise_variance)
    return _estimate(A, y, noise_variance, np.broadcast_to(np.asarray(variance, np.float64), (A.shape[1], 1))[:, 0])


def _well_conditioned(energy: float, variance: np.ndarray, noise_variance: float) -> bool:
    """Whether σ_w² bounds the condition number of the normal equations of A with ‖A‖_F² = `energy`, φ = `variance`."""
    return energy * np.max(variance) < CONDITION * noise_variance


def _estimate(A: np.ndarray, y: np.ndarray, noise_variance: float, variance: np.ndarray) -> np.ndarray:
    """x̂ = Φ Aᴴ (A Φ Aᴴ + σ_w² I)⁻¹ y for Φ = diag(variance): A (M, k), `variance` (k,), y (M,) or (M, L).

    Ill-conditioned normal equations are replaced by the singular values of A Φ^½ = U diag(s) Vᴴ:
    Φ^½ V diag(s / (s² + σ_w²)) Uᴴ y. Those that are rounding errors count as zero.
    """
    if _well_conditioned(float(np.linalg.norm(A)) ** 2, variance, noise_variance):
        weighted = variance[:, None] * A.conj().T
        return weighted @ np.linalg.solve(A @ weighted + noise_variance * np.eye(len(A)), y)
    scale = np.sqrt(variance)
    U, s, Vh = np.linalg.svd(A * scale, full_matrices=False)
    exact = s > max(A.shape) * np.finfo(np.float64).eps * s[0]
    gain = np.divide(s, s**2 + noise_variance, out=np.zeros_like(s), where=exact)
    return scale[:, None] * Vh.conj().T * gain @ (U.conj().T @ y)


def _fitting(A: np.ndarray, y: np.ndarray, noise_variance: float) -> tuple[np.ndarray, np.ndarray]:
    """A (M, N) and y (M, L) in double precision. Raises UserError for shapes that do not fit or negative noise."""
    if np.ndim(A) != 2 or np.ndim(y) != 2 or len(A) != len(y):
        raise UserError(f"A and y must have shapes (M, N) and (M, L), got {np.shape(A)} and {np.shape(y)}")
    if not noise_variance >= 0:
        raise UserError(f"noise_variance must be at least 0, got {noise_variance:g}")
    return double(A), double(y)


def of_support(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`support_oracle` for samples (x, y) of a problem's test set."""
    known = 1.0 if problem.test_power is None else np.asarray(problem.test_power)
    return support_oracle(np.asarray(problem.behind.A), x, y, float(problem.noise_variance), known)


def of_power(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`lmmse` for measurements y of a problem; x is not used."""
    del x
    return lmmse(np.asarray(problem.behind.A), y, float(problem.noise_variance), np.asarray(problem.known_power))
