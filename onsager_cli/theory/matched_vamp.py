"""VAMP with the true prior, A and noise, in float64 NumPy: damped, and on columns scaled to one norm.

| symbol | name                                                      | equation          |
|--------|-----------------------------------------------------------|-------------------|
| r̃, σ̃²  | pseudo-prior: estimate and variance, per sample           | lines 11, 12      |
| d      | weight of the new r̃ and σ̃² against those before, 0 < d <= 1 |                   |
| ζ      | 1 / (1 - ν̃), ν̃ the divergence of the linear stage         | lines 5, 6        |
| c      | norms of the columns of A over their root mean square, (N, 1) |               |

Balanced VAMP is VAMP for y = (A C⁻¹)(C x) + w, C = diag(c): the noise stays white, and coordinate n of C x has the prior
of x_n scaled by c_n. Hence one σ fits all coordinates. No JAX.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from onsager_cli.linalg import double
from onsager_cli.problems.frame import column_scales

SMALLEST = 1e-30  # floor of a variance: a sample y = 0 must not divide by zero
RANK_TOLERANCE = 1e-10  # singular values below this share of the largest are rounding errors of float64


class Prior(Protocol):
    """The law of an entry of x, or of each coordinate (N, 1) for itself."""

    @property
    def power(self) -> float | np.ndarray:
        """E|x_n|², linear; a number or (N, 1)."""
        ...

    def posterior(self, r: Any, variance: Any) -> Any:
        """Log density of r = x + noise of this variance, mean and variance of x given r; entry by entry."""
        ...

    def scaled(self, c: Any) -> "Prior":
        """The law of c x, for c (N, 1) above 0."""
        ...


def damped_vamp(
    A: np.ndarray,
    prior: Prior,
    noise_variance: float,
    y: np.ndarray,
    iterations: int,
    damping: float = 1.0,
    power: float | np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """x̂ (N, L) after iterations 1, 2, ... of matched VAMP on y (M, L); `damping` is the weight d of the new pseudo-prior.

    `noise_variance` is linear, per entry of w. `power` is E|x_n|² at the start; None: ‖y‖²/N per sample, as in the
    network. Ends early if an estimate is not finite.
    """
    A, y = double(A), double(y)
    N = A.shape[1]
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    kept = s > RANK_TOLERANCE * s[0]
    s, Vh, z = s[kept], Vh[kept], U[:, kept].conj().T @ y
    V, s2 = np.ascontiguousarray(Vh.conj().T), np.square(s)[:, None]
    noise_variance = max(noise_variance, 1e-12 * float(np.mean(np.abs(y) ** 2)), SMALLEST)
    energy = np.sum(np.abs(y) ** 2, axis=0)[None] / N
    started = energy if power is None else np.broadcast_to(np.mean(power), energy.shape)
    r_tilde, variance = np.zeros((N, y.shape[1]), y.dtype), np.maximum(started, SMALLEST)
    for _ in range(iterations):
        d = s2 / (s2 + noise_variance / variance)
        zeta = 1 / (1 - _allowed(1 - np.sum(d, axis=0, keepdims=True) / N, N))
        r = r_tilde + zeta * (V @ (d * (z / s[:, None] - Vh @ r_tilde)))
        sigma2 = np.maximum(variance * (zeta - 1), SMALLEST)
        _, x_hat, spread = prior.posterior(r, sigma2)
        if not np.isfinite(x_hat).all():
            return
        yield x_hat
        nu = _allowed(np.mean(spread, axis=0, keepdims=True) / sigma2, N)
        new, new_variance = (x_hat - nu * r) / (1 - nu), np.maximum(sigma2 * nu / (1 - nu), SMALLEST)
        r_tilde = damping * new + (1 - damping) * r_tilde
        variance = damping * new_variance + (1 - damping) * variance


def balanced_vamp(
    A: np.ndarray, prior: Prior, noise_variance: float, y: np.ndarray, iterations: int, damping: float = 1.0
) -> Iterator[np.ndarray]:
    """x̂ (N, L) after iterations 1, 2, ... of matched VAMP on A C⁻¹, whose columns have one norm (see the module)."""
    c = column_scales(A)
    for scaled in damped_vamp(double(A) / c.T, prior.scaled(c), noise_variance, y, iterations, damping):
        yield scaled / c


def _allowed(divergence: np.ndarray, N: int) -> np.ndarray:
    """The divergence clipped to [ε, 1 - ε], ε = 0.5/N, as in the network."""
    return np.clip(divergence, 0.5 / N, 1 - 0.5 / N)
