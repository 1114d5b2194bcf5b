"""Problems with one real matrix and any law of the entries of x (Section VI-A), and the published instances.

| symbol | name                                             | value             |
|--------|--------------------------------------------------|-------------------|
| A      | matrix, i.i.d. N(0, 1/M); κ: its singular values replaced | (M, N)   |
| κ      | s_1 / s_M of a geometric spectrum with ‖A‖_F² = N | None: as drawn    |
| φ      | E x_n²                                           | γ for N(0, 1) entries that are active |
| σ_w²   | φ (N/M) 10^(-SNR/10), the nominal ‖A‖_F² = N     | 2e-5 at 40 dB     |
"""

from dataclasses import replace
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.problems import Linear
from onsager_cli.problems.base import Problem, Samples

# Folded into the seed; training folds in its stages from 1000 on.
SELECTION_KEY, TEST_KEY, MATRIX_KEY = 1, 2, 3


class Law(Protocol):
    """The law of (x, w): draws samples inside compiled programs. Equal laws are equal and hashable."""

    @property
    def power(self) -> float:
        """E x_n², linear."""
        ...

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        ...


def noise_variance(N: int, M: int, power: float, snr_db: float) -> float:
    """σ_w² (linear) at which E‖Ax‖²/E‖w‖² is `snr_db`, for ‖A‖_F² = N and E x_n² = `power`."""
    return power * N / M * 10 ** (-snr_db / 10)


def with_condition_number(A: np.ndarray, kappa: float) -> np.ndarray:
    """A (M, N) with its singular vectors and a geometric spectrum, s_1/s_M = κ and ‖A‖_F² = N, in A's precision."""
    N = A.shape[1]
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    spectrum = kappa ** (-np.arange(len(s)) / max(len(s) - 1, 1))
    spectrum *= np.sqrt(N / np.sum(spectrum**2))
    return (U * spectrum.astype(A.dtype)) @ Vt


def gaussian_matrix(seed: int, M: int, N: int, kappa: float | None) -> np.ndarray:
    """A of the given shape with entries N(0, 1/M) and, if asked for, condition number `kappa`; float32."""
    key = jax.random.fold_in(jax.random.key(seed), MATRIX_KEY)
    A = np.asarray(jax.random.normal(key, (M, N), jnp.float32)) / np.float32(np.sqrt(M))
    return A if kappa is None else with_condition_number(A, kappa)


def authors2017(kappa: float | None) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The published instance: A (250, 500) float32, and its 1000 test samples x, y.

    Drawn in the published order from NumPy's legacy generator, seeded anew for each problem.
    """
    N, M, L, gamma = 500, 250, 1000, 0.1
    rng = np.random.RandomState(1)
    A = rng.normal(0, 1 / np.sqrt(M), (M, N)).astype(np.float32)
    if kappa is not None:
        A = with_condition_number(A, kappa)
    x = ((rng.uniform(0, 1, (N, L)) < gamma) * rng.normal(0, 1, (N, L))).astype(np.float32)
    w = rng.normal(0, np.sqrt(noise_variance(N, M, gamma, 40.0)), (M, L))
    return A, (x, A.astype(np.float64) @ x + w)


# Compiled once for all problems of one size and law, so that a figure does not pay for it per curve.
_sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)


def build(
    law: Law,
    *,
    A: np.ndarray,
    snr_db: float,
    seed: int,
    selection_samples: int,
    test_samples: int,
    test: tuple[np.ndarray, np.ndarray] | None = None,
) -> Problem:
    """The problem of a matrix A (M, N) with its selection and test sets; `test` replaces the drawn test set."""
    M, N = A.shape
    empty = Samples(jnp.zeros((N, 0)), jnp.zeros((M, 0)))
    variance = jnp.float32(noise_variance(N, M, law.power, snr_db))
    problem = Problem(jnp.asarray(A), variance, empty, empty, law, mean_power=jnp.float32(law.power))
    key = jax.random.key(seed)
    selection = _sample(problem, jax.random.fold_in(key, SELECTION_KEY), selection_samples)
    x, y = test or _sample(problem, jax.random.fold_in(key, TEST_KEY), test_samples)
    of_test = Samples(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    return replace(problem, selection=selection, test=of_test)


def from_settings(settings: Linear, law: Law, seed: int, A: np.ndarray | None = None) -> Problem:
    """The problem of settings: with the published instance, the matrix `A` of the user's own, or one that is drawn."""
    test = None
    if settings.instance == "authors2017":
        A, test = authors2017(settings.kappa)
    elif A is None:
        A = gaussian_matrix(seed, settings.M, settings.N, settings.kappa)
    return build(
        law,
        A=A,
        snr_db=settings.snr_db,
        seed=seed,
        selection_samples=settings.selection_samples or 1,
        test_samples=settings.test_samples or 1,
        test=test,
    )
