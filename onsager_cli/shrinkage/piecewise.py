"""Piecewise linear shrinkage: plain and scaled soft threshold, five segments, and a grid of gains. Notation: `family`."""

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.records import FREE, ShrinkageKind
from onsager_cli.shrinkage.family import KNEE_WIDTH, Theta, average, circular, summed

THRESHOLD = ShrinkageKind(
    "threshold",
    of="threshold",
    parameters=("lambda",),
    lower=(0.0,),
    units=(1,),
    start=(0.1,),
    begins="scale",
    absolute=True,
    label="threshold",
)
SOFT = ShrinkageKind(
    "soft",
    of="soft",
    parameters=("beta", "alpha"),
    lower=(FREE, 0.0),
    start=(1.0, 1.0),
    minimax=True,
    slopes=(0,),
    slug="l1",
    label="$\\ell_1$",
)
PWLIN = ShrinkageKind(
    "pwlin",
    of="pwlin",
    parameters=("knee1", "knee2", "slope1", "slope2", "slope3"),
    lower=(0.0, 0.0, FREE, FREE, FREE),
    start=(2.0, 4.0, 0.1, 1.5, 0.95),
    ordered=True,
    slopes=(2, 3, 4),
)
PWLIN_AUTODIFF = ShrinkageKind(
    "pwlin_autodiff",
    of="pwlin_autodiff",
    parameters=PWLIN.parameters,
    lower=PWLIN.lower,
    start=PWLIN.start,
    ordered=True,
    slopes=PWLIN.slopes,
    label="pwlin, knees by autodiff",
)
NODES = 15  # of the grid of gains
SPACING = 1 / 0.75  # between its nodes, in σ
PWGRID = ShrinkageKind(
    "pwgrid",
    of="pwgrid",
    parameters=tuple(f"gain{node}" for node in range(NODES)),
    lower=(FREE,) * NODES,
    start=tuple(round(0.1 + 0.9 * node / (NODES - 1), 6) for node in range(NODES)),
    label="gain grid",
)


@jax.custom_jvp
def above(x: Array, width: Array) -> Array:
    """1 where x > 0, else 0, with the derivative that a ramp over ±width has.

    ⟨η'⟩ of a piecewise linear η counts the coordinates on each segment. Autodiff treats the count as a constant, although
    it changes with θ, σ and r. Averaged over many coordinates, it changes like the ramp.
    """
    del width
    return (x > 0).astype(x.dtype)


@above.defjvp
def _above_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x, width = primals
    ramp = jnp.where(jnp.abs(x) < width, 0.5 / width, 0)
    return above(x, width), ramp * tangents[0]


def excess(r: Array, knee: Array) -> Array:
    """sgn(r) max(|r| - knee, 0); not a number where |r| and the knee are infinite."""
    return jnp.where(jnp.abs(r) - knee <= 0, 0, r - jnp.sign(r) * knee)


@circular
def threshold(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """Soft threshold at an absolute level, eq (5): sgn(r) max(|r| - λ, 0), θ = (λ,). σ is not used."""
    del sigma
    above_it = jnp.abs(r) - theta[0]
    return jnp.sign(r) * jnp.maximum(above_it, 0), average((above_it > 0).astype(r.dtype))


@summed(fixed=1)
def _soft(r: Array, beta: Array, knee: Array, width: Array) -> tuple[Array, Array]:
    return beta * excess(r, knee), beta * above(jnp.abs(r) - knee, width)


@circular
def soft(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
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
def pwlin(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """Piecewise linear with five segments, eq (33): knees at ±θ1 σ, ±θ2 σ, slopes θ3, θ4, θ5 outwards."""
    return _pwlin(r, theta[0] * sigma, theta[1] * sigma, theta[2], theta[3], theta[4], KNEE_WIDTH * sigma)


@circular
def pwlin_autodiff(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """`pwlin` whose training takes ⟨η'⟩ for independent of where the knees are, as autodiff of a count does."""
    return _pwlin(r, theta[0] * sigma, theta[1] * sigma, theta[2], theta[3], theta[4], jnp.zeros_like(sigma))


@circular
def pwgrid(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
    """r times a gain that is linear between the nodes |r| = k SPACING σ, where it is θ_k, and constant beyond the last.

    The shrinkage that the authors' code (`pwlin_grid`) offers for LVAMP on the 5G problems.
    """
    last = len(theta) - 1
    at = jnp.minimum(jnp.abs(r) / (SPACING * sigma), last)
    cell = jnp.floor(at)
    gain = sum(theta[k] * jnp.maximum(1 - jnp.abs(at - k), 0) for k in range(last + 1))
    rise = sum(jnp.where(cell == k, theta[k + 1] - theta[k], 0) for k in range(last))
    return r * gain, average(gain + at * rise)
