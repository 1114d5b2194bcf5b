"""The loss of a network of any depth and its gradient, in one compiled program.

Autodiff cannot run a loop of unknown length backwards. Hence the forward pass keeps r, σ and what the derivatives need of
the state of every layer in a scratch buffer, and the backward pass applies `jax.vjp` to one layer at a time. XLA drops
what such a vjp does not need (the forward matrix products). The caller hands the scratch in and gets it back, so that a
loop over steps reuses the memory.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import power
from onsager_cli.networks.base import Context, Inputs, Network, Parameters, State
from onsager_cli.problems.base import Problem

Tree = TypeVar("Tree")
Cotangents = tuple[Parameters, Inputs, State, Context]  # the gradient so far, and of a layer's inputs, state, context


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
    return jax.tree.map(lambda a: jnp.zeros((layers, *a.shape), a.dtype), jax.eval_shape(one_layer, params, y))


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

    context, to_parameters = jax.vjp(lambda q: net.prepare(problem, q, y), params)
    (state, inputs), from_first = jax.vjp(
        lambda p, context: net.first(problem, p, y, context), net.layer(params, 0), context
    )
    # `from_first` has what the first layer projects.
    kept = _put(Scratch(*scratch[:2], None), 0, Scratch(inputs, net.kept(state), None))
    scratch = kept._replace(projected=scratch.projected)
    linear = _linear(net, problem, y)

    def forward(t: Array | int, carry: tuple[State, Inputs, Scratch[State]]) -> tuple[State, Inputs, Scratch[State]]:
        state, inputs, scratch = carry
        state = net.step(problem, net.layer(params, t), inputs, state, y)
        p = net.layer(params, t + 1)
        projected = net.project(p, state)
        inputs = linear(p, state, projected, context)
        return state, inputs, _put(scratch, t + 1, Scratch(inputs, net.kept(state), projected))

    state, inputs, scratch = jax.lax.fori_loop(0, depth - 1, forward, (state, inputs, scratch))

    def loss_of_last(p: Parameters, inputs: Inputs) -> Array:
        return jnp.sum(weights * power(net.shrink(p, inputs, problem.columns).x_hat - x))

    loss, (of_last, to_inputs) = jax.value_and_grad(loss_of_last, (0, 1))(net.layer(params, depth - 1), inputs)
    gradient = _collect(net, jax.tree.map(jnp.zeros_like, params), depth - 1, of_last)
    nothing = jax.tree.map(jnp.zeros_like, state), jax.tree.map(jnp.zeros_like, context)
    backward = _backward(net, problem, params, y, context, scratch)
    gradient, to_inputs, to_state, to_context = jax.lax.fori_loop(
        0,
        jnp.minimum(depth - 1, depth - first_learned),
        lambda i, cotangents: backward(depth - 1 - i, cotangents),
        (gradient, to_inputs, *nothing),
    )
    of_first, more_to_context = from_first((to_state, to_inputs))
    (of_prepare,) = to_parameters(_add(to_context, more_to_context))
    return loss, _add(_collect(net, gradient, 0, of_first), of_prepare), scratch


def _backward(
    net: Network[State, Context],
    problem: Problem,
    params: Parameters,
    y: Array,
    context: Context,
    scratch: Scratch[State],
) -> Callable[[Array | int, Cotangents[State, Context]], Cotangents[State, Context]]:
    """From the cotangents at the inputs of layer t to those of layer t - 1, with what the linear stage and η add."""
    linear = _linear(net, problem, y)

    def step(p: Parameters, inputs: Inputs, state: State) -> State:
        return net.step(problem, p, inputs, state, y)

    def backward(t: Array | int, carry: Cotangents[State, Context]) -> Cotangents[State, Context]:
        gradient, to_inputs, to_state, to_context = carry
        p, (inputs, kept, projected) = net.layer(params, t), _take(scratch, t)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(linear, p, state, projected, context)
        layer_gradient, more_to_state, to_projected, more_to_context = pull(to_inputs)
        gradient = _collect(net, gradient, t, layer_gradient)
        to_state, to_context = _add(to_state, more_to_state), _add(to_context, more_to_context)
        if projected is not None:
            _, pull = jax.vjp(net.project, p, state)
            layer_gradient, more_to_state = pull(to_projected)
            gradient, to_state = _collect(net, gradient, t, layer_gradient), _add(to_state, more_to_state)

        inputs, kept, _ = _take(scratch, t - 1)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(step, net.layer(params, t - 1), inputs, state)
        layer_gradient, to_inputs, to_state = pull(to_state)
        return _collect(net, gradient, t - 1, layer_gradient), to_inputs, to_state, to_context

    return backward


def _linear(
    net: Network[State, Context], problem: Problem, y: Array
) -> Callable[[Parameters, State, Array | None, Context], Inputs]:
    def linear(p: Parameters, state: State, projected: Array | None, context: Context) -> Inputs:
        given = () if projected is None else (projected,)
        return net.linear(problem, p, state, y, context, *given)

    return linear


def _collect(net: Network, gradient: Parameters, t: Array | int, layer_gradient: Parameters) -> Parameters:
    """The gradient with that of the leaves of layer t added."""
    return {
        name: total.at[t].add(layer_gradient[name]) if name in net.layered else total + layer_gradient[name]
        for name, total in gradient.items()
    }
