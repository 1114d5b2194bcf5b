"""The loss of a network of any depth and its gradient, in one compiled program.

Autodiff cannot run a loop of unknown length backwards. Hence the forward pass keeps r, σ and what the derivatives need of
the state of every layer in a scratch buffer, and the backward pass applies `jax.vjp` to one layer at a time. XLA drops
what such a vjp does not need (the forward matrix products). The caller hands the scratch in and gets it back, so that a
loop over steps reuses the memory.
"""

from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import power
from onsager_cli.networks.base import Context, Inputs, Network, Parameters, State
from onsager_cli.problems.base import Problem

Tree = TypeVar("Tree")


class Scratch(NamedTuple, Generic[State]):
    """What the forward pass keeps of every layer, each with a leading axis of layers."""

    inputs: Inputs
    kept: State
    projected: Array | None


def scratch(net: Network[State, Context], problem: Problem, params: Parameters, batch: int) -> Scratch[State]:
    """Room for what `loss_and_gradient` keeps of a batch, filled with zeros."""

    def one_layer(params: Parameters, y: Array) -> Scratch[State]:
        context = net.prepare(problem, params, y)
        p = net.layer(params, 0)
        state, inputs = net.first(problem, p, y, context)
        return Scratch(inputs, net.kept(state), net.project(p, state))

    y = jax.ShapeDtypeStruct((problem.A.shape[0], batch), problem.A.dtype)
    layers = net.depth_of(params)
    return jax.tree.map(
        lambda a: jnp.zeros((layers, *a.shape), a.dtype), jax.eval_shape(one_layer, params, y)
    )


def _put(buffer: Tree, t: Array | int, value: Tree) -> Tree:
    return jax.tree.map(lambda b, v: jax.lax.dynamic_update_index_in_dim(b, v, t, 0), buffer, value)


def _take(buffer: Tree, t: Array | int) -> Tree:
    return jax.tree.map(lambda b: jax.lax.dynamic_index_in_dim(b, t, 0, keepdims=False), buffer)


def _add(a: Tree, b: Tree) -> Tree:
    return jax.tree.map(jnp.add, a, b)


def loss_and_gradient(
    net: Network[State, Context],
    problem: Problem,
    params: Parameters,
    x: Array,
    y: Array,
    weights: Array,
    depth: Array | int,
    first_learned: Array | int,
    scratch: Scratch[State],
) -> tuple[Array, Parameters, Scratch[State]]:
    """Loss Σ w ‖x̂_T - x‖² over the batch (eq 27) and its gradient, for T = `depth` layers.

    x (N, L), y (M, L), `weights` w (L,). The backward pass ends at layer `first_learned` (0-based); leaves of earlier
    layers get meaningless values that the caller masks. Returns the loss (), the gradient and the used scratch.
    """

    def advance(p: Parameters, inputs: Inputs, state: State, context: Context) -> State:
        return net.correct(problem, p, *net.shrink(p, inputs), inputs, state, y, context)

    def linear(p: Parameters, state: State, projected: Array | None, context: Context) -> Inputs:
        given = () if projected is None else (projected,)
        return net.linear(problem, p, state, y, context, *given)

    context, to_parameters = jax.vjp(lambda q: net.prepare(problem, q, y), params)
    (state, inputs), from_first = jax.vjp(
        lambda p, context: net.first(problem, p, y, context), net.layer(params, 0), context
    )
    # `from_first` has what the first layer projects.
    kept = _put(Scratch(*scratch[:2], None), 0, Scratch(inputs, net.kept(state), None))
    scratch = kept._replace(projected=scratch.projected)

    def forward(
        t: Array | int, carry: tuple[State, Inputs, Scratch[State]]
    ) -> tuple[State, Inputs, Scratch[State]]:
        state, inputs, scratch = carry
        state = advance(net.layer(params, t), inputs, state, context)
        p = net.layer(params, t + 1)
        projected = net.project(p, state)
        inputs = linear(p, state, projected, context)
        return state, inputs, _put(scratch, t + 1, Scratch(inputs, net.kept(state), projected))

    state, inputs, scratch = jax.lax.fori_loop(0, depth - 1, forward, (state, inputs, scratch))

    def collect(gradient: Parameters, t: Array | int, layer_gradient: Parameters) -> Parameters:
        return {
            name: total.at[t].add(layer_gradient[name])
            if name in net.layered
            else total + layer_gradient[name]
            for name, total in gradient.items()
        }

    def loss_of_last(p: Parameters, inputs: Inputs) -> Array:
        return jnp.sum(weights * power(net.shrink(p, inputs)[0] - x))

    loss, (of_last, to_inputs) = jax.value_and_grad(loss_of_last, (0, 1))(
        net.layer(params, depth - 1), inputs
    )
    gradient = collect(jax.tree.map(jnp.zeros_like, params), depth - 1, of_last)
    to_state = jax.tree.map(jnp.zeros_like, state)
    to_context = jax.tree.map(jnp.zeros_like, context)

    def backward(
        i: Array | int, carry: tuple[Parameters, Inputs, State, Context]
    ) -> tuple[Parameters, Inputs, State, Context]:
        gradient, to_inputs, to_state, to_context = carry
        t = depth - 1 - i
        p, (inputs, kept, projected) = net.layer(params, t), _take(scratch, t)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(linear, p, state, projected, context)
        layer_gradient, more_to_state, to_projected, more_to_context = pull(to_inputs)
        gradient = collect(gradient, t, layer_gradient)
        to_state, to_context = _add(to_state, more_to_state), _add(to_context, more_to_context)
        if projected is not None:
            _, pull = jax.vjp(net.project, p, state)
            layer_gradient, more_to_state = pull(to_projected)
            gradient, to_state = collect(gradient, t, layer_gradient), _add(to_state, more_to_state)

        inputs, kept, _ = _take(scratch, t - 1)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(advance, net.layer(params, t - 1), inputs, state, context)
        layer_gradient, to_inputs, to_state, more_to_context = pull(to_state)
        gradient = collect(gradient, t - 1, layer_gradient)
        return gradient, to_inputs, to_state, _add(to_context, more_to_context)

    steps = jnp.minimum(depth - 1, depth - first_learned)
    gradient, to_inputs, to_state, to_context = jax.lax.fori_loop(
        0, steps, backward, (gradient, to_inputs, to_state, to_context)
    )
    of_first, more_to_context = from_first((to_state, to_inputs))
    (of_prepare,) = to_parameters(_add(to_context, more_to_context))
    return loss, _add(collect(gradient, 0, of_first), of_prepare), scratch
