"""A few coordinates, beside the entries, in which a matrix learns fast.

| symbol | name                                          |
|--------|-----------------------------------------------|
| U, V   | singular vectors of A: (M, R), (N, R)         |
| W      | a matrix that learns, from y's side to x's    |
| b      | its spectral coordinates, W = V diag(b) Uᴴ + … |
| a      | the scales of its rows, W = (I + diag(a)) W₀  |

To first order, a linear stage learns how much of each singular direction of A to pass: R numbers, where W has N M. To
second order, it learns the scales of the rows of W, since columns of A differ in norm: N numbers. The two describe a
trained B of LAMP: the fit diag(1 + a) V diag(b) Uᵀ has the NMSE of B within 0.1 dB, mostly within hundredths. Much of the
rest is noise of the gradients. Hundreds of steps find a and b, and noise hardly moves them. Descent on (entries, a, b) at
once takes large steps in a and b, and leaves the rest to the entries.
"""

import jax.numpy as jnp
from jax import Array


def spectrum(gradient: Array, left: Array, right: Array) -> Array:
    """Gradient in b of W = left diag(b) rightᴴ, real: (..., R) from the gradient in W (..., n, m)."""
    return jnp.real(jnp.sum((jnp.conj(left.T) @ gradient) * right.T, axis=-1))


def scales(gradient: Array, matrix: Array) -> Array:
    """Gradient in a of W = (I + diag(a)) matrix, real: (..., n) from the gradient in W (..., n, m)."""
    return jnp.sum(jnp.real(gradient * jnp.conj(matrix)), axis=-1)


def of_spectrum(b: Array, left: Array, right: Array) -> Array:
    """left diag(b) rightᴴ, (..., n, m), from b (..., R), left (n, R) and right (m, R)."""
    return (left * b[..., None, :].astype(left.dtype)) @ jnp.conj(right.T)
