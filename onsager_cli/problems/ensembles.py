"""Random matrices A (M, N) by name (`problem.ensemble`).

| ensemble   | entries                                                                          |
|------------|----------------------------------------------------------------------------------|
| gaussian   | i.i.d. N(0, 1/M)                                                                 |
| bernoulli  | i.i.d. ±1/√M                                                                     |
| zero_one   | i.i.d. 0 or 1, so that the mean is not zero                                       |
| dct        | M rows of the orthonormal DCT-II of size N, times √(N/M)                          |
| fourier    | M rows of the unitary DFT of size N, times √(N/M); complex                        |
| correlated | Gaussian rows, AR(1): neighbouring columns have the correlation `correlation`     |
| toeplitz   | convolution with a random filter of M + N - 1 taps N(0, 1/M)                      |

All but zero_one have E‖A‖_F² = N.
"""

import numpy as np
from scipy.fft import dct
from scipy.linalg import toeplitz


def ensemble(name: str, seed: int, M: int, N: int, correlation: float = 0.0) -> np.ndarray:
    """A (M, N) of an ensemble, float32 or complex64; the same for the same seed."""
    rng = np.random.default_rng([seed, len(name), M, N])
    if name == "bernoulli":
        A = rng.choice([-1.0, 1.0], (M, N)) / np.sqrt(M)
    elif name == "zero_one":
        A = rng.integers(0, 2, (M, N)).astype(np.float64)
        A[:, ~A.any(axis=0)] = 1  # a column of zeros would not reach y
    elif name == "dct":
        A = dct(np.eye(N), axis=0, norm="ortho")[_rows(rng, M, N)] * np.sqrt(N / M)
    elif name == "fourier":
        k = _rows(rng, M, N)
        A = np.exp(-2j * np.pi * np.outer(k, np.arange(N)) / N) / np.sqrt(M)
    elif name == "correlated":
        A = rng.normal(size=(M, N)) / np.sqrt(M)
        for n in range(1, N):
            A[:, n] = correlation * A[:, n - 1] + np.sqrt(1 - correlation**2) * A[:, n]
    elif name == "toeplitz":
        taps = rng.normal(size=M + N - 1) / np.sqrt(M)
        A = toeplitz(taps[N - 1 :], taps[N - 1 :: -1])
    else:
        raise ValueError(f"unknown ensemble {name}")
    return A.astype(np.complex64 if np.iscomplexobj(A) else np.float32)


def _rows(rng: np.random.Generator, M: int, N: int) -> np.ndarray:
    """M different rows of an (N, N) transform, rising; with M > N some repeat."""
    return np.sort(np.concatenate([rng.permutation(N) for _ in range(-(-M // N))])[:M])
