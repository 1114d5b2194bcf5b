"""Run a network of any depth, and differentiate it, in one compiled program.

A layer is three maps (Fig. 7 of the paper; Figs. 2 and 4 have fewer of them):

    linear   state            -> (r, σ)        the input of the shrinkage and the level of its error
    η        (r, σ)           -> (x̂, ⟨η'⟩)    the family's shrinkage
    correct  (x̂, ⟨η'⟩), ...  -> state         Onsager correction, or decoupling

The depth is a number that the program receives, not a shape: all depths and all stages of a training plan share
one executable. Autodiff cannot run a loop of unknown length backwards, so `loss_and_gradient` keeps r, σ and what the
derivatives need of the state of every layer in a scratch buffer and applies `jax.vjp` to one layer at a time; XLA
drops what such a vjp does not need (the forward matrix products). The scratch is handed in and out, so a loop over
steps reuses it in place.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import power
from onsager_cli.networks.base import Inputs, Network, Parameters, State
from onsager_cli.problems import Problem

# (inputs, what is kept of the state, what the linear stage projects) of every layer: the pytree of one layer with a
# leading axis of layers.
Scratch = Any


def _layer_maps(net: Network, problem: Problem, y: Array):
    """The maps of a layer as functions of what is differentiated: parameters, inputs, state, context."""

    def shrink(p: Parameters, inputs: Inputs):
        r, sigma = inputs
        return net.family.eta(r, sigma, net.spread(p["theta"]))

    def advance(p: Parameters, inputs: Inputs, state: State, context):
        x_hat, slope = shrink(p, inputs)
        return net.correct(problem, p, x_hat, slope, inputs, state, y, context)

    def linear(p: Parameters, state: State, context):
        return net.linear(problem, p, state, y, context)

    return shrink, advance, linear


def squared_errors(
    net: Network, problem: Problem, params: Parameters, x: Array, y: Array, depth: Array | int
) -> Array:
    """‖x̂_t - x‖² of every sample after every layer, shape (layers, L); zero in rows beyond `depth`.

    Over the coordinates that the problem reports.
    """
    shrink, advance, linear = _layer_maps(net, problem, y)
    context = net.prepare(problem, params, y)
    state, inputs = net.first(problem, net.layer(params, 0), y, context)

    def error(t, inputs):
        return problem.squared_norm(shrink(net.layer(params, t), inputs)[0] - x)

    def body(t, carry):
        errors, state, inputs = carry
        errors = errors.at[t].set(error(t, inputs))
        state = advance(net.layer(params, t), inputs, state, context)
        return errors, state, linear(net.layer(params, t + 1), state, context)

    errors = jnp.zeros((net.depth_of(params), x.shape[1]), x.real.dtype)
    errors, state, inputs = jax.lax.fori_loop(0, depth - 1, body, (errors, state, inputs))
    return errors.at[depth - 1].set(error(depth - 1, inputs))


def trace(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: int, precision: str = "highest"
) -> list[tuple[State, Inputs]]:
    """What the linear stage and the shrinkage of each layer receive: (state, (r, σ)), one entry per layer."""
    with jax.default_matmul_precision(precision):
        _, advance, linear = _layer_maps(net, problem, y)
        context = net.prepare(problem, params, y)
        seen = [net.first(problem, net.layer(params, 0), y, context)]
        for t in range(depth - 1):
            state, inputs = seen[-1]
            state = advance(net.layer(params, t), inputs, state, context)
            seen.append((state, linear(net.layer(params, t + 1), state, context)))
    return seen


def estimate(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: int, precision: str = "highest"
) -> Array:
    """x̂ after `depth` layers, (N, L)."""
    with jax.default_matmul_precision(precision):
        shrink, advance, linear = _layer_maps(net, problem, y)
        context = net.prepare(problem, params, y)

        def body(t, at):
            state, inputs = at
            state = advance(net.layer(params, t), inputs, state, context)
            return state, linear(net.layer(params, t + 1), state, context)

        at = net.first(problem, net.layer(params, 0), y, context)
        _, inputs = jax.lax.fori_loop(0, depth - 1, body, at)
        return shrink(net.layer(params, depth - 1), inputs)[0]


def scratch(net: Network, problem: Problem, params: Parameters, batch: int) -> Scratch:
    """Room for what `loss_and_gradient` keeps of a batch."""

    def one_layer(params, y):
        context = net.prepare(problem, params, y)
        p = net.layer(params, 0)
        state, inputs = net.first(problem, p, y, context)
        return inputs, net.kept(state), net.project(p, state)

    y = jax.ShapeDtypeStruct((problem.A.shape[0], batch), problem.A.dtype)
    layers = net.depth_of(params)
    return jax.tree.map(
        lambda a: jnp.zeros((layers, *a.shape), a.dtype), jax.eval_shape(one_layer, params, y)
    )


def _put(buffer, t, value):
    return jax.tree.map(lambda b, v: jax.lax.dynamic_update_index_in_dim(b, v, t, 0), buffer, value)


def _take(buffer, t):
    return jax.tree.map(lambda b: jax.lax.dynamic_index_in_dim(b, t, 0, keepdims=False), buffer)


def _add(a, b):
    return jax.tree.map(jnp.add, a, b)


def loss_and_gradient(
    net: Network,
    problem: Problem,
    params: Parameters,
    x: Array,
    y: Array,
    weights: Array,
    depth: Array | int,
    first_learned: Array | int,
    scratch: Scratch,
) -> tuple[Array, Parameters, Scratch]:
    """Loss Σ w ‖x̂_T - x‖² over the batch (eq 27, `weights` w (L,)) and its gradient, for T = `depth` layers.

    The backward pass ends at layer `first_learned` (0-based); leaves of earlier layers get meaningless values that
    the caller masks.
    """
    shrink, advance, _ = _layer_maps(net, problem, y)

    def linear(p: Parameters, state: State, projected, context):
        given = () if projected is None else (projected,)
        return net.linear(problem, p, state, y, context, *given)

    context, to_parameters = jax.vjp(lambda q: net.prepare(problem, q, y), params)
    (state, inputs), from_first = jax.vjp(
        lambda p, context: net.first(problem, p, y, context), net.layer(params, 0), context
    )
    # `from_first` has what the first layer projects.
    scratch = (*_put(scratch[:-1], 0, (inputs, net.kept(state))), scratch[-1])

    def forward(t, carry):
        state, inputs, scratch = carry
        state = advance(net.layer(params, t), inputs, state, context)
        p = net.layer(params, t + 1)
        projected = net.project(p, state)
        inputs = linear(p, state, projected, context)
        return state, inputs, _put(scratch, t + 1, (inputs, net.kept(state), projected))

    state, inputs, scratch = jax.lax.fori_loop(0, depth - 1, forward, (state, inputs, scratch))

    def collect(gradient, t, of_layer):
        return {
            name: total.at[t].add(of_layer[name]) if name in net.layered else total + of_layer[name]
            for name, total in gradient.items()
        }

    def loss_of_last(p, inputs):
        return jnp.sum(weights * power(shrink(p, inputs)[0] - x))

    loss, (of_last, to_inputs) = jax.value_and_grad(loss_of_last, (0, 1))(
        net.layer(params, depth - 1), inputs
    )
    gradient = collect(jax.tree.map(jnp.zeros_like, params), depth - 1, of_last)
    to_state = jax.tree.map(jnp.zeros_like, state)
    to_context = jax.tree.map(jnp.zeros_like, context)

    def backward(i, carry):
        gradient, to_inputs, to_state, to_context = carry
        t = depth - 1 - i
        p, (inputs, kept, projected) = net.layer(params, t), _take(scratch, t)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(linear, p, state, projected, context)
        of_layer, more_to_state, to_projected, more_to_context = pull(to_inputs)
        gradient = collect(gradient, t, of_layer)
        to_state, to_context = _add(to_state, more_to_state), _add(to_context, more_to_context)
        if projected is not None:
            _, pull = jax.vjp(net.project, p, state)
            of_layer, more_to_state = pull(to_projected)
            gradient, to_state = collect(gradient, t, of_layer), _add(to_state, more_to_state)

        inputs, kept, _ = _take(scratch, t - 1)
        state = net.restored(kept, inputs)
        _, pull = jax.vjp(advance, net.layer(params, t - 1), inputs, state, context)
        of_layer, to_inputs, to_state, more_to_context = pull(to_state)
        gradient = collect(gradient, t - 1, of_layer)
        return gradient, to_inputs, to_state, _add(to_context, more_to_context)

    steps = jnp.minimum(depth - 1, depth - first_learned)
    gradient, to_inputs, to_state, to_context = jax.lax.fori_loop(
        0, steps, backward, (gradient, to_inputs, to_state, to_context)
    )
    of_first, more_to_context = from_first((to_state, to_inputs))
    (of_prepare,) = to_parameters(_add(to_context, more_to_context))
    return loss, _add(collect(gradient, 0, of_first), of_prepare), scratch
