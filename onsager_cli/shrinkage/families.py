"""Scalar shrinkage functions η(r; σ, θ) and their average derivatives.

| symbol | name                                   | equation      |
|--------|----------------------------------------|---------------|
| r      | shrinkage input, x + error             | (31a), (41)   |
| σ      | standard deviation of that error       | (31a)         |
| θ      | parameters of a family, the paper's order | (32)-(36), (40) |
| ⟨η'⟩   | average of ∂η/∂r over the coordinates of one sample | (31b) |

Samples are columns: `r` has shape (N, L), `sigma` (1, L), linear units. One parameter of θ is a scalar or an
array that broadcasts against `r`. r may be complex; σ² is then E|error|². Every family returns `(x_hat, slope)` with `slope` of shape (1, L), the exact
average derivative. Reference: Borgerding, Schniter, Rangan (2017), Section IV-A.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.linalg import power
from onsager_cli.shrinkage.family import KNEE_WIDTH, average, circular, summed


@jax.custom_jvp
def above(x: Array, width: Array) -> Array:
    """1 where x > 0, else 0, with the derivative that a ramp over ±width has.

    ⟨η'⟩ of a piecewise linear η counts the coordinates on each segment. Autodiff takes that for a constant, and misses
    how the count moves with θ, σ and r; over many coordinates it moves as the ramp's does.
    """
    del width
    return (x > 0).astype(x.dtype)


@above.defjvp
def _above_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x, width = primals
    ramp = jnp.where(jnp.abs(x) < width, 0.5 / width, 0)
    return above(x, width), ramp * tangents[0]


@circular
def threshold(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Soft threshold at an absolute level, eq (5): sgn(r) max(|r| - λ, 0), θ = (λ,). σ is not used."""
    del sigma
    above_it = jnp.abs(r) - theta[0]
    return jnp.sign(r) * jnp.maximum(above_it, 0), average((above_it > 0).astype(r.dtype))


def excess(r: Array, knee: Array) -> Array:
    """sgn(r) max(|r| - knee, 0); not a number where |r| and the knee are infinite."""
    return jnp.where(jnp.abs(r) - knee <= 0, 0, r - jnp.sign(r) * knee)


@summed(fixed=1)
def _soft(r: Array, beta: Array, knee: Array, width: Array) -> tuple[Array, Array]:
    return beta * excess(r, knee), beta * above(jnp.abs(r) - knee, width)


