"""Conditional means of mixtures: Gaussian components, the letters of an alphabet, or the signal itself.

By Tweedie's identity, ∂E[x|r]/∂r = var(x|r) / (noise variance), in Wirtinger's sense where r is complex. The factor
`noise` multiplies σ: once a network has learned its matrices, σ need not be the standard deviation of r - x.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.linalg import mixed, power
from onsager_cli.shrinkage.family import Belief, Eta, Theta, summed

MIXTURE = ShrinkageKind(
    "mixture",
    of="mixture",
    parameters=("noise",),
    lower=(POSITIVE,),
    repeated=("log_weight", "mean", "log_variance"),
    repeated_lower=(FREE, FREE, FREE),
    repeated_units=(0, 1, 0),
    repeated_shifts=(0, 0, 2),
    counts=(2, 6),
    begins="mixture",
    label="mixture",
)
DISCRETE = ShrinkageKind(
    "discrete",
    of="discrete",
    parameters=("noise",),
    lower=(POSITIVE,),
    repeated=("log_weight", "real", "imaginary"),
    repeated_lower=(FREE, FREE, FREE),
    repeated_units=(0, 1, 1),
    counts=(2, 64),
    begins="letters",
    label="discrete",
)
MATCHED = ShrinkageKind(
    "matched",
    of="matched",
    parameters=("noise",),
    lower=(POSITIVE,),
    start=(1.0,),
    begins="start",
    of_signal=True,
    posterior="matched_belief",
    label="matched",
)

LEAST = 1e-13  # variance of the noise: below, |r|² / variance leaves float32


def _noise(sigma: Array, theta: Theta) -> Array:
    """The variance of the noise that the shrinkage believes in."""
    return jnp.maximum(jnp.square(theta[0] * sigma), LEAST)


@summed()
def _mixture(r: Array, noise: Array, *components: Array) -> tuple[Array, Array]:
    exponent = 1.0 if jnp.iscomplexobj(r) else 0.5
    logs, means, variances = [], [], []
    for k in range(0, len(components), 3):
        log_weight, mean, log_variance = components[k : k + 3]
        phi = jnp.exp(log_variance)
        total = phi + noise
        gain = phi / total
        distance = r if jnp.iscomplexobj(r) else r - mean
        logs.append(log_weight - exponent * (power(distance) / total + jnp.log(total)))
        means.append(gain * distance if jnp.iscomplexobj(r) else mean + gain * distance)
        variances.append(gain * noise)
    _, mean, variance = mixed(logs, means, variances)
    return mean, variance / noise


def mixture(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """Conditional mean of a Gaussian mixture: θ = (noise, then log weight, mean, log variance of each component).

    The weights need not sum to 1. Complex components are circular and have no mean: the parameter is not used.
    """
    return _mixture(r, _noise(sigma, theta), *theta[1:])


@summed()
def _discrete(r: Array, noise: Array, *letters: Array) -> tuple[Array, Array]:
    exponent = 1.0 if jnp.iscomplexobj(r) else 0.5
    logs, values = [], []
    for k in range(0, len(letters), 3):
        log_weight, real, imaginary = letters[k : k + 3]
        value = jax.lax.complex(real, imaginary) if jnp.iscomplexobj(r) else real
        logs.append(log_weight - exponent * power(r - value) / noise)
        values.append(value)
    _, mean, variance = mixed(logs, values, None)
    return mean, variance / noise


def discrete(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """Conditional mean over an alphabet: θ = (noise, then log weight, real and imaginary part of each letter).

    Zero is a letter like the others. The weights need not sum to 1. Real r do without imaginary parts.
    """
    return _discrete(r, _noise(sigma, theta), *theta[1:])


def matched(signal) -> Eta:
    """Conditional mean of a signal, which has `posterior(r, variance)`: θ = (noise,), 1 for the true noise."""

    @summed()
    def core(r: Array, noise: Array) -> tuple[Array, Array]:
        found = signal.posterior(r, noise)
        return found.mean, found.variance / noise

    def eta(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
        return core(r, _noise(sigma, theta))

    return eta


def matched_belief(signal) -> Callable[[Array, Array, Theta], Belief]:
    """What the signal's own law knows of x given r. Of p(r), the part of zeros is (1-γ) times a Gaussian density."""

    def of(r: Array, sigma: Array, theta: Theta) -> Belief:
        noise = _noise(sigma, theta)
        exponent = 1.0 if jnp.iscomplexobj(r) else 0.5
        found, d = signal.posterior(r, noise), signal.block
        zero = -exponent * (power(r) / noise + jnp.log(jnp.pi * noise / exponent))
        if d > 1:  # a block is active as one, and `log_density` is the share of a coordinate
            zero = jnp.repeat(jnp.sum(zero.reshape(-1, d, zero.shape[-1]), axis=1), d, axis=0)
        share = jnp.minimum(jnp.log1p(-signal.gamma) + zero - d * found.log_density, -1e-7)  # log P(x = 0 | r)
        prior = jnp.asarray(np.log(signal.gamma) - np.log1p(-signal.gamma)) if signal.gamma < 1 else jnp.inf
        return Belief(jnp.log(-jnp.expm1(share)) - share, found.mean, found.variance, jnp.asarray(prior))

    return of
