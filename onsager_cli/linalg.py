"""Real and complex arrays through one set of helpers, and cheap sums over the coordinates of samples."""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike


def power(a: Array | np.ndarray) -> Array:
    """|a|², real, of the shape of a. Unlike that of |a|, its gradient is finite at zero."""
    if jnp.iscomplexobj(a):
        return jnp.square(jnp.real(a)) + jnp.square(jnp.imag(a))
    return jnp.square(a)


def magnitude(a: Array) -> Array:
    """|a|, at least 1e-15, of the shape of a: safe to divide by, and with a gradient at zero."""
    return jnp.sqrt(jnp.maximum(power(a), 1e-30))


def adjoint(A: Array) -> Array:
    """Aᴴ (N, M) of A (M, N); Aᵀ for a real A."""
    return A.conj().T


def full_product(A: Array, x: Array) -> Array:
    """A x in full float32, for any default precision of JAX (which is lower on a GPU or TPU).

    For products outside the compiled programs that set their own precision: selection and test sets, and the start of a
    network. There, the default would add noise of about -65 dB.
    """
    return jnp.matmul(A, x, precision="highest")


def total(a: Array) -> Array:
    """The sum over the coordinates of each sample, (N, L) to (1, L).

    Written as a product with a row of ones: on a CPU three times faster than XLA's sum over the rows.
    """
    return full_product(jnp.ones((1, a.shape[0]), a.dtype), a)


def computed_once(row: Array) -> Array:
    """`row` (1, L) unchanged, written as a matrix product so that XLA does not fuse (and recompute) it.

    XLA would otherwise compute what belongs to a sample again for each of its coordinates.
    """
    return total(jnp.concatenate([row, row])) / 2


def sum_to(shape: tuple[int, ...], a: Array) -> Array:
    """The transpose of broadcasting from `shape` to the shape of `a` (N, L): the sum over the broadcast axes."""
    padded = (1,) * (a.ndim - len(shape)) + shape
    if padded[0] == 1:
        a = total(a)
    return jnp.reshape(jnp.sum(a, axis=1) if padded[1] == 1 else a, shape)


def mixed(
    log_weights: Sequence[Array], means: Sequence[Array], variances: Sequence[Array] | None
) -> tuple[Array, Array, Array]:
    """log Σ weight, mean and variance of a mixture, entry by entry; None: components without variance.

    Lists instead of an axis of components, so that XLA fuses all of it.
    """
    top = jax.lax.stop_gradient(reduce(jnp.maximum, log_weights))
    shares = [jnp.exp(log - top) for log in log_weights]
    mass = reduce(jnp.add, shares)
    shares = [share / mass for share in shares]
    mean = reduce(jnp.add, [share * one for share, one in zip(shares, means, strict=True)])
    spreads = [power(one - mean) for one in means]
    if variances is not None:
        spreads = [spread + variance for spread, variance in zip(spreads, variances, strict=True)]
    variance = reduce(jnp.add, [share * spread for share, spread in zip(shares, spreads, strict=True)])
    return top + jnp.log(mass), mean, variance


@jax.custom_vjp
def scaled(a: Array, factor: Array) -> Array:
    """`factor` times a (N, L), for a real factor (1, L) or (). The derivative uses the cheap sums of `total`."""
    return factor * a


def _scaled_backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    a, factor = kept
    return factor * cotangent, sum_to(factor.shape, (cotangent * a).real)


scaled.defvjp(lambda a, factor: (factor * a, (a, factor)), _scaled_backward)


def double(a: ArrayLike) -> np.ndarray:
    """The array in double precision, float64 or complex128, of the same shape."""
    return np.asarray(a, np.complex128 if np.iscomplexobj(a) else np.float64)
