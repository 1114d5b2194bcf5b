"""A few coordinates in which a matrix learns fast, beside its entries.

| symbol | name                                          |
|--------|-----------------------------------------------|
| U, V   | singular vectors of A: (M, R), (N, R)         |
| W      | a matrix that learns, from y's side to x's    |
| b      | its spectral coordinates, W = V diag(b) Uᴴ + … |
| a      | the scales of its rows, W = (I + diag(a)) W₀  |

What a linear stage has to learn is, to first order, how much of each singular direction of A to let through: R
numbers, where W has N M. To second order, columns of A differ in norm, and so do the scales that rows of W need: N
numbers. Together they are what a trained B of LAMP has: diag(1 + a) V diag(b) Uᵀ, fitted to it, has the NMSE of all its
entries within a tenth of a dB, mostly within hundredths, and much of the rest is the noise of its gradients. Hundreds
of steps find a and b, and noise hardly moves them. Descent on (entries, a, b) at once takes the large steps there and
leaves to the entries what only they can say.
"""

import jax.numpy as jnp
from jax import Array


def spectrum(gradient: Array, left: Array, right: Array) -> Array:
    """Gradient in b of W = left diag(b) rightᴴ, real: (..., R) from (..., n, m)."""
    return jnp.real(jnp.sum((jnp.conj(left.T) @ gradient) * right.T, axis=-1))


def scales(gradient: Array, matrix: Array) -> Array:
    """Gradient in a of W = (I + diag(a)) matrix, real: (..., n) from (..., n, m)."""
    return jnp.sum(jnp.real(gradient * jnp.conj(matrix)), axis=-1)


def of_spectrum(b: Array, left: Array, right: Array) -> Array:
    """left diag(b) rightᴴ, (..., n, m)."""
    return (left * b[..., None, :].astype(left.dtype)) @ jnp.conj(right.T)
