"""Smooth shrinkage without a prior: a line and a bump, exponential or spline. Notation: `family`."""

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, POSITIVE, ShrinkageKind
from onsager_cli.shrinkage.family import Theta, circular, summed

EXP = ShrinkageKind(
    "exp",
    of="exponential",
    parameters=("width", "slope", "bump"),
    lower=(POSITIVE, FREE, FREE),
    start=(2.5, 0.9, -1.0),
    slopes=(1, 2),
)
SPLINE = ShrinkageKind(
    "spline",
    of="spline",
    parameters=("width", "slope", "bump"),
    lower=(POSITIVE, FREE, FREE),
    start=(3.7, 0.9, -1.5),
    slopes=(1, 2),
)


@summed()
def _exponential(r: Array, scale: Array, slope: Array, bump: Array) -> tuple[Array, Array]:
    square = jnp.square(r * scale)
    bell = bump * jnp.exp(-0.5 * square)
    return r * (slope + bell), slope + bell * (1 - square)


@circular
def exponential(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
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
def spline(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """Cubic B-spline shrinkage, eqs (35), (36): θ2 r + θ3 r β(r / (θ1 σ))."""
    return _spline(r, 1 / (theta[0] * sigma), theta[1], theta[2])
