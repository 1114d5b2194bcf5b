"""The MMSE denoiser of block-sparse Bernoulli-Gaussian signals. Notation: `family`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.linalg import power
from onsager_cli.shrinkage.family import Belief, Eta, Theta, average

BLOCK = ShrinkageKind(
    "block",
    of="block",
    parameters=("phi", "log_odds_zero"),
    lower=(POSITIVE, FREE),
    units=(2, 0),
    begins="prior",
    of_signal=True,
    posterior="belief",
    label="block",
)


def block(signal) -> Eta:
    """Conditional mean of block-sparse signals: θ = (φ, log((1-γ)/γ)), blocks of `signal.block` neighbours.

    η = β r p with β = φ/(φ + σ²); p, the probability that a block is active, is a logistic function of its energy.
    A coordinate has the derivative β (p + β |r|²/σ² p (1-p)).
    """
    length = signal.block

    def eta(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
        blocks, beta, square, log_odds = _seen(r, jnp.square(sigma), theta, length)
        active = jax.nn.sigmoid(log_odds)
        slope = beta * (active + square * (active * (1 - active)))
        return (beta * blocks * active).reshape(r.shape), average(slope.reshape(r.shape))

    return eta


def belief(signal) -> Callable[[Array, Array, Theta], Belief]:
    """What the prior of `block` knows of x given r; the coordinates of a block have one probability."""
    length = signal.block

    def of(r: Array, sigma: Array, theta: Theta) -> Belief:
        variance = jnp.square(sigma)
        blocks, beta, _, log_odds = _seen(r, variance, theta, length)
        active, m = jax.nn.sigmoid(log_odds), beta * blocks
        spread = active * (beta * variance + (1 - active) * power(m))
        wide = jnp.broadcast_to(log_odds, blocks.shape).reshape(r.shape)
        return Belief(wide, (active * m).reshape(r.shape), spread.reshape(r.shape), -jnp.asarray(theta[1]))

    return of


def _seen(r: Array, variance: Array, theta: Theta, length: int) -> tuple[Array, Array, Array, Array]:
    """r in blocks (N/d, d, L), β, β|r|²/σ² of the same shape, and the log-odds that a block is active, (N/d, 1, L)."""
    exponent = 1.0 if jnp.iscomplexobj(r) else 0.5
    phi, log_odds_zero = _first(theta[0], length), _first(theta[1], length)
    blocks = r.reshape(-1, length, r.shape[-1])
    beta = phi / (phi + variance)
    square = beta / variance * power(blocks)
    energy = exponent * jnp.sum(square, axis=1, keepdims=True)
    return blocks, beta, square, energy - log_odds_zero - length * exponent * jnp.log1p(phi / variance)


def _first(parameter: Array, length: int) -> Array:
    """A parameter for each block, from one for each coordinate (N, 1), or one for all."""
    parameter = jnp.asarray(parameter)
    return parameter if parameter.ndim == 0 else parameter.reshape(-1, length, 1)[:, :1]
