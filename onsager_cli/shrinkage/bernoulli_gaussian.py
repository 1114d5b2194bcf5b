"""The MMSE denoiser of Bernoulli-Gaussian signals, and the posterior of their support. Notation: `family`."""

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.linalg import power
from onsager_cli.shrinkage.family import Belief, Theta, summed

BG = ShrinkageKind(
    "bg",
    of="bernoulli_gaussian",
    parameters=("phi", "log_odds_zero"),
    lower=(POSITIVE, FREE),
    units=(2, 0),
    start=(1.0, 2.1972245773362196),
    begins="prior",
    posterior="belief",
    label="BG",
)


def _exponent(r: Array) -> float:
    """The factor of |x|²/φ in the exponent of a Gaussian density of variance φ: 1 for complex (circular) x, else 1/2."""
    return 1.0 if jnp.iscomplexobj(r) else 0.5


def _posterior(r: Array, variance: Array, theta: Theta) -> tuple[Array, Array, Array]:
    """The posterior of x given r, per sample: β = φ/(φ + σ²), β/σ², and the log-odds of x = 0 at r = 0."""
    phi = theta[0]
    beta = phi / (phi + variance)
    log_odds = theta[1] + _exponent(r) * jnp.log1p(phi / variance)
    return beta, beta / variance, log_odds


def activity(r: Array, variance: Array, theta: Theta) -> Array:
    """P(x ≠ 0 | r) under the Bernoulli-Gaussian prior (37), of the shape of r: a logistic function of |r|².

    `variance` is σ² (1, L), linear; θ = (φ, log((1-γ)/γ)). For complex r, active entries are circular with φ = E|x|².
    """
    _, gain, log_odds = _posterior(r, variance, theta)
    return jax.nn.sigmoid(_exponent(r) * (gain * power(r)) - log_odds)


def belief(r: Array, sigma: Array, theta: Theta) -> Belief:
    """What the prior (37) knows of x given r: with m = β r and φ' = β σ², E|x|² = p (|m|² + φ')."""
    variance = jnp.square(sigma)
    beta, gain, log_odds_zero = _posterior(r, variance, theta)
    log_odds = _exponent(r) * (gain * power(r)) - log_odds_zero
    active = jax.nn.sigmoid(log_odds)
    spread = active * (beta * variance + (1 - active) * power(beta * r))
    return Belief(log_odds, active * beta * r, spread, -jnp.asarray(theta[1]))


@summed()
def _bernoulli_gaussian(r: Array, beta: Array, gain: Array, log_odds: Array) -> tuple[Array, Array]:
    square = gain * power(r)
    active = jax.nn.sigmoid(_exponent(r) * square - log_odds)
    return beta * r * active, beta * (active + square * (active * (1 - active)))


def bernoulli_gaussian(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """MMSE denoiser of the Bernoulli-Gaussian prior (37), eq (40): θ = (φ, log((1-γ)/γ)).

    η = β r p with β = φ/(φ + σ²) and p = P(x ≠ 0 | r), a logistic function of r².
    """
    return _bernoulli_gaussian(r, *_posterior(r, jnp.square(sigma), theta))
