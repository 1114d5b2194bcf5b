"""A few coordinates in which a matrix learns fast, beside its entries.

| symbol | name                                          |
|--------|-----------------------------------------------|
| U, V   | singular vectors of A: (M, R), (N, R)         |
| W      | a matrix that learns, from y's side to x's    |
| b      | its spectral coordinates, W = V diag(b) Uᴴ + … |

What a linear stage has to learn is, to first order, how much of each singular direction of A to let through: R
numbers, where W has N M. Hundreds of steps find them; noise of the gradient hardly moves them. Descent on
(entries, b) at once takes the large step there and leaves to the entries what only they can say.
"""

import jax.numpy as jnp
from jax import Array


def spectrum(gradient: Array, left: Array, right: Array) -> Array:
    """Gradient in b of W = left diag(b) rightᴴ, real: (..., R) from (..., n, m)."""
    return jnp.real(jnp.sum((jnp.conj(left.T) @ gradient) * right.T, axis=-1))


def of_spectrum(b: Array, left: Array, right: Array) -> Array:
    """left diag(b) rightᴴ, (..., n, m)."""
    return (left * b[..., None, :].astype(left.dtype)) @ jnp.conj(right.T)
