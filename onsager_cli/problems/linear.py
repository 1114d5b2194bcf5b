"""Problems with one matrix and any law of the entries of x (Section VI-A), and the published instances.

| symbol | name                                             | value             |
|--------|--------------------------------------------------|-------------------|
| A      | matrix, i.i.d. N(0, 1/M) by default; κ: its singular values replaced | (M, N) |
| κ      | s_1 / s_M of a geometric spectrum with ‖A‖_F² = N | None: as drawn    |
| φ      | E x_n²                                           | γ for N(0, 1) entries that are active |
| σ_w²   | φ (‖A‖_F²/M) 10^(-SNR/10); ‖A‖_F² = N for a drawn Gaussian A | 2e-5 at 40 dB |
"""

from dataclasses import replace
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import GIVEN, Linear
from onsager_cli.linalg import double
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.ensembles import ensemble
from onsager_cli.problems.noise import QUIETEST, NoiseLaw

# Folded into the seed; training folds in its stages from 1000 on.
SELECTION_KEY, TEST_KEY, MATRIX_KEY, ERROR_KEY = 1, 2, 3, 7
CORRELATION = 0.9  # of neighbouring columns, where nobody sets it
MANY = 10**9  # samples, where they are drawn
MORE = 8  # times as many selection samples where few coefficients are active, so that few samples carry the error


class Law(Protocol):
    """The law of (x, w): draws samples inside compiled programs. Equal laws are equal and hashable."""

    @property
    def power(self) -> float:
        """E x_n², linear."""
        ...

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        ...


def noise_variance(N: float, M: int, power: float, snr_db: float) -> float:
    """σ_w² (linear) at which E‖Ax‖²/E‖w‖² is `snr_db`, for ‖A‖_F² = N and E|x_n|² = `power`."""
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
sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)


def noise_of(settings: Linear, A: np.ndarray, power: float) -> tuple[float, NoiseLaw | None]:
    """σ_w² (linear, the mean over the samples) and its law, for A (M, N) and E|x_n|² = `power`.

    For a drawn Gaussian A, the SNR uses the mean of ‖A‖_F², which is N; for another A, its own ‖A‖_F².
    """
    M, N = A.shape
    energy = float(np.sum(np.abs(double(A)) ** 2)) if settings.own_matrix else N
    if (known := settings.noise_variance) is not None:
        known = known / settings.parts
        quietest = noise_variance(energy, M, power, 0) * QUIETEST
        return max(known, quietest), NoiseLaw(silent=True) if known == 0 else None
    snr_db = settings.snr_db
    assert snr_db is not None  # the check of the settings asks for it
    if not isinstance(snr_db, tuple) and settings.noise != "per_sample":
        return noise_variance(energy, M, power, snr_db), None
    low, high = snr_db if isinstance(snr_db, tuple) else (snr_db, snr_db)
    law = NoiseLaw(low, high, settings.noise == "per_sample")
    return noise_variance(energy, M, power, 0) * law.mean, law


def matrix_of(settings: Linear, seed: int, given: np.ndarray | None) -> np.ndarray:
    """The matrix (M, N) of settings that networks and samples share: the user's own, `given`, or one that is drawn."""
    M, N, name = settings.M, settings.N, settings.ensemble or "gaussian"
    if given is not None:
        A = given
    elif name == GIVEN:
        raise UserError("problem.ensemble=given is for a matrix from Python: write problem.matrix=… with its file")
    elif name == "gaussian":
        A = gaussian_matrix(seed, M, N, settings.kappa)
    else:
        A = ensemble(name, seed, M, N, CORRELATION if settings.correlation is None else settings.correlation)
    if settings.columns == "unit":
        A = A / np.linalg.norm(A, axis=0).astype(np.float32)
    if settings.embedding == "real":
        return embed(A)
    return A.astype(np.complex64) if settings.complex_signals else A


