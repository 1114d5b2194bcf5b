"""What is said differently over the complex numbers than over the reals, and sums over the coordinates of samples.

For real arrays the two ways of saying it are the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike


def power(a: Array) -> Array:
    """|a|², real; its gradient is finite at zero, which that of an absolute value is not."""
    if jnp.iscomplexobj(a):
        return jnp.square(a.real) + jnp.square(a.imag)
    return jnp.square(a)


def magnitude(a: Array) -> Array:
    """|a| with a floor of 1e-15, so that it can be divided by and has a gradient at zero."""
    return jnp.sqrt(jnp.maximum(power(a), 1e-30))


def adjoint(A: Array) -> Array:
    """Aᴴ, which is Aᵀ for a real A."""
    return A.conj().T


def full_product(A: Array, x: Array) -> Array:
    """A x in full float32, whatever the precision of networks and JAX's default, which is less on a GPU or TPU.

    For what is computed outside the compiled programs that set their precision: selection and test sets, in which the
    default would be noise of some -65 dB, and what a network starts from.
    """
    return jnp.matmul(A, x, precision="highest")


def total(a: Array) -> Array:
    """The sum over the coordinates of each sample, (N, L) to (1, L).

    As a product with a row of ones, which on a CPU takes a third of the time of XLA's sum over the rows.
    """
    return full_product(jnp.ones((1, a.shape[0]), a.dtype), a)


def computed_once(row: Array) -> Array:
    """`row` (1, L) itself, but as a product, into which XLA puts nothing and which it puts into nothing.

    What is computed per sample would else be computed again for each of its coordinates, in every loop over them.
    """
    return total(jnp.concatenate([row, row])) / 2


def sum_to(shape: tuple[int, ...], a: Array) -> Array:
    """`a` (N, L) summed over the axes along which an array of `shape` is broadcast to it: the transpose of that."""
    padded = (1,) * (a.ndim - len(shape)) + shape
    if padded[0] == 1:
        a = total(a)
    return jnp.reshape(jnp.sum(a, axis=1) if padded[1] == 1 else a, shape)


@jax.custom_vjp
def scaled(a: Array, factor: Array) -> Array:
    """`factor` times a (N, L), for a real factor per sample (1, L) or for all (), with the cheaper sums of `total`."""
    return factor * a


def _scaled_backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    a, factor = kept
    return factor * cotangent, sum_to(factor.shape, (cotangent * a).real)


scaled.defvjp(lambda a, factor: (factor * a, (a, factor)), _scaled_backward)


def double(a: ArrayLike) -> np.ndarray:
    """The array in double precision, real or complex."""
    return np.asarray(a, np.complex128 if np.iscomplexobj(a) else np.float64)
