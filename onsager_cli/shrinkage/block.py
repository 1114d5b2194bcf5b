"""The MMSE denoiser of block-sparse Bernoulli-Gaussian signals. Notation: `family`."""

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.linalg import power
from onsager_cli.shrinkage.family import Eta, Theta, average

BLOCK = ShrinkageKind(
    "block",
    of="block",
    parameters=("phi", "log_odds_zero"),
    lower=(POSITIVE, FREE),
    units=(2, 0),
    begins="prior",
    of_signal=True,
    label="block",
)


def block(signal) -> Eta:
    """Conditional mean of block-sparse signals: θ = (φ, log((1-γ)/γ)), blocks of `signal.block` neighbours.

    η = β r p with β = φ/(φ + σ²); p, the probability that a block is active, is a logistic function of its energy.
    A coordinate has the derivative β (p + β |r|²/σ² p (1-p)).
    """
    length = signal.block

    def eta(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
        exponent = 1.0 if jnp.iscomplexobj(r) else 0.5
        variance, phi, log_odds = jnp.square(sigma), _first(theta[0], length), _first(theta[1], length)
        blocks = r.reshape(-1, length, r.shape[-1])
        beta = phi / (phi + variance)
        square = beta / variance * power(blocks)
        energy = exponent * jnp.sum(square, axis=1, keepdims=True)
        active = jax.nn.sigmoid(energy - log_odds - length * exponent * jnp.log1p(phi / variance))
        slope = beta * (active + square * (active * (1 - active)))
        return (beta * blocks * active).reshape(r.shape), average(slope.reshape(r.shape))

    return eta


def _first(parameter: Array, length: int) -> Array:
    """A parameter for each block, from one for each coordinate (N, 1), or one for all."""
    parameter = jnp.asarray(parameter)
    return parameter if parameter.ndim == 0 else parameter.reshape(-1, length, 1)[:, :1]
