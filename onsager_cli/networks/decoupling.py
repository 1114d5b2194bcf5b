"""Decoupling, the step that VAMP repeats after each of its two estimators (Algorithm 1, lines 5-7 and 10-12).

| symbol | name                                                       | equation      |
|--------|------------------------------------------------------------|---------------|
| r, σ²  | input of an estimator and the variance of its error        | (22), (24)    |
| x̂      | its estimate                                               | lines 4, 9    |
| ν      | its divergence, the mean of ∂x̂_n/∂r_n, per sample (1, L)   | lines 5, 10   |

    r⁺ = (x̂ - ν r) / (1 - ν),    σ⁺² = σ² ν / (1 - ν)

A finite sample may have a divergence of 0 or of 1 and more. It is kept half a coordinate away from both;
`clip_counts` says how often.
"""

from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.networks.base import Network, Parameters
from onsager_cli.problems import Problem

State = tuple[Array, Array]  # r̃ (N, L), σ̃² (1, L)

SMALLEST = 1e-20  # floor of a variance: a sample y = 0 must not divide by zero


def allowed(divergence: Array, N: int) -> Array:
    """The divergence clipped to (ε, 1 - ε), ε = 0.5/N."""
    return jnp.clip(divergence, 0.5 / N, 1 - 0.5 / N)


def is_clipped(divergence: Array, N: int) -> Array:
    """Where `allowed` changes something; a divergence that is not a number counts."""
    return ~((divergence >= 0.5 / N) & (divergence <= 1 - 0.5 / N))


def decouple(x_hat: Array, divergence: Array, r: Array, variance: Array) -> State:
    """r⁺ (N, L) and σ⁺² (1, L)."""
    nu = allowed(divergence, r.shape[0])
    return (x_hat - nu * r) / (1 - nu), jnp.maximum(variance * nu / (1 - nu), SMALLEST)


def begin(y: Array, N: int) -> State:
    """r̃ = 0 and σ̃² = ‖y‖²/N per sample."""
    energy = jnp.sum(jnp.square(y), axis=0, keepdims=True)
    return jnp.zeros((N, y.shape[1]), y.dtype), jnp.maximum(energy / N, SMALLEST)


class Decoupled(Protocol):
    """A network whose linear stage has a divergence."""

    def divergence(self, p: Parameters, state: State) -> Array:
        """ν̃ of the linear stage as it is before clipping; shape (1, L) or ()."""
        ...


@partial(jax.jit, static_argnums=(0, 4, 5))
def clip_counts(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: int, precision: str = "highest"
) -> Array:
    """How many samples had their divergence clipped, (depth, 2): at the linear stage, at the shrinkage.

    The shrinkage of the last layer is the output and is not decoupled: its count is 0.
    """
    N, L = problem.A.shape[1], y.shape[1]

    def count(divergence: Array) -> Array:
        return jnp.sum(jnp.broadcast_to(is_clipped(divergence, N), (1, L)))

    with jax.default_matmul_precision(precision):
        context = net.prepare(problem, params, y)
        state, inputs = net.first(problem, net.layer(params, 0), y, context)
        counts = (
            jnp.zeros((depth, 2), jnp.int32).at[0, 0].set(count(net.divergence(net.layer(params, 0), state)))
        )

        def body(t, carry):
            counts, state, inputs = carry
            p, after = net.layer(params, t), net.layer(params, t + 1)
            x_hat, slope = net.family.eta(*inputs, net.spread(p["theta"]))
            state = net.correct(problem, p, x_hat, slope, inputs, state, y, context)
            counts = counts.at[t, 1].set(count(slope)).at[t + 1, 0].set(count(net.divergence(after, state)))
            return counts, state, net.linear(problem, after, state, y, context)

        return jax.lax.fori_loop(0, depth - 1, body, (counts, state, inputs))[0]
