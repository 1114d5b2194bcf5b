"""Float64 NumPy versions of what the package computes in JAX, written from the paper's equations.

Kept plain on purpose: an explicit loop per iteration, one line per equation, and derivatives by complex step,
η'(r) = Im η(r + ih) / h, which is exact to rounding and shares no formula with the package. Samples are columns.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Eta = Callable[[np.ndarray, Any, Any], np.ndarray]  # (r, σ, θ) → η

STEP = 1e-30  # of the complex-step derivative; it is never subtracted, so it may be this small


def _split(r: Any) -> tuple[Any, Any]:
    """sgn(r) and |r|, where a complex r carries its derivative along."""
    sign = np.sign(np.real(r))
    return sign, sign * r


def threshold(r, sigma, theta):
    """Eq (5)."""
    sign, size = _split(r)
    return np.where(size.real > theta[0], sign * (size - theta[0]), 0)


def soft(r, sigma, theta):
    """Eq (32)."""
    return theta[0] * threshold(r, sigma, (theta[1] * sigma,))


def pwlin(r, sigma, theta):
    """Eq (33), case by case as printed."""
    t1, t2, t3, t4, t5 = theta
    sign, size = _split(r)
    second = sign * (t4 * (size - t1 * sigma) + t3 * t1 * sigma)
    third = sign * (t5 * (size - t2 * sigma) + t4 * (t2 - t1) * sigma + t3 * t1 * sigma)
    return np.where(size.real <= t1 * sigma, t3 * r, np.where(size.real <= t2 * sigma, second, third))


def gain_grid(r, sigma, theta):
    """Gains at |r| = 0, 4/3 σ, 8/3 σ, …, linear in between and constant beyond, each interval by itself."""
    _, size = _split(r)
    at = size / (4 / 3 * sigma)
    gain = theta[-1] * np.ones_like(at)
    for k in reversed(range(len(theta) - 1)):
        gain = np.where(at.real <= k + 1, theta[k] + (theta[k + 1] - theta[k]) * (at - k), gain)
    return r * gain


def exponential(r, sigma, theta):
    """Eq (34)."""
    return theta[1] * r + theta[2] * r * np.exp(-(r**2) / (2 * theta[0] ** 2 * sigma**2))


def spline(r, sigma, theta):
    """Eqs (35), (36)."""
    _, z = _split(r / (theta[0] * sigma))
    beta = np.where(z.real <= 1, 2 / 3 - z**2 + z**3 / 2, np.where(z.real <= 2, (2 - z) ** 3 / 6, 0))
    return theta[1] * r + theta[2] * r * beta


def bernoulli_gaussian(r, sigma, theta):
    """Eq (39) with (37): γ = 1 / (1 + exp θ2), and the ratio of the two normal densities through its logarithm."""
    phi, log_odds_zero = theta
    log_ratio = -(r**2) / (2 * sigma**2) + r**2 / (2 * (sigma**2 + phi)) + 0.5 * np.log((sigma**2 + phi) / sigma**2)
    return r / ((1 + sigma**2 / phi) * (1 + np.exp(log_odds_zero + log_ratio)))


SHRINKAGES: dict[str, Eta] = {
    "threshold": threshold,
    "soft": soft,
    "pwlin": pwlin,
    "pwlin_autodiff": pwlin,
    "pwgrid": gain_grid,
    "exp": exponential,
    "spline": spline,
    "bg": bernoulli_gaussian,
}


def derivative(eta: Eta, r: np.ndarray, sigma, theta: Sequence[float]) -> np.ndarray:
    """∂η/∂r, entry by entry."""
    return np.imag(eta(r + 1j * STEP, sigma, theta)) / STEP


def ista(A: np.ndarray, y: np.ndarray, lam: float, iterations: int) -> list[np.ndarray]:
    """Eq (4) with threshold λβ and β = 1 / (1.01 ‖A‖²): the estimates after 1, 2, ... iterations."""
    beta = 1 / (1.01 * np.linalg.svd(A, compute_uv=False)[0] ** 2)
    x, estimates = np.zeros((A.shape[1], y.shape[1])), []
    for _ in range(iterations):
        v = y - A @ x
        x = threshold(x + beta * A.T @ v, None, (lam * beta,))
        estimates.append(x)
    return estimates


def lista(B: np.ndarray, S: Sequence[np.ndarray], lam: Sequence[float], y: np.ndarray) -> list[np.ndarray]:
    """Eq (13): one S and one λ per layer."""
    x, estimates = np.zeros((B.shape[0], y.shape[1])), []
    for S_t, lam_t in zip(S, lam, strict=True):
        x = threshold(S_t @ x + B @ y, None, (lam_t,))
        estimates.append(x)
    return estimates


def lamp(
    A: np.ndarray,
    B: Sequence[np.ndarray],
    eta: Eta,
    theta: Sequence,
    y: np.ndarray,
    onsager: bool = True,
    factors: Sequence[tuple[float, float, float, float]] = (),
) -> list[np.ndarray]:
    """Eqs (31a), (31b): one B and one θ per layer, and factors of σ, η, B v and the Onsager coefficient."""
    M, N = A.shape
    x, v, estimates = np.zeros((N, y.shape[1])), y, []
    for B_t, theta_t, of in zip(B, theta, factors or [(1, 1, 1, 1)] * len(B), strict=True):
        r, sigma = x + of[2] * B_t @ v, of[0] * np.linalg.norm(v, axis=0) / np.sqrt(M)
        x = of[1] * eta(r, sigma, theta_t)
        b = of[1] * of[3] * derivative(eta, r, sigma, theta_t).sum(axis=0) / M
        v = y - A @ x + (b * v if onsager else 0)
        estimates.append(x)
    return estimates


def amp_l1(A: np.ndarray, y: np.ndarray, alpha: float, iterations: int) -> list[np.ndarray]:
    """AMP-l1, eq (7) as printed: b = ‖x̂‖_0 / M, λ = α ‖v‖ / √M."""
    M = len(A)
    x, v, estimates = np.zeros((A.shape[1], y.shape[1])), y, []
    for _ in range(iterations):
        lam = alpha * np.linalg.norm(v, axis=0) / np.sqrt(M)
        x = threshold(x + A.T @ v, None, (lam,))
        v = y - A @ x + np.count_nonzero(x, axis=0) / M * v
        estimates.append(x)
    return estimates
