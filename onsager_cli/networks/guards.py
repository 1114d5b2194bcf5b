"""Count how often a network meets its guards: divergences kept from 0 and 1, square roots kept from 0.

Guards keep single samples from spoiling a batch. If guards act often, they decide the result instead of the network, and
the training warns.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.networks.base import Inputs, Network, Parameters
from onsager_cli.networks.decoupling import Decoupled, PseudoPrior, is_clipped
from onsager_cli.networks.layers import Layers
from onsager_cli.problems.base import Problem

GUARDS = ("divergence of the linear stage clipped", "divergence of the shrinkage clipped", "σ at its floor")
SIGMA_FLOOR = 1e-8  # what float32 can take to the fourth power; every network's own floor is at most this


@partial(jax.jit, static_argnums=(0, 5))
def guard_counts(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: Array | int, precision: str = "highest"
) -> Array:
    """Number of samples of y (M, L) that met each of GUARDS in each layer, (layers, 3); zero in rows beyond `depth`.

    The shrinkage of the last layer is the output and is not decoupled: its count is 0.
    """
    N, L = problem.A.shape[1], y.shape[1]
    nothing, decoupled = jnp.int32(0), isinstance(net, Decoupled)

    def clipped(divergence: Array) -> Array:
        return jnp.sum(jnp.broadcast_to(is_clipped(divergence, N), (1, L)))

    with jax.default_matmul_precision(precision):
        layers = Layers(net, problem, params, y)

        def at_input(t: Array | int, state: PseudoPrior, inputs: Inputs) -> Array:
            # The state before the first layer is what its linear stage received, in a decoupled network.
            linear = nothing
            if isinstance(net, Decoupled):
                linear = clipped(net.divergence(layers.layer_params(t), state))
            floor = nothing if (sigma := net.level(inputs)) is None else jnp.sum(sigma <= 1.01 * SIGMA_FLOOR)
            return jnp.stack([linear, nothing, floor])

        def visit(t: Array | int, state: PseudoPrior, inputs: Inputs, counts: Array) -> Array:
            counts = counts.at[t].set(at_input(t, state, inputs))
            return counts.at[t, 1].set(clipped(layers.shrink(t, inputs).slope)) if decoupled else counts

        counts = jnp.zeros((net.depth_of(params), 3), jnp.int32)
        counts, state, inputs = layers.run(depth - 1, visit, counts)
        return counts.at[depth - 1].set(at_input(depth - 1, state, inputs))


def clipped_divergences(counts: np.ndarray) -> np.ndarray:
    """Number of clipped divergences in the networks of 1, 2, ... layers, (layers,), from `guard_counts` (layers, 3).

    The shrinkage of the last layer of each network counts as none.
    """
    linear, shrinkage = np.cumsum(counts[:, :2], axis=0, dtype=int).T
    return linear + np.concatenate([[0], shrinkage[:-1]])


def frequent(counts: np.ndarray, depth: int, samples: int, share: float = 0.01) -> list[str]:
    """The guards that more than `share` of the samples meet in a layer, in words.

    `counts` (layers, 3) is that of `guard_counts`. Example: "σ at its floor: 12 % of the samples of layer 3".
    """
    rows = counts[:depth] / samples
    found = []
    for guard, shares in zip(GUARDS, rows.T, strict=True):
        worst = int(np.argmax(shares))
        if shares[worst] > share:
            found.append(f"{guard}: {100 * float(shares[worst]):.0f} % of the samples of layer {worst + 1}")
    return found
