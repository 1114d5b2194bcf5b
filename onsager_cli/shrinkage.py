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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import entry_points

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.fields import magnitude, power
from onsager_cli.schema_shrinkage import POSITIVE

Eta = Callable[[Array, Array, Sequence[Array] | Array], tuple[Array, Array]]


def average(derivative: Array) -> Array:
    """⟨η'⟩ of eq (31b): the mean over the N coordinates, per sample; shape (1, L)."""
    return jnp.mean(derivative, axis=0, keepdims=True)


def circular(eta: Eta) -> Eta:
    """The family for complex r as well: it shrinks |r| and keeps the phase.

    With g = η(|r|), the estimate is (g/|r|) r and its derivative, in Wirtinger's sense, ∂η/∂r = (g' + g/|r|) / 2.
    """

    @wraps(eta)
    def extended(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
        if not jnp.iscomplexobj(r):
            return eta(r, sigma, theta)
        size = magnitude(r)
        g, slope = eta(size, sigma, theta)
        gain = g / size
        return gain * r, 0.5 * (slope + average(gain))

    return extended


KNEE_WIDTH = (
    0.25  # half the width, in σ, over which a jump of η' is taken to happen where ⟨η'⟩ is differentiated
)


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
    excess = jnp.abs(r) - theta[0]
    return jnp.sign(r) * jnp.maximum(excess, 0), average((excess > 0).astype(r.dtype))


@circular
def soft(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Scaled soft threshold, eq (32): θ1 sgn(r) max(|r| - θ2 σ, 0). In LAMP-l1, θ = (β, α)."""
    excess = jnp.abs(r) - theta[1] * sigma
    slope = average(theta[0] * above(excess, KNEE_WIDTH * sigma))
    return theta[0] * jnp.sign(r) * jnp.maximum(excess, 0), slope


@circular
def pwlin(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Piecewise linear with five segments, eq (33): knees at ±θ1 σ, ±θ2 σ, slopes θ3, θ4, θ5 outwards."""
    size, knee1, knee2 = jnp.abs(r), theta[0] * sigma, theta[1] * sigma
    inner = jnp.minimum(size, knee1)
    middle = jnp.clip(size, knee1, knee2) - knee1
    outer = jnp.maximum(size - knee2, 0)
    x_hat = jnp.sign(r) * (theta[2] * inner + theta[3] * middle + theta[4] * outer)
    width = KNEE_WIDTH * sigma
    beyond1, beyond2 = above(size - knee1, width), above(size - knee2, width)
    derivative = theta[2] + (theta[3] - theta[2]) * beyond1 + (theta[4] - theta[3]) * beyond2
    return x_hat, average(derivative)


@circular
def exponential(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Exponential shrinkage, eq (34): θ2 r + θ3 r exp(-r² / (2 θ1² σ²))."""
    square = jnp.square(r / (theta[0] * sigma))
    bump = theta[2] * jnp.exp(-0.5 * square)
    return r * (theta[1] + bump), average(theta[1] + bump * (1 - square))


@circular
def spline(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """Cubic B-spline shrinkage, eqs (35), (36): θ2 r + θ3 r β(r / (θ1 σ))."""
    z = jnp.abs(r) / (theta[0] * sigma)
    tail = jnp.maximum(2 - z, 0)
    inside = z <= 1
    value = jnp.where(inside, 2 / 3 - z * z * (1 - 0.5 * z), tail * tail * tail / 6)
    slope = jnp.where(inside, z * (1.5 * z - 2), -0.5 * tail * tail)  # β'(|z|)
    return r * (theta[1] + theta[2] * value), average(theta[1] + theta[2] * (value + z * slope))


def activity(r: Array, variance: Array, theta: Sequence[Array] | Array) -> Array:
    """P(x ≠ 0 | r) under the Bernoulli-Gaussian prior (37), the shape of r: a logistic function of |r|².

    θ = (φ, log((1-γ)/γ)); for complex r the active entries are circular with φ = E|x|², and the exponent doubles.
    """
    phi, half = theta[0], 1.0 if jnp.iscomplexobj(r) else 0.5
    square = power(r) * (phi / (phi + variance) / variance)
    return jax.nn.sigmoid(half * square - (theta[1] + half * jnp.log1p(phi / variance)))


def bernoulli_gaussian(r: Array, sigma: Array, theta: Sequence[Array] | Array) -> tuple[Array, Array]:
    """MMSE denoiser of the Bernoulli-Gaussian prior (37), eq (40): θ = (φ, log((1-γ)/γ)).

    η = β r p with β = φ/(φ + σ²) and p = P(x ≠ 0 | r), a logistic function of r².
    """
    variance, phi = jnp.square(sigma), theta[0]
    beta = phi / (phi + variance)
    square = power(r) * (beta / variance)
    active = activity(r, variance, theta)
    return beta * r * active, average(beta * active * (1 + square * (1 - active)))


@dataclass(frozen=True)
class Family:
    """A shrinkage family: η, the names of its parameters and the box that keeps them meaningful.

    `slopes` are the indices of all parameters in units of η / r, if the others are in units of r / σ: such a family
    makes up for any scale of r.
    """

    name: str
    eta: Eta
    parameters: tuple[str, ...]
    lower: tuple[float, ...]
    ordered: bool = False  # the first two parameters are abscissae θ1 <= θ2
    slopes: tuple[int, ...] = ()

    @property
    def scale(self) -> int | None:
        """Index of the one slope, if there is one only, which then merely scales η.

        In the first layer of LAMP it cannot be told apart from the scale of B (Section III-C) and stays fixed.
        """
        return self.slopes[0] if len(self.slopes) == 1 else None

    def units(self, theta: Array) -> Array:
        """θ where a parameter is a positive scale, 1 where not: what a step of its logarithm is worth, (..., k).

        A scale may have far to go. In the first layer of a deeper network φ of Bernoulli-Gaussian shrinkage does best
        at infinity.
        """
        is_scale = jnp.asarray([low > 0 for low in self.lower])
        return jnp.where(is_scale, theta, jnp.ones_like(theta))

    def project(self, theta: Array) -> Array:
        """The nearest allowed θ, shape (..., k): positive scales, thresholds >= 0, ordered knees."""
        theta = jnp.maximum(theta, jnp.asarray(self.lower, theta.dtype))
        if self.ordered:
            theta = theta.at[..., 1].max(theta[..., 0])
        return theta

    def at_bound(self, theta: Array) -> int:
        """How many parameters `project` keeps from going on: scales and thresholds at their least, knees that meet."""
        low = jnp.asarray(self.lower, theta.dtype)
        count = jnp.sum(theta <= low * (1 + 1e-6))
        if self.ordered:
            count += jnp.sum((theta[..., 1] <= theta[..., 0]) & (theta[..., 1] > low[1]))
        return int(count)

    def rescaled(self, theta: Array, r: float, sigma: float) -> Array:
        """The θ with which η(r; σ) is what it was for `r` times r and `sigma` times σ; for a family with `slopes`."""
        slopes = jnp.isin(jnp.arange(theta.shape[-1]), jnp.asarray(self.slopes))
        return theta * jnp.where(slopes, r, sigma / r)


FREE = float("-inf")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("threshold", threshold, ("lambda",), (0.0,)),
        Family("soft", soft, ("beta", "alpha"), (FREE, 0.0), slopes=(0,)),
        Family(
            "pwlin",
            pwlin,
            ("knee1", "knee2", "slope1", "slope2", "slope3"),
            (0.0, 0.0, FREE, FREE, FREE),
            ordered=True,
            slopes=(2, 3, 4),
        ),
        Family("exp", exponential, ("width", "slope", "bump"), (POSITIVE, FREE, FREE), slopes=(1, 2)),
        Family("spline", spline, ("width", "slope", "bump"), (POSITIVE, FREE, FREE), slopes=(1, 2)),
        Family("bg", bernoulli_gaussian, ("phi", "log_odds_zero"), (POSITIVE, FREE)),
    )
}


def family(name: str) -> Family:
    """The family of this name, built in or offered by an installed package (entry point `onsager.shrinkages`)."""
    if name in FAMILIES:
        return FAMILIES[name]
    (entry,) = entry_points(group="onsager.shrinkages", name=name)
    return entry.load()
