"""Bernoulli-Gaussian signals behind one matrix (Section VI-A), and the instances of the published figures.

| symbol | name                                             | value             |
|--------|--------------------------------------------------|-------------------|
| A      | matrix, i.i.d. N(0, 1/M); κ: its singular values replaced | (M, N)   |
| γ      | probability that x_n is not zero; then N(0, 1)   | 0.1               |
| κ      | s_1 / s_M of a geometric spectrum with ‖A‖_F² = N | None: as drawn    |
| σ_w²   | γ (N/M) 10^(-SNR/10), the nominal ‖A‖_F² = N     | 2e-5 at 40 dB     |
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import full_product
from onsager_cli.problems.base import Problem, Samples

# Folded into the seed; training folds in its stages from 1000 on.
SELECTION_KEY, TEST_KEY, MATRIX_KEY = 1, 2, 3


def noise_variance(N: int, M: int, gamma: float, snr_db: float) -> float:
    """σ_w² (linear) at which E‖Ax‖²/E‖w‖² is `snr_db`, for ‖A‖_F² = N."""
    return gamma * N / M * 10 ** (-snr_db / 10)


def with_condition_number(A: np.ndarray, kappa: float) -> np.ndarray:
    """A (M, N) with the same singular vectors and a geometric spectrum, s_1/s_M = κ and ‖A‖_F² = N, in its precision."""
    N = A.shape[1]
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    spectrum = kappa ** (-np.arange(len(s)) / max(len(s) - 1, 1))
    spectrum *= np.sqrt(N / np.sum(spectrum**2))
    return (U * spectrum.astype(A.dtype)) @ Vt


def gaussian_matrix(seed: int, M: int, N: int, kappa: float | None) -> np.ndarray:
    """A (M, N) with entries N(0, 1/M), float32; with the condition number `kappa` if it is not None."""
    key = jax.random.fold_in(jax.random.key(seed), MATRIX_KEY)
    A = np.asarray(jax.random.normal(key, (M, N), jnp.float32)) / np.float32(np.sqrt(M))
    return A if kappa is None else with_condition_number(A, kappa)


def authors2017(kappa: float | None) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The published instance: A (250, 500) float32, and its 1000 test samples x (500, 1000), y (250, 1000).

    Drawn in the published order from NumPy's legacy generator, seeded again for each problem.
    """
    N, M, L, gamma = 500, 250, 1000, 0.1
    rng = np.random.RandomState(1)
    A = rng.normal(0, 1 / np.sqrt(M), (M, N)).astype(np.float32)
    if kappa is not None:
        A = with_condition_number(A, kappa)
    x = ((rng.uniform(0, 1, (N, L)) < gamma) * rng.normal(0, 1, (N, L))).astype(np.float32)
    w = rng.normal(0, np.sqrt(noise_variance(N, M, gamma, 40.0)), (M, L))
    return A, (x, A.astype(np.float64) @ x + w)


@dataclass(frozen=True)
class Draw:
    """The law of (x, w); equal laws are equal, so that compiled programs are shared between matrices."""

    gamma: float

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        return self._draw(problem, key, batch, jnp.float32(self.gamma))

    def emphasized(
        self, problem: Problem, key: Array, batch: int, emphasis: Array | float, most: float
    ) -> tuple[Array, Array, Array]:
        """Samples x (N, batch), y (M, batch) drawn with the odds of γ times `emphasis`, and likelihood ratios (batch,).

        p(x) / q(x) = (γ/γ')^K ((1-γ)/(1-γ'))^(N-K) for a sample with K active coefficients.
        """
        del most  # any activity costs the same here
        rest = 1 - self.gamma
        gamma = self.gamma * emphasis / (rest + self.gamma * emphasis)
        x, y = self._draw(problem, key, batch, gamma)
        active, N = jnp.sum(x != 0, axis=0), x.shape[0]
        return (
            x,
            y,
            jnp.exp(active * jnp.log(self.gamma / gamma) + (N - active) * jnp.log(rest / (1 - gamma))),
        )

    def _draw(self, problem: Problem, key: Array, batch: int, gamma: Array | float) -> Samples:
        """Samples with activity `gamma`.

        One random word serves both activity and value: below γ 2³² the coefficient is active. Given that, the word is
        uniform, and the inverse error function makes it Gaussian.
        """
        M, N = problem.A.shape
        key_x, key_w = jax.random.split(key)
        words = jax.random.bits(key_x, (N, batch), jnp.uint32)
        limit = jnp.minimum(gamma * 2.0**32, 2.0**32 - 256)  # the largest float32 below 2³²
        uniform = (words.astype(jnp.float32) + 0.5) * (2.0 / limit) - 1.0
        value = np.float32(np.sqrt(2.0)) * jax.lax.erf_inv(jnp.clip(uniform, -1 + 2.0**-24, 1 - 2.0**-24))
        x = jnp.where(words < limit.astype(jnp.uint32), value, 0.0)
        w = jnp.sqrt(problem.noise_variance) * jax.random.normal(key_w, (M, batch))
        return Samples(x, full_product(problem.A, x) + w)


# Compiled once for all problems of one size and law.
_sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)


def build(
    *,
    A: np.ndarray,
    gamma: float,
    snr_db: float,
    seed: int,
    selection_samples: int,
    test_samples: int,
    test: tuple[np.ndarray, np.ndarray] | None = None,
) -> Problem:
    """The problem for A (M, N) with its selection and test sets; `test` (x, y) replaces the drawn test set."""
    M, N = A.shape
    empty = Samples(jnp.zeros((N, 0)), jnp.zeros((M, 0)))
    variance = jnp.float32(noise_variance(N, M, gamma, snr_db))
    problem = Problem(jnp.asarray(A), variance, empty, empty, Draw(gamma), mean_power=jnp.float32(gamma))
    key = jax.random.key(seed)
    selection = _sample(problem, jax.random.fold_in(key, SELECTION_KEY), selection_samples)
    x, y = test or _sample(problem, jax.random.fold_in(key, TEST_KEY), test_samples)
    return replace(
        problem, selection=selection, test=Samples(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    )
