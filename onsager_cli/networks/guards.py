"""How often a network leans on its guards: divergences kept from 0 and 1, square roots kept from 0.

Guards keep single samples from spoiling a batch. Where they are at work often, the numbers are theirs, not the
network's, and the training says so.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.decoupling import Decoupled, is_clipped
from onsager_cli.problems import Problem

GUARDS = ("divergence of the linear stage clipped", "divergence of the shrinkage clipped", "σ at its floor")
SIGMA_FLOOR = 1e-8  # what float32 can take to the fourth power; every network's own floor is at most this


@partial(jax.jit, static_argnums=(0, 5))
def guard_counts(
    net: Network,
    problem: Problem,
    params: Parameters,
    y: Array,
    depth: Array | int,
    precision: str = "highest",
) -> Array:
    """How many samples met each of GUARDS in each layer, (layers, 3); zero in rows beyond `depth`.

    The shrinkage of the last layer is the output and is not decoupled: its count is 0.
    """
    N, L = problem.A.shape[1], y.shape[1]

    def clipped(divergence: Array) -> Array:
        if not isinstance(net, Decoupled):
            return jnp.int32(0)
        return jnp.sum(jnp.broadcast_to(is_clipped(divergence, N), (1, L)))

    def at_input(p: Parameters, state, inputs) -> Array:
        linear = clipped(net.divergence(p, state)) if isinstance(net, Decoupled) else jnp.int32(0)
        sigma = inputs[1]
        floor = jnp.int32(0) if sigma is None else jnp.sum(sigma <= 1.01 * SIGMA_FLOOR)
        return jnp.stack([linear, jnp.int32(0), floor])

    with jax.default_matmul_precision(precision):
        context = net.prepare(problem, params, y)
        first = net.layer(params, 0)
        state, inputs = net.first(problem, first, y, context)
        # The state before the first layer is what its linear stage received, in a decoupled network.
        counts = jnp.zeros((net.depth_of(params), 3), jnp.int32).at[0].set(at_input(first, state, inputs))

        def body(t, carry):
            counts, state, inputs = carry
            p, after = net.layer(params, t), net.layer(params, t + 1)
            r, sigma = inputs
            x_hat, slope = net.family.eta(r, sigma, net.spread(p["theta"]))
            state = net.correct(problem, p, x_hat, slope, inputs, state, y, context)
            inputs = net.linear(problem, after, state, y, context)
            counts = counts.at[t, 1].set(clipped(slope)).at[t + 1].set(at_input(after, state, inputs))
            return counts, state, inputs

        return jax.lax.fori_loop(0, depth - 1, body, (counts, state, inputs))[0]


def clipped_divergences(counts: np.ndarray) -> np.ndarray:
    """How many divergences networks of 1, 2, ... of the layers of `guard_counts` clip; a last shrinkage has none."""
    linear, shrinkage = np.cumsum(counts[:, :2], axis=0, dtype=int).T
    return linear + np.concatenate([[0], shrinkage[:-1]])


def often(counts: np.ndarray, depth: int, samples: int, share: float = 0.01) -> list[str]:
    """The guards met by more than `share` of the samples in a layer: "σ at its floor: 12 % of the samples of layer 3"."""
    rows = counts[:depth] / samples
    found = []
    for guard, shares in zip(GUARDS, rows.T, strict=True):
        worst = int(np.argmax(shares))
        if shares[worst] > share:
            found.append(f"{guard}: {100 * float(shares[worst]):.0f} % of the samples of layer {worst + 1}")
    return found
