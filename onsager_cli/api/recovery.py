"""Recover sparse signals without training, and measure how well."""

import dataclasses
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.api.checks import in_float32, measurements, numbers, whole
from onsager_cli.api.inputs import curve_of, override
from onsager_cli.api.trained import Trained
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import GIVEN
from onsager_cli.metrics import nmse as statistics_of

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

AUTO = "auto"
SAMPLES = 200  # on which damping is decided
REHEARSED = 0.1  # their activity


@in_float32
def recover(
    y: ArrayLike, A: ArrayLike, iterations: int = 20, noise_variance: float | None = None,
    damping: float | str | None = AUTO,
) -> np.ndarray:  # fmt: skip
    """Estimate sparse x from y = A x + w by EM-VAMP, which learns the prior (and the noise) from y. No training.

    Args:
        y: (M, L), each column is a sample, or (M,); real or complex as A. The samples share one prior.
        A: (M, N).
        iterations: a few tens suffice if A is well conditioned.
        noise_variance: σ_w² per entry of w, linear; None: it is learned, too.
        damping: weight of the new state in an iteration, 0 < d <= 1; None: undamped; "auto": as little as converges on
            samples of this A that are drawn for the purpose.

    Returns x̂ (N, L), or (N,). Reference: Fletcher and Schniter (2017), the paper's [25].
    Raises UserError for shapes that do not fit, numbers that are not finite or out of range, and if EM-VAMP diverges.

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
    found = recovery(y, A, iterations, noise_variance, damping)
    if not np.any(y):
        return np.zeros((found.shape[1], *np.shape(y)[1:]), np.complex64 if found.complex else np.float32)
    return found(y)


@in_float32
def recovery(
    y: ArrayLike, A: ArrayLike, iterations: int = 20, noise_variance: float | None = None,
    damping: float | str | None = AUTO,
) -> Trained:  # fmt: skip
    """EM-VAMP with what it has learned from y, as a function of measurements: its posterior tells σ and activity, too.

    Arguments and errors are those of `recover`; all-zero y teach nothing, and estimates from them are zero.
    """
    import jax.numpy as jnp

    from onsager_cli.problems.base import Frame, Problem, Samples
    from onsager_cli.theory import em_vamp
    from onsager_cli.theory.damping import settled
    from onsager_cli.training.networks_on_disk import network_of

    matrix = numbers(A, "A", "(M, N)", (2,))
    given = measurements(y, matrix.shape[0], np.iscomplexobj(matrix))
    iterations = whole(iterations, "iterations", 1, 10_000)
    columns = given[:, None] if given.ndim == 1 else given
    # The entries of y and A get mean square 1, so that float32 holds measurements in any units.
    scale, gain = _size(columns) or 1.0, _size(matrix)
    if gain == 0:
        raise UserError("A must not be zero")
    variance, power = np.float32(1), None
    if noise_variance is not None:  # then E|x|² follows from the energy of y
        noise = float(np.real(numbers(noise_variance, "noise_variance", "()", (0,))))
        if not 0 < noise < scale**2:
            raise UserError(f"noise_variance must be above 0 and below the mean of |y|², {scale**2:.4g}, got {noise:g}")
        variance = np.float32(noise / scale**2)
        power = jnp.float32((1 - noise / scale**2) / matrix.shape[1])
    told = "energy" if power is None else "known"
    M, N = matrix.shape
    settings = curve_of([
        "network=em_vamp", f"network.depth={iterations}", f"network.noise_start={told}", override("network.damping", damping),
        f"problem.N={N}", f"problem.M={M}", f"problem.ensemble={GIVEN}",
    ]).settings  # fmt: skip
    dtype = jnp.complex64 if np.iscomplexobj(matrix) else jnp.float32
    columns, matrix = jnp.asarray(columns / scale, dtype), jnp.asarray(matrix / gain, dtype)
    real = matrix.real.dtype
    frame = Frame(jnp.asarray(1 / scale, real), None, jnp.asarray(gain / scale, real))
    none = Samples(jnp.zeros((N, columns.shape[1]), dtype), columns)
    problem = Problem(matrix, jnp.asarray(variance), none, none, _no_draw, mean_power=power, frame=frame)
    net = dataclasses.replace(network_of(settings), theta=(1.0, 2.0))
    if columns.any():  # zeros show no SNR
        net = settled(net, _rehearsal(problem), iterations, learn=em_vamp.learn)
        params = em_vamp.learn(net, problem, columns, iterations)
    else:
        net = dataclasses.replace(net, damping=None)
        params = net.start(problem, iterations)
    found = Trained(settings, net, params, problem, iterations, [], "EM-VAMP")
    found.overflow = "EM-VAMP diverged on this A and y: fewer iterations, or the noise_variance, may help"
    return found


def _rehearsal(problem: "Problem") -> "Problem":
    """The problem with samples of known x on its A, at the SNR that the energies of its measurements show.

    On them an algorithm shows whether it converges with this A.
    """
    import jax.numpy as jnp

    from onsager_cli.linalg import double
    from onsager_cli.problems.base import Samples
    from onsager_cli.theory.em_vamp import estimated_snr

    A, y = double(problem.A), double(problem.selection.y)
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    whole = s > s[0] * 1e-6
    if problem.mean_power is None:
        snr = estimated_snr(y, U[:, whole], np.log(s[whole]))
    else:
        snr = (1 - float(problem.noise_variance)) / float(problem.noise_variance)
    rng, (M, N), is_complex = np.random.default_rng(0), A.shape, np.iscomplexobj(A)

    def normal(*shape: int) -> np.ndarray:
        real = rng.normal(size=shape)
        return (real + 1j * rng.normal(size=shape)) / np.sqrt(2) if is_complex else real

    power = snr / (1 + snr) / (N * REHEARSED)  # with |A_mn|² = 1 in the mean, |y_m|² is 1 in the mean
    x = np.sqrt(power) * normal(N, SAMPLES) * (rng.uniform(size=(N, SAMPLES)) < REHEARSED)
    drawn = A @ x + np.sqrt(1 / (1 + snr)) * normal(M, SAMPLES)
    samples = Samples(jnp.asarray(x, problem.A.dtype), jnp.asarray(drawn, problem.A.dtype))
    return dataclasses.replace(problem, selection=samples)


def nmse(x_hat: ArrayLike, x: ArrayLike, mean_ratio: bool = False) -> float:
    """The NMSE of estimates x̂ (N, L) of x (N, L), dB: the ratio of sums, or the mean of the samples' ratios.

    Raises UserError for shapes that differ, numbers that are not finite, and if every sample is zero.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import nmse
        >>> float(round(nmse(np.full((4, 2), 0.9), np.ones((4, 2))), 3))
        -20.0
    """
    a, b = (numbers(item, name, "(N, L) or (N,)", (1, 2)) for item, name in ((x_hat, "x_hat"), (x, "x")))
    if a.shape != b.shape:
        raise UserError(f"x_hat and x must have one shape, got {a.shape} and {b.shape}")
    if not b.any():
        raise UserError("x must not be zero everywhere: the NMSE is relative to its energy")
    a, b = (item[:, None] if item.ndim == 1 else item for item in (a, b))
    found = statistics_of(np.sum(np.abs(a - b) ** 2, axis=0), np.sum(np.abs(b) ** 2, axis=0))
    return found["nmse_mean_ratio_db" if mean_ratio else "nmse_db"]


def _size(a: np.ndarray) -> float:
    """The root of the mean of |a|², which may be too large for a square; 0 for zeros."""
    largest = np.abs(a).max()
    return float(largest * np.sqrt(np.mean(np.abs(a / largest) ** 2))) if largest else 0.0


def _no_draw(problem: "Problem", key: object, batch: int) -> NoReturn:
    raise NotImplementedError("measurements from outside have no law to draw from")
