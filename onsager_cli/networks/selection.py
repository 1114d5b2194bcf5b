"""Support selection: the largest coordinates of a sample pass the shrinkage as they are.

| symbol | name                                                                                  |
|--------|---------------------------------------------------------------------------------------|
| p_t    | how many coordinates of a sample may pass in layer t (from 1)                         |
| θ      | threshold; only coordinates above it pass                                             |
| s      | expected number of active coordinates, γ N                                            |
| K      | number of layers                                                                      |

A coordinate passes if it is among the p largest |r| of its sample, the p-th included, and |r| > θ. Two rules:

    cpss    p_t = round(N min(rate t, most))             LISTA-CPSS (Chen et al., 2018)
    logs    p_t = linspace(⌊1.2 s / K⌋, 1.2 s, K)_t      NA-ALISTA (Behrens et al., 2021); knows s

By `logs`, p_t of all layers changes with the number of layers. Where p is not reached, all that exceeds θ passes, and the
error of x̂ depends on θ by jumps alone. Published training leaves θ to soft thresholds of the others and to the noise of
Adam; the derivative of a ramp finds a θ whose first layer is 1.6 dB better.

The p-th largest is found by counting, never by sorting. Positive floats are ordered as their bits are, as integers. A
bisection of these integers between θ and the largest |r| of a sample ends as soon as exactly p lie above, for every
sample: some 15 passes over r instead of 31. Two products with a matrix of 250 x 500 take three times as long; a full sort
takes twenty times as long as they do.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import magnitude
from onsager_cli.shrinkage.piecewise import above

RULES = ("cpss", "logs")
EXCESS = 1.2  # the largest p over s
RAMP = 0.1  # half the width, in θ, of the ramp whose derivative stands for that of the jump at θ


def counts(rule: str, layers: int, N: int, active: float, rate: float, most: float) -> np.ndarray:
    """p_t of layers 1 to `layers`, (layers,), by a rule; of `logs` not rounded down yet. `active` is s."""
    if rule == "cpss":
        return np.round(N * np.minimum(rate * np.arange(1, layers + 1), most))
    largest = min(EXCESS * active, N)
    return np.linspace(largest // layers, largest, layers)


def selected(r: Array, x_hat: Array, theta: Array, p: Array) -> Array:
    """x̂ with r in the place of the coordinates that pass; r and `x_hat` (N, L), θ (), (1, L) or (N, L), p () or (1, L).

    p is rounded down. Complex r count by |r|. Who is among the p largest has no derivative. That |r| exceeds θ has the
    derivative of a ramp of half the width RAMP θ: where all that is above θ passes, no other term tells how θ should move.
    """
    size = magnitude(r) if jnp.iscomplexobj(r) else jnp.abs(r)
    largest = among_largest(*map(jax.lax.stop_gradient, (size, (1 - RAMP) * theta, p)))
    gate = above(size - theta, jax.lax.stop_gradient(RAMP * theta))
    return jnp.where(largest, gate * r, x_hat)


def among_largest(size: Array, least: Array, p: Array) -> Array:
    """Where `size` (N, L) is among the p largest of its sample and above `least`, bool (N, L).

    `size` is not negative; `least` is (), (1, L) or (N, L), and p () or (1, L), rounded down.
    """
    if least.ndim == 2 and len(least) > 1:  # what is not above counts as nothing
        size, least = jnp.where(size > least, size, 0), jnp.zeros_like(least[:1])
    bits = _bits(size)
    return bits >= _level(bits, jnp.broadcast_to(_bits(least) + 1, (1, size.shape[1])), jnp.floor(p))


def _level(bits: Array, low: Array, p: Array) -> Array:
    """The level between `low` (1, L) and the largest of `bits` (N, L) + 1 that exactly p of each sample reach, (1, L).

    It is `low` where no more than p reach that. Of several that equal the p-th largest, all reach the level.
    """
    kind = bits.dtype
    p = jnp.broadcast_to(p.astype(kind), low.shape)

    def reached(level: Array) -> Array:
        """How many entries of a sample reach the level, (1, L)."""
        return jnp.sum((bits >= level).astype(kind), axis=0, keepdims=True)

    def unfinished(bounds: tuple[Array, ...]) -> Array:
        low, high, *_ = bounds
        return jnp.any(high - low > 1)

    def narrow(bounds: tuple[Array, ...]) -> tuple[Array, ...]:
        """The next bounds: by interpolation of the counts at both, in every other pass by bisection."""
        low, high, of_low, of_high, number = bounds
        share = (of_low - p).astype(jnp.float32) / (of_low - of_high).astype(jnp.float32)
        share = jnp.where(number % 2 == 0, share, 0.5)
        width = high - low
        middle = low + jnp.clip((share * width.astype(jnp.float32)).astype(kind), 1, jnp.maximum(width - 1, 1))
        count = reached(middle)
        enough, going = count >= p, width > 1
        of_low, of_high = jnp.where(going & enough, count, of_low), jnp.where(going & ~enough, count, of_high)
        low, high = jnp.where(going & enough, middle, low), jnp.where(going & ~enough, middle, high)
        return low, jnp.where(of_low == p, low + 1, high), of_low, of_high, number + 1

    top = jnp.max(bits, axis=0, keepdims=True) + 1
    of_low = reached(low)
    # Nothing to search where at most p reach `low`: high = low + 1, as at the end of a search.
    high = jnp.where(of_low <= p, low + 1, jnp.maximum(top, low + 1))
    low, high = jnp.where(p > 0, low, top), jnp.where(p > 0, high, top)
    bounds = low, high, of_low, jnp.zeros_like(of_low), jnp.zeros((), kind)
    return jax.lax.while_loop(unfinished, narrow, bounds)[0]


def _bits(size: Array) -> Array:
    """The bits of floats that are not negative, as integers in the same order."""
    return jax.lax.bitcast_convert_type(size, jnp.int64 if size.dtype.itemsize == 8 else jnp.int32)
