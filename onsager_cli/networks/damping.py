"""Damping: a layer hands on a mean of its new state and the one that it received.

| symbol | name                                                             |
|--------|------------------------------------------------------------------|
| d      | weight of the new state, 0 < d <= 1; 1 is no damping             |
| p      | what training learns of it per layer: d = 1 - p within [FLOOR, 1] |

VAMP averages r̃ and σ̃², AMP averages x̂ and v. Damping leaves the fixed points where they are; an iteration that
diverges on a small or correlated A may converge with it. Rangan, Schniter, Riegler, Fletcher and Cevher, "Fixed points
of generalized approximate message passing with arbitrary matrices" (2016).
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.settings import AUTO_DAMPING, LEARNED_DAMPING

AUTO = AUTO_DAMPING  # undamped where that converges, else the first of a ladder that does (`theory.damping`)
LEARNED = LEARNED_DAMPING  # one p per layer, which starts at 0
LEAF = "damping"  # name of the leaf of p
FLOOR = 0.05  # the least weight of the new state that is learned
State = TypeVar("State")

Damping = float | str | None
"""The weight d, AUTO, LEARNED, or None for no damping. AUTO counts as None until `theory.damping` decides."""


@jax.custom_vjp
def weight(p: Array) -> Array:
    """d = 1 - p, clipped to [FLOOR, 1].

    Beyond a bound and on it, the derivative is that of 1 - p for a step back inside, and 0 for a step further out.
    """
    return jnp.clip(1 - p, FLOOR, 1)


def _forward(p: Array) -> tuple[Array, Array]:
    return weight(p), p


def _backward(p: Array, cotangent: Array) -> tuple[Array]:
    # Descent moves p by the sign of the cotangent of d.
    outwards = jnp.where(cotangent < 0, p <= 0, p >= 1 - FLOOR)
    return (jnp.where(outwards, 0, -cotangent),)


weight.defvjp(_forward, _backward)


def damped(new: State, old: State, d: Array | float) -> State:
    """d `new` + (1 - d) `old`, entry by entry, for a weight d that is a number or ()."""
    return jax.tree.map(lambda a, b: d * a + (1 - d) * b, new, old)
