"""Recover sparse signals without training, and measure how well."""

from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.errors import UserError
from onsager_cli.metrics import nmse as statistics_of

if TYPE_CHECKING:
    from onsager_cli.problems import Problem


def recover(y: ArrayLike, A: ArrayLike, iterations: int = 20, noise_variance: float | None = None) -> np.ndarray:
    """Estimate sparse x from y = A x + w by EM-VAMP, which learns the prior (and the noise) from y. No training.

    Args:
        y: (M, L), a sample to a column, or (M,); real or complex as A. The samples share one prior.
        A: (M, N).
        iterations: at most some tens are needed where A is well conditioned.
        noise_variance: σ_w² per entry of w, linear; None: it is learned, too.

    Returns x̂ (N, L), or (N,). Reference: Fletcher and Schniter (2017), the paper's [25].
    Raises UserError for shapes that do not fit and numbers that are not finite.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import nmse, recover
        >>> rng = np.random.default_rng(0)
        >>> A = rng.normal(size=(100, 200)) / 10
        >>> x = rng.normal(size=(200, 20)) * (rng.uniform(size=(200, 20)) < 0.1)
        >>> y = A @ x + 0.01 * rng.normal(size=(100, 20))
        >>> bool(nmse(recover(y, A), x) < -25)
        True
    """
    import jax.numpy as jnp

    from onsager_cli import shrinkage
    from onsager_cli.networks.layers import estimate
    from onsager_cli.networks.lvamp import Lvamp
    from onsager_cli.problems.base import Problem, Samples
    from onsager_cli.theory import em_vamp

    matrix = np.asarray(A)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise UserError(f"A must be finite numbers of shape (M, N), got shape {matrix.shape}")
    dtype = jnp.complex64 if np.iscomplexobj(matrix) else jnp.float32
    given = checked_measurements(y, matrix.shape[0], np.iscomplexobj(matrix))
    columns = jnp.asarray(given[:, None] if given.ndim == 1 else given, dtype)
    samples = Samples(jnp.zeros((matrix.shape[1], columns.shape[1]), dtype), columns)
    variance, power = jnp.float32(1.0), None
    if noise_variance is not None:  # then E|x|² follows from the energy of y
        energy = max(float(jnp.mean(jnp.abs(columns) ** 2)) - noise_variance, 0.0)
        power = jnp.float32(energy * len(matrix) / np.sum(np.abs(matrix) ** 2))
        variance = jnp.float32(noise_variance)
    problem = Problem(jnp.asarray(matrix, dtype), variance, samples, samples, _no_draw, mean_power=power)
    learn, told = ("noise_variance", "theta"), "energy" if power is None else "known"
    net = Lvamp(shrinkage.build("bg"), (1.0, 2.0), tied=False, learn=learn, noise_start=told)
    params = em_vamp.learn(net, problem, columns, iterations)
    x_hat = np.asarray(estimate(net, problem, params, columns, iterations))
    return x_hat[:, 0] if given.ndim == 1 else x_hat


def nmse(x_hat: ArrayLike, x: ArrayLike, mean_ratio: bool = False) -> float:
    """The NMSE of estimates x̂ (N, L) of x (N, L), dB: the ratio of sums, or the mean of the samples' ratios.

    Raises UserError for shapes that differ, ValueError if every sample is zero.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import nmse
        >>> float(round(nmse(np.full((4, 2), 0.9), np.ones((4, 2))), 3))
        -20.0
    """
    a, b = (np.atleast_2d(np.asarray(item).T).T for item in (x_hat, x))
    if a.shape != b.shape:
        raise UserError(f"x_hat and x must have one shape, got {np.shape(x_hat)} and {np.shape(x)}")
    found = statistics_of(np.sum(np.abs(a - b) ** 2, axis=0), np.sum(np.abs(b) ** 2, axis=0))
    return found["nmse_mean_ratio_db" if mean_ratio else "nmse_db"]


def checked_measurements(y: ArrayLike, M: int, complex_allowed: bool) -> np.ndarray:
    """y as an array, (M, L) or (M,). Raises UserError for anything else."""
    given = np.asarray(y)
    if given.ndim not in (1, 2) or given.shape[0] != M:
        raise UserError(f"y must have shape ({M},) or ({M}, samples), got {given.shape}")
    if not (np.issubdtype(given.dtype, np.number) and np.isfinite(given).all()):
        raise UserError("y must be finite numbers")
    if np.iscomplexobj(given) and not complex_allowed:
        raise UserError("y must be real, as A is: of complex ones the real parts, and the imaginary ones below")
    return given


def _no_draw(problem: "Problem", key: object, batch: int) -> NoReturn:
    raise NotImplementedError("measurements from outside have no law to draw from")
