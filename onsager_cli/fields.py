"""What is said differently over the complex numbers than over the reals; for real arrays the two are the same."""

import jax.numpy as jnp
from jax import Array


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
