"""Bounds that no network is expected to beat, in float64 NumPy."""

import numpy as np


def support_oracle(
    A: np.ndarray, x: np.ndarray, y: np.ndarray, noise_variance: float, variance: float = 1.0
) -> np.ndarray:
    """LMMSE estimate of x given its true support, the variances of its active entries and of the noise.

    Per sample with support S: x̂_S = (A_Sᵀ A_S + (σ_w²/φ) I)⁻¹ A_Sᵀ y, zero elsewhere. `A` (M, N), `x` (N, L) whose
    support is used and nothing else, `y` (M, L); variances linear. Returns x̂ (N, L). The bound of Figs. 10-14.
    """
    A, y = np.asarray(A, np.float64), np.asarray(y, np.float64)
    gram, matched = A.T @ A, A.T @ y
    x_hat = np.zeros(x.shape, np.float64)
    for sample in range(x.shape[1]):
        support = np.flatnonzero(x[:, sample])
        system = gram[np.ix_(support, support)] + (noise_variance / variance) * np.eye(len(support))
        x_hat[support, sample] = np.linalg.solve(system, matched[support, sample])
    return x_hat
