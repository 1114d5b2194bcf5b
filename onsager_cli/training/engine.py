"""One stage of training, compiled once per network for all stages.

Depth, masks of frozen leaves, learning rates and number of steps enter the compiled program as numbers, so that all stages
of a plan share one executable. Frozen leaves have mask 0: their gradient and their update are exactly zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from onsager_cli.kinds.settings import Settings
from onsager_cli.networks.base import RATES, Network, Parameters
from onsager_cli.networks.gradient import Scratch, loss_and_gradient, scratch
from onsager_cli.networks.layers import squared_errors
from onsager_cli.problems.base import Problem

Coordinates = Callable[[Problem, Parameters, Parameters, Parameters], Parameters]
Loss = Callable[
    [Problem, Parameters, Array, Array, Array, Array | int, Array | int, Scratch], tuple[Array, Parameters, Scratch]
]


def optimizer(kind: str, net: Network) -> optax.GradientTransformation:
    """Direction of the update, before the learning rate: Adam, or for the matrices Adam or Muon (`kind`)."""
    adam = optax.scale_by_adam()
    if kind == "muon":
        axes = optax.contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
        matrices = optax.contrib.scale_by_muon(weight_dimension_numbers=lambda p: jax.tree.map(lambda _: axes, p))
    else:
        matrices = adam

    def labels(params: Parameters) -> dict[str, str]:
        return {name: "matrix" if net.rate_of(name) == "matrices" else "vector" for name in params}

    return optax.partition({"vector": adam, "matrix": matrices}, labels)


def over_devices(loss_and_gradient: Loss) -> Loss:
    """`loss_and_gradient` with the batch spread over all devices, if there are several and they divide the batch.

    Every device computes with its own samples. Devices exchange one sum of the loss and the gradient per step; the
    compiler alone would exchange sums in every layer.
    """

    def spread(
        problem: Problem,
        params: Parameters,
        x: Array,
        y: Array,
        weights: Array,
        depth: Array | int,
        first_learned: Array | int,
        buffers: Scratch,
    ) -> tuple[Array, Parameters, Scratch]:
        count = jax.device_count()
        if count == 1 or x.shape[-1] % count:
            return loss_and_gradient(problem, params, x, y, weights, depth, first_learned, buffers)

        def of_batch(leaf: Array) -> PartitionSpec:
            return PartitionSpec(*(None,) * (leaf.ndim - 1), "batch")

        def part(
            problem: Problem, params: Parameters, x: Array, y: Array, weights: Array, depth: Array | int,
            first_learned: Array | int, buffers: Scratch,
        ) -> tuple[Array, Parameters, Scratch]:  # fmt: skip
            loss, gradient, buffers = loss_and_gradient(problem, params, x, y, weights, depth, first_learned, buffers)
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


_begun: set[tuple[object, ...]] = set()


@dataclass(frozen=True)
class Engine:
    """The compiled programs for one network, problem size and batch.

    `chunk` is the largest number of steps per call, `coordinates` those of `Schedule`, `precision` that of matrix
    products. `most_emphasis` is the highest emphasis of a stage; None if no stage emphasizes hard samples.
    """

    net: Network
    batch: int
    chunk: int
    optimizer: str
    coordinates: str
    precision: str
    most_emphasis: float | None = None

    def with_optimizer(self, kind: str) -> "Engine":
        """The same with another optimizer of the matrices."""
        return replace(self, optimizer=kind)

    def is_new(self, problem: Problem, params: Parameters) -> bool:
        """Whether this process has not compiled the steps for such arrays yet; asked once, since they will be then."""
        shapes = (self, *(leaf.shape for leaf in jax.tree.leaves((problem, params))))
        new = shapes not in _begun
        _begun.add(shapes)
        return new

    @partial(jax.jit, static_argnums=0)
    def begin(self, problem: Problem, params: Parameters) -> tuple[optax.OptState, Scratch]:
        """Optimizer state and scratch for a stage that starts from `params`."""
        to_coordinates, _ = self._maps
        everything = {name: jnp.float32(1) for name in params}
        coordinates = to_coordinates(problem, params, params, everything)  # for their names and shapes
        return self._descent.init(coordinates), scratch(self.net, problem, params, self.batch)

    @property
    def _maps(self) -> tuple[Coordinates, Coordinates]:
        """From a gradient to the coordinates of the optimizer, and from its steps back."""
        if self.coordinates != "entries":
            plain = self.coordinates == "spectral_plain"
            net = replace(self.net, family=replace(self.net.family, logarithmic=False)) if plain else self.net
            return net.to_coordinates, net.from_coordinates
        return partial(Network.to_coordinates, self.net), partial(Network.from_coordinates, self.net)

    @property
    def _descent(self) -> optax.GradientTransformation:
        return optimizer(self.optimizer, self.net)

    @partial(jax.jit, static_argnums=0, donate_argnums=(2, 3, 4))
    def steps(
        self,
        problem: Problem,
        params: Parameters,
        state: optax.OptState,
        buffers: Scratch,
        masks: Parameters,
        depth: Array | int,
        first_learned: Array | int,
        key: Array,
        first_step: Array | int,
        rates: Mapping[str, Array],
        emphasis: Array | float,
        count: Array | int,
    ) -> tuple[Parameters, optax.OptState, Scratch, Array]:
        """Take `count` steps (at most `chunk`), each on a fresh batch.

        `rates` are learning rates by name, (chunk,) each. `emphasis` multiplies the odds of hard samples
        (`Problem.emphasized`). A batch depends on `key` and the number of its step alone, so that calls may cut the steps
        anywhere. Returns params, state, buffers and the sum of the batches' losses (finite if all steps were).
        """
        to_coordinates, from_coordinates = self._maps
        # One table: with an array per rate, XLA fuses differently, and the last bits of trained networks change.
        table = jnp.stack([rates[name] for name in RATES], axis=1)
        differentiate = over_devices(partial(loss_and_gradient, self.net))

        def step(
            i: Array, carry: tuple[Parameters, optax.OptState, Scratch, Array]
        ) -> tuple[Parameters, optax.OptState, Scratch, Array]:
            params, state, buffers, total = carry
            key_of_step = jax.random.fold_in(key, first_step + i)
            x, y, weights = problem.emphasized(key_of_step, self.batch, emphasis, self.most_emphasis)
            loss, gradient, buffers = differentiate(problem, params, x, y, weights, depth, first_learned, buffers)
            # JAX's gradient of a complex leaf is the conjugate of the direction of steepest ascent.
            gradient = to_coordinates(problem, params, jax.tree.map(jnp.conj, gradient), masks)
            directions, state = self._descent.update(gradient, state)
            steps = {
                name: table[i, RATES.index(self.net.rate_of(name))] * direction
                for name, direction in cast(Parameters, directions).items()
            }
            params = jax.tree.map(jnp.subtract, params, from_coordinates(problem, params, steps, masks))
            params["theta"] = self.net.family.project(params["theta"])
            return params, state, buffers, total + loss

        with jax.default_matmul_precision(self.precision):
            return jax.lax.fori_loop(0, count, step, (params, state, buffers, jnp.float32(0)))

    @partial(jax.jit, static_argnums=0)
    def errors(
        self, problem: Problem, params: Parameters, x: Array, y: Array, depth: Array | int
    ) -> tuple[Array, Array]:
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
