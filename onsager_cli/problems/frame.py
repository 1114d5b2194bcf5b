"""The coordinates in which networks see a problem: matrix, signals and measurements in any units, and balanced.

| symbol | name                                                                           |
|--------|--------------------------------------------------------------------------------|
| u      | unit of x, such that active coefficients have power 1                          |
| C      | diagonal of the norms of A's columns, relative to their root mean square       |
| P      | (A C⁻¹ C⁻ᴴ Aᴴ + ρ I)^(-1/2): rows of A whitened as far as the noise allows     |
| ρ      | noise variance over the mean power of C x                                      |

Networks see A' = P A C⁻¹, scaled to ‖A'‖_F² = N, x' = u C x and y' = u P y. LAMP starts at B = Aᴴ and takes
σ = ‖v‖/√M, which both assume that scale. One σ serves all coordinates, hence C. A large mean or a few strong directions
fill the first residuals, hence P. The LMMSE stage of VAMP weighs directions itself, so P would only colour its noise.
"""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from onsager_cli.linalg import double
from onsager_cli.problems.base import Frame, Problem

ALIKE = 1.5  # the largest column norm over the smallest, up to which columns are left alone
EVEN = 3.0  # the largest singular value over the median one, up to which rows are left alone
WEAKEST = 0.01  # floor of c: hardly anything of x reaches y by a weaker column, and an estimate of it is noise
SMALLEST = 1e-6  # floor of ρ, as a share of the largest squared singular value: an exact A has no noise to weigh


def framed(problem: Problem, balance: str, whitens: bool, unit: float | None = None) -> Problem:
    """The problem as networks see it; its `original` is the problem in the user's units.

    Args:
        problem: with A (M, N), selection and test set in the user's units.
        balance: "on", "off", or "auto": balanced if columns or spectrum of A ask for it.
        whitens: whether the linear stage of the network gains by whitened rows.
        unit: u, linear; None: measured on the selection set.
    """
    A, noise = double(problem.A), float(problem.noise_variance)
    N = A.shape[1]
    u = unit_of(np.asarray(problem.selection.x)) if unit is None else unit
    c = np.maximum(column_scales(A)[:, 0], WEAKEST)
    if not is_uneven(A, c, balance):
        columns, P = None, np.ones(())
    else:
        columns, P = c[:, None], np.ones(())
        A = A / c
        if whitens:
            P = whitening(A, noise / mean_power(problem, columns))
    product = P @ A if P.ndim else A
    k = np.sqrt(N / np.sum(np.abs(product) ** 2))
    rows = u * k * P
    gain = np.mean(np.sum(np.abs(rows) ** 2, axis=1)) if P.ndim else float(rows) ** 2
    real = problem.A.real.dtype
    frame = Frame(
        rows=jnp.asarray(rows, problem.A.dtype if P.ndim else real),
        columns=None if columns is None else jnp.asarray(columns, real),
        unit=jnp.asarray(u, real),
    )
    power, counted = problem.mean_power, problem.reported
    if columns is not None:
        counted = jnp.asarray((1 if counted is None else np.asarray(counted)) / columns**2, real)
    if power is not None:
        power = jnp.asarray(np.asarray(power) * u**2 * (1 if columns is None else columns**2), real)
    return replace(
        problem, A=jnp.asarray(k * product, problem.A.dtype), source=None, noise_variance=jnp.asarray(noise * gain, real),
        selection=frame.enter(problem.selection), test=frame.enter(problem.test), mean_power=power, reported=counted,
        frame=frame, original=problem, recorded=None,
    )  # fmt: skip


def column_scales(A: np.ndarray) -> np.ndarray:
    """c (N, 1): the norms of the columns over their root mean square; 1 for a column of zeros."""
    norms = np.linalg.norm(double(A), axis=0)[:, None]
    return np.where(norms > 0, norms / np.sqrt(np.mean(norms**2)), 1.0)


def is_uneven(A: np.ndarray, norms: np.ndarray, balance: str) -> bool:
    """Whether A (M, N), whose columns have these norms (N,), is to be balanced."""
    if balance != "auto":
        return balance == "on"
    if np.max(norms) > ALIKE * np.min(norms):
        return True
    s = np.linalg.svd(A / norms, compute_uv=False)
    return bool(s[0] > EVEN * np.median(s))


def whitening(A: np.ndarray, rho: float) -> np.ndarray:
    """P = (A Aᴴ + ρ I)^(-1/2), (M, M), of A (M, N), in double precision; directions without energy get no gain."""
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    gain = 1 / np.sqrt(s**2 + max(rho, SMALLEST * s[0] ** 2))
    return (U * gain) @ U.conj().T


def mean_power(problem: Problem, columns: np.ndarray) -> float:
    """The mean over the coordinates of E|c_n x_n|², linear, for c (N, 1); measured if the problem does not define it."""
    power = problem.mean_power
    if power is None:
        power = np.mean(np.abs(np.asarray(problem.selection.x)) ** 2, axis=1, keepdims=True)
    return float(np.mean(columns**2 * np.asarray(power, np.float64)))


def unit_of(x: np.ndarray) -> float:
    """u such that active coefficients of u x have power 1, for samples x (N, L).

    Entries that are zero are not active. If there are none, the fourth moment tells the power of the active ones, as
    for Gaussian ones among zeros: E|x|⁴ / (κ E|x|²), κ = 3 for real x and 2 for complex x.
    """
    power = np.abs(np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)) ** 2
    active = power[power > 0]
    if not active.size:
        return 1.0
    if active.size < power.size:
        return float(1 / np.sqrt(np.mean(active)))
    kappa = 2 if np.iscomplexobj(x) else 3
    return float(np.sqrt(kappa * np.mean(power) / np.mean(power**2)))