def with_error(A: np.ndarray, error_db: float, settings: Linear, seed: int) -> np.ndarray:
    """A + E (M, N) for Gaussian E with E‖E‖_F² / ‖A‖_F² = `error_db`, in the precision and the embedding of A."""
    M, N, is_complex = settings.M, settings.N, settings.complex_signals
    key = jax.random.fold_in(jax.random.key(seed), ERROR_KEY)
    E = np.asarray(jax.random.normal(key, (M, N), jnp.complex64 if is_complex else jnp.float32))
    E = embed(E) if settings.embedding == "real" else E
    scale = np.sqrt(
        np.mean(np.abs(double(A)) ** 2) * 10 ** (error_db / 10) * (2 if settings.embedding == "real" else 1)
    )
    return A + (scale * E).astype(A.dtype)


def embed(A: np.ndarray) -> np.ndarray:
    """The real embedding [Re A, -Im A; Im A, Re A], (2M, 2N), of A (M, N)."""
    real, imaginary = np.real(A), np.imag(A)
    return np.block([[real, -imaginary], [imaginary, real]])


def build(
    law: Law,
    *,
    A: np.ndarray,
    snr_db: float = 0.0,
    seed: int,
    selection_samples: int,
    test_samples: int,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    noise: tuple[float, NoiseLaw | None] | None = None,
) -> Problem:
    """The problem of a matrix A (M, N) with its selection and test sets; `test` replaces the drawn test set.

    `noise`, σ_w² (linear) and its law, replaces `snr_db`, which is for ‖A‖_F² = N.
    """
    M, N = A.shape
    variance, noise_law = noise or (noise_variance(N, M, law.power, snr_db), None)
    empty = Samples(jnp.zeros((N, 0)), jnp.zeros((M, 0)))
    active = getattr(law, "active_power", None)  # that of the default law is 1
    problem = Problem(
        jnp.asarray(A), jnp.float32(variance), empty, empty, law, mean_power=jnp.float32(law.power), noise=noise_law,
        test_power=None if active is None else jnp.float32(active),
    )  # fmt: skip
    key = jax.random.key(seed)
    parts = {name: _part(problem, name) for name in ("selection", "test")}
    selection_samples = min(selection_samples, _columns(parts["selection"]))
    test_samples = min(test_samples, _columns(parts["test"]))
    selection = sample(parts["selection"], jax.random.fold_in(key, SELECTION_KEY), selection_samples)
    of_test = test or sample(parts["test"], jax.random.fold_in(key, TEST_KEY), test_samples)
    x, y = (jnp.asarray(a, problem.A.dtype) for a in of_test)
    return replace(problem, selection=selection, test=Samples(x, y))


def _part(problem: Problem, part: str) -> Problem:
    """The problem with the signals of one part, if signals come from a file that is split into parts."""
    chosen = getattr(problem.draw, "of", None)
    return problem if chosen is None else replace(problem, draw=chosen(part))


def _columns(part: Problem) -> int:
    """How many samples a part has at most: those of a file, each once."""
    return getattr(getattr(part.draw, "signal", None), "count", MANY)


def from_settings(settings: Linear, law: Law, seed: int, A: np.ndarray | None = None) -> Problem:
    """The problem of settings: with the published instance, the matrix `A` of the user's own, or one that is drawn.

    With `perturb_db`, samples come from A and an error, and networks are given A.
    """
    test = None
    if settings.instance == "authors2017":
        A, test = authors2017(settings.kappa)
    else:
        A = matrix_of(settings, seed, A)
    told = A
    if settings.perturb_db is not None:
        A = with_error(A, settings.perturb_db, settings, seed)
    problem = build(
        law,
        A=A,
        noise=noise_of(settings, A, law.power),
        seed=seed,
        selection_samples=(settings.selection_samples or 1) * (MORE if settings.few_active else 1),
        test_samples=settings.test_samples or 1,
        test=test,
    )
    return problem if told is A else replace(problem, A=jnp.asarray(told), source=problem.A)
