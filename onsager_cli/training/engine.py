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
from jax.sharding import Mesh, PartitionSpec

from onsager_cli.kinds.settings import Settings
from onsager_cli.linalg import power
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.layers import loss_and_gradient, scratch, squared_errors
from onsager_cli.problems import Problem


def optimizer(kind: str, net: Network) -> optax.GradientTransformation:
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
        return {name: "vector" if net.rate_index(name) else "matrix" for name in params}

    return optax.partition({"vector": adam, "matrix": matrices}, labels)


def over_devices(loss_and_gradient: Callable[..., Any]) -> Callable[..., Any]:
    """`loss_and_gradient` with the batch spread over all devices, if there are several and they divide it.

    Each computes with its samples alone; what a step says to the others is one sum of the loss and the gradient.
    Left to the compiler it would be one in every layer.
    """

    def spread(problem, params, x, y, weights, depth, first_learned, buffers):
        count = jax.device_count()
        if count == 1 or x.shape[-1] % count:
            return loss_and_gradient(problem, params, x, y, weights, depth, first_learned, buffers)

        def of_batch(leaf: Array) -> PartitionSpec:
            return PartitionSpec(*(None,) * (leaf.ndim - 1), "batch")

        def part(*arguments):
            loss, gradient, buffers = loss_and_gradient(*arguments)
            return *jax.lax.psum((loss, gradient), "batch"), buffers

        whole, of_buffers = PartitionSpec(), jax.tree.map(of_batch, buffers)
        of_samples = of_batch(x), of_batch(y), of_batch(weights)
        return jax.shard_map(
            part,
            mesh=Mesh(jax.devices(), ("batch",)),
            in_specs=(whole, whole, *of_samples, whole, whole, of_buffers),
            out_specs=(whole, whole, of_buffers),
            check_vma=False,
        )(problem, params, x, y, weights, depth, first_learned, buffers)

    return spread


@dataclass(frozen=True)
class Engine:
    """The compiled programs for one network, problem size and batch."""

    net: Network
    batch: int
    chunk: int
    optimizer: str
    coordinates: str
    precision: str
    most_emphasis: float | None = None  # that a stage may ask for; None: all ask for none

    @partial(jax.jit, static_argnums=0)
    def begin(self, problem: Problem, params: Parameters):
        """Optimizer state and scratch for a stage that starts from `params`."""
        to_descent, _ = self._maps
        everything = {name: jnp.float32(1) for name in params}
        coordinates = to_descent(problem, params, params, everything)  # for their names and shapes
        return self._descent.init(coordinates), scratch(self.net, problem, params, self.batch)

    @property
    def _maps(self):
        """From a gradient to the coordinates in which the optimizer works, and from its steps there back."""
        if self.coordinates == "spectral":
            return self.net.to_descent, self.net.from_descent
        return partial(Network.to_descent, self.net), partial(Network.from_descent, self.net)

    @property
    def _descent(self) -> optax.GradientTransformation:
        return optimizer(self.optimizer, self.net)

    @partial(jax.jit, static_argnums=0, donate_argnums=(2, 3, 4))
    def steps(
        self,
        problem,
        params,
        state,
        buffers,
        masks,
        depth,
        first_learned,
        key,
        first_step,
        rates,
        emphasis,
        count,
    ):
        """`count` steps (at most `chunk`) with learning rates `rates` (chunk, 5), each on a fresh batch.

        `emphasis` says how much more frequent hard samples are than they should be (`Problem.emphasized`).

        A batch is drawn from `key` and the number of its step, so it does not matter how steps are cut into calls.
        Returns params, state, buffers and the sum of the batches' NMSE (linear), which is finite if all steps were.
        """
        to_descent, from_descent = self._maps

        def step(i, carry):
            params, state, buffers, total = carry
            key_of_step = jax.random.fold_in(key, first_step + i)
            x, y, weights = problem.emphasized(key_of_step, self.batch, emphasis, self.most_emphasis)
            loss, gradient, buffers = over_devices(partial(loss_and_gradient, self.net))(
                problem, params, x, y, weights, depth, first_learned, buffers
            )
            # JAX's gradient of a complex leaf is that of steepest ascent, conjugated.
            gradient = to_descent(problem, params, jax.tree.map(jnp.conj, gradient), masks)
            directions, state = self._descent.update(gradient, state)
            steps = {
                name: rates[i, self.net.rate_index(name)] * direction
                for name, direction in cast(Parameters, directions).items()
            }
            params = jax.tree.map(jnp.subtract, params, from_descent(problem, params, steps, masks))
            params["theta"] = self.net.family.project(params["theta"])
            return params, state, buffers, total + loss / jnp.sum(power(x))

        with jax.default_matmul_precision(self.precision):
            return jax.lax.fori_loop(0, count, step, (params, state, buffers, jnp.float32(0)))

    @partial(jax.jit, static_argnums=0)
    def errors(self, problem, params, x, y, depth):
        """‖x̂_t - x‖² per layer and sample (layers, L), and ‖x‖² per sample (L,), over the reported coordinates."""
        with jax.default_matmul_precision(self.precision):
            return squared_errors(self.net, problem, params, x, y, depth), problem.squared_norm(x)


def engine_of(net: Network, settings: Settings, chunk: int) -> Engine:
    """The compiled programs that train `net` by these settings, `chunk` steps to a call."""
    training, schedule = settings.training, settings.training.schedule
    return Engine(
        net,
        training.batch_size,
        chunk,
        schedule.optimizers[-1],
        schedule.coordinates,
        settings.precision,
        schedule.most_emphasis,
    )