@circular
def soft(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Scaled soft threshold, eq (32): θ1 sgn(r) max(|r| - θ2 σ, 0). In LAMP-l1, θ = (β, α)."""
    return _soft(r, theta[0], theta[1] * sigma, KNEE_WIDTH * sigma)


@summed(fixed=1)
def _pwlin(
    r: Array, knee1: Array, knee2: Array, slope1: Array, slope2: Array, slope3: Array, width: Array
) -> tuple[Array, Array]:
    change1, change2 = slope2 - slope1, slope3 - slope2
    x_hat = slope1 * r + change1 * excess(r, knee1) + change2 * excess(r, knee2)
    size = jnp.abs(r)
    return x_hat, slope1 + change1 * above(size - knee1, width) + change2 * above(size - knee2, width)


@circular
def pwlin(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Piecewise linear with five segments, eq (33): knees at ±θ1 σ, ±θ2 σ, slopes θ3, θ4, θ5 outwards."""
    return _pwlin(r, theta[0] * sigma, theta[1] * sigma, theta[2], theta[3], theta[4], KNEE_WIDTH * sigma)


@summed()
def _exponential(r: Array, scale: Array, slope: Array, bump: Array) -> tuple[Array, Array]:
    square = jnp.square(r * scale)
    bell = bump * jnp.exp(-0.5 * square)
    return r * (slope + bell), slope + bell * (1 - square)


@circular
def exponential(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Exponential shrinkage, eq (34): θ2 r + θ3 r exp(-r² / (2 θ1² σ²))."""
    return _exponential(r, 1 / (theta[0] * sigma), theta[1], theta[2])


@summed()
def _spline(r: Array, scale: Array, slope: Array, bump: Array) -> tuple[Array, Array]:
    z = jnp.abs(r) * scale
    tail = jnp.maximum(2 - z, 0)
    inside = z <= 1
    value = jnp.where(inside, 2 / 3 - z * z * (1 - 0.5 * z), tail * tail * tail / 6)
    steepness = jnp.where(inside, z * (1.5 * z - 2), -0.5 * tail * tail)  # β'(|z|)
    return r * (slope + bump * value), slope + bump * (value + z * steepness)


@circular
def spline(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Cubic B-spline shrinkage, eqs (35), (36): θ2 r + θ3 r β(r / (θ1 σ))."""
    return _spline(r, 1 / (theta[0] * sigma), theta[1], theta[2])


def _exponent(r: Array) -> float:
    """The factor of |x|²/φ in the exponent of a Gaussian density of variance φ: 1 if it is circular, over complex x."""
    return 1.0 if jnp.iscomplexobj(r) else 0.5


def _posterior(r: Array, variance: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array, Array]:
    """β = φ/(φ + σ²), β/σ² and the log-odds of x = 0 at r = 0, per sample: they make the posterior of x given r."""
    phi = theta[0]
    beta = phi / (phi + variance)
    log_odds = theta[1] + _exponent(r) * jnp.log1p(phi / variance)
    return beta, beta / variance, log_odds


def activity(r: Array, variance: Array, theta: Sequence[Array] | Array) -> Array:
    """P(x ≠ 0 | r) under the Bernoulli-Gaussian prior (37), the shape of r: a logistic function of |r|².

    θ = (φ, log((1-γ)/γ)); for complex r the active entries are circular with φ = E|x|², and the exponent doubles.
    """
    _, gain, log_odds = _posterior(r, variance, theta)
    return jax.nn.sigmoid(_exponent(r) * (gain * power(r)) - log_odds)


@summed()
def _bernoulli_gaussian(r: Array, beta: Array, gain: Array, log_odds: Array) -> tuple[Array, Array]:
    square = gain * power(r)
    active = jax.nn.sigmoid(_exponent(r) * square - log_odds)
    return beta * r * active, beta * (active + square * (active * (1 - active)))


def bernoulli_gaussian(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """MMSE denoiser of the Bernoulli-Gaussian prior (37), eq (40): θ = (φ, log((1-γ)/γ)).

    η = β r p with β = φ/(φ + σ²) and p = P(x ≠ 0 | r), a logistic function of r².
    """
    return _bernoulli_gaussian(r, *_posterior(r, jnp.square(sigma), theta))


THRESHOLD = ShrinkageKind(
    "threshold", of="threshold", parameters=("lambda",), lower=(0.0,), absolute=True, label="threshold"
)
SOFT = ShrinkageKind(
    "soft",
    of="soft",
    parameters=("beta", "alpha"),
    lower=(FREE, 0.0),
    slopes=(0,),
    slug="l1",
    label="$\\ell_1$",
)
PWLIN = ShrinkageKind(
    "pwlin",
    of="pwlin",
    parameters=("knee1", "knee2", "slope1", "slope2", "slope3"),
    lower=(0.0, 0.0, FREE, FREE, FREE),
    ordered=True,
    slopes=(2, 3, 4),
)
EXP = ShrinkageKind(
    "exp",
    of="exponential",
    parameters=("width", "slope", "bump"),
    lower=(POSITIVE, FREE, FREE),
    slopes=(1, 2),
)
SPLINE = ShrinkageKind(
    "spline", of="spline", parameters=("width", "slope", "bump"), lower=(POSITIVE, FREE, FREE), slopes=(1, 2)
)
BG = ShrinkageKind(
    "bg", of="bernoulli_gaussian", parameters=("phi", "log_odds_zero"), lower=(POSITIVE, FREE), label="BG"
)
