"""One stage of training, compiled once for a network, whatever the stage.

What a stage varies - depth, which leaves of which layers learn, learning rates, number of steps - enters the
compiled program as numbers, so the stages of a plan share one executable. Frozen leaves have mask 0: their
gradient and their update are exactly zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from onsager_cli.fields import power
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.unroll import loss_and_gradient, scratch, squared_errors
from onsager_cli.problems import Problem


def limit_outliers(factor: float | None) -> Callable[[Any], Any]:
    """Per-sample clipping inside the backward pass, at `factor` times the batch's median cotangent norm.

    One sample in a hundred carries most of the energy of LAMP's gradient: where a sample has not converged, the
    Jacobians of the later layers multiply up. Clipped, the same batch gives a gradient with a fraction of the noise.
    """
    if factor is None:
        return lambda cotangents: cotangents

    def limit(cotangents):
        norm = jnp.sqrt(sum(jnp.sum(power(c), axis=0) for c in jax.tree.leaves(cotangents)))
        scale = jnp.minimum(1.0, factor * jnp.median(norm) / jnp.maximum(norm, 1e-30))
        return jax.tree.map(lambda c: c * scale, cotangents)

    return limit


def optimizer(kind: str, vectors: frozenset[str]) -> optax.GradientTransformation:
    """Direction of the update, before the learning rate: Adam for θ, Adam or Muon for the matrices."""
    adam = optax.scale_by_adam()
    if kind == "muon":
        axes = optax.contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
        matrices = optax.contrib.scale_by_muon(
            weight_dimension_numbers=lambda p: jax.tree.map(lambda _: axes, p)
        )
    else:
        matrices = adam

    def labels(params: Parameters) -> dict[str, str]:
        return {name: "vector" if name in vectors else "matrix" for name in params}

    return optax.partition({"vector": adam, "matrix": matrices}, labels)


def over_devices(samples: Array) -> Array:
    """Spreads a batch (..., L) over all devices, if there are several and they divide it."""
    count = jax.device_count()
    if count == 1 or samples.shape[-1] % count:
        return samples
    mesh = Mesh(jax.devices(), ("batch",))
    return jax.lax.with_sharding_constraint(samples, NamedSharding(mesh, PartitionSpec(None, "batch")))


@dataclass(frozen=True)
class Engine:
    """The compiled programs for one network, problem size and batch."""

    net: Network
    batch: int
    chunk: int
    optimizer: str
    clip: float | None
    precision: str

    def begin(self, problem: Problem, params: Parameters):
        """Optimizer state and scratch for a stage that starts from `params`."""
        return self._descent.init(params), scratch(self.net, problem, params, self.batch)

    @property
    def _descent(self) -> optax.GradientTransformation:
        return optimizer(self.optimizer, frozenset(self.net.vectors))

    @partial(jax.jit, static_argnums=0, donate_argnums=(2, 3, 4))
    def steps(
        self, problem, params, state, buffers, masks, depth, first_learned, key, first_step, rates, count
    ):
        """`count` steps (at most `chunk`) with learning rates `rates` (chunk, 2), each on a fresh batch.

        A batch is drawn from `key` and the number of its step, so it does not matter how steps are cut into calls.
        Returns params, state, buffers and the sum of the batches' NMSE (linear), which is finite if all steps were.
        """
        tx, limit = self._descent, limit_outliers(self.clip)

        def step(i, carry):
            params, state, buffers, total = carry
            x, y = problem.sample(jax.random.fold_in(key, first_step + i), self.batch)
            x, y = over_devices(x), over_devices(y)
            loss, gradient, buffers = loss_and_gradient(
                self.net, problem, params, x, y, depth, first_learned, buffers, limit
            )
            # JAX's gradient of a complex leaf is the conjugate of steepest ascent.
            gradient = jax.tree.map(jnp.conj, gradient)
            gradient = jax.tree.map(jnp.multiply, self.net.to_descent(problem, gradient), masks)
            updates, state = tx.update(gradient, state, params)
            updates = self.net.from_descent(problem, cast(Parameters, updates))
            params = {
                name: leaf - rates[i, int(name in self.net.vectors)] * masks[name] * updates[name]
                for name, leaf in params.items()
            }
            params["theta"] = self.net.family.project(params["theta"])
            return params, state, buffers, total + loss / jnp.sum(power(x))

        with jax.default_matmul_precision(self.precision):
            return jax.lax.fori_loop(0, count, step, (params, state, buffers, jnp.float32(0)))

    @partial(jax.jit, static_argnums=0)
    def errors(self, problem, params, x, y, depth):
        """‖x̂_t - x‖² per layer and sample (layers, L), and ‖x‖² per sample (L,), over the reported coordinates."""
        with jax.default_matmul_precision(self.precision):
            return squared_errors(self.net, problem, params, x, y, depth), problem.squared_norm(x)
