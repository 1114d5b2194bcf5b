"""Run a network layer by layer: the one loop over layers that everything else uses.

A layer is three maps (Fig. 7 of the paper; Figs. 2 and 4 have fewer of them):

    linear   state            -> (r, σ)        the input of the shrinkage and the level of its error
    η        (r, σ)           -> (x̂, ⟨η'⟩)    the family's shrinkage
    correct  (x̂, ⟨η'⟩), ...  -> state         Onsager correction, or decoupling

The depth is a number that the program receives, not a shape: all depths share one executable. Layers count from 0.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.networks.base import Context, Inputs, Network, Parameters, Shrunk, State
from onsager_cli.problems.base import Problem

Carry = TypeVar("Carry")


class Layers(Generic[State, Context]):
    """A network with these parameters on the measurements y (M, L).

    With `repeated`, `params` are the parameters of one layer, and all layers have them.
    """

    def __init__(
        self, net: Network[State, Context], problem: Problem, params: Parameters, y: Array, *, repeated: bool = False
    ):
        self.net, self.problem, self.params, self.y, self.repeated = net, problem, params, y, repeated
        self.context = net.prepare(problem, params, y)

    def layer_params(self, t: Array | int) -> Parameters:
        """The parameters of layer t."""
        return self.params if self.repeated else self.net.layer(self.params, t)

    def first(self) -> tuple[State, Inputs]:
        """The state before layer 0, and the inputs of its shrinkage."""
        return self.net.first(self.problem, self.layer_params(0), self.y, self.context)

    def shrink(self, t: Array | int, inputs: Inputs) -> Shrunk:
        """The shrinkage of layer t."""
        return self.net.shrink(self.layer_params(t), inputs, self.problem.columns)

    def emit(self, t: Array | int, state: State, inputs: Inputs) -> tuple[Array, State, Inputs]:
        """x̂ (N, L) of layer t, the state after it, and the inputs of the shrinkage of layer t + 1."""
        net, problem, y, context = self.net, self.problem, self.y, self.context
        p = self.layer_params(t)
        shrunk = net.shrink(p, inputs, problem.columns)
        state = net.correct(problem, p, shrunk, state, y)
        return shrunk.x_hat, state, net.linear(problem, self.layer_params(t + 1), state, y, context)

    def advance(self, t: Array | int, state: State, inputs: Inputs) -> tuple[State, Inputs]:
        """The state after layer t, and the inputs of the shrinkage of layer t + 1."""
        return self.emit(t, state, inputs)[1:]

    def run(
        self, t: Array | int, visit: Callable[[Array | int, State, Inputs, Carry], Carry], carry: Carry
    ) -> tuple[Carry, State, Inputs]:
        """Run to layer t: `carry` after `visit(layer, state, inputs, carry)` of every layer before t, then layer t's.

        Returns the carry, the state before layer t, and the inputs of its shrinkage.
        """

        def body(layer: Array | int, reached: tuple[Carry, State, Inputs]) -> tuple[Carry, State, Inputs]:
            carry, state, inputs = reached
            carry = visit(layer, state, inputs, carry)
            return carry, *self.advance(layer, state, inputs)

        return jax.lax.fori_loop(0, t, body, (carry, *self.first()))

    def reach(self, t: Array | int) -> tuple[State, Inputs]:
        """The state before layer t, and the inputs of its shrinkage."""
        _, state, inputs = self.run(t, lambda *_: None, None)
        return state, inputs


def squared_errors(net: Network, problem: Problem, params: Parameters, x: Array, y: Array, depth: Array | int) -> Array:
    """‖x̂_t - x‖² of every sample after every layer, (layers, L), linear; zero in rows beyond `depth`.

    x is (N, L) and y (M, L). The norm is over the coordinates that the problem reports.
    """
    layers = Layers(net, problem, params, y)

    def visit(t: Array | int, state: object, inputs: Inputs, errors: Array) -> Array:
        del state
        return errors.at[t].set(problem.squared_norm(layers.shrink(t, inputs).x_hat - x))

    errors = jnp.zeros((net.depth_of(params), x.shape[1]), x.real.dtype)
    errors, state, inputs = layers.run(depth - 1, visit, errors)
    return visit(depth - 1, state, inputs, errors)


def trace(
    net: Network[State, Context], problem: Problem, params: Parameters, y: Array, depth: int, precision: str = "highest"
) -> list[tuple[State, Inputs]]:
    """The state and the inputs (r, σ) that each of `depth` layers receives, one pair per layer."""
    with jax.default_matmul_precision(precision):
        layers = Layers(net, problem, params, y)
        received = [layers.first()]
        for t in range(depth - 1):
            received.append(layers.advance(t, *received[-1]))
    return received


def estimate(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: Array | int, precision: str = "highest"
) -> Array:
    """x̂ after `depth` layers, (N, L), from y (M, L)."""
    with jax.default_matmul_precision(precision):
        layers = Layers(net, problem, params, y)
        _, inputs = layers.reach(depth - 1)
        return layers.shrink(depth - 1, inputs).x_hat


def estimate_in_users_units(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: Array | int, precision: str = "highest"
) -> Array:
    """x̂ after `depth` layers, (N, L), from y (M, L), both in the user's units."""
    if problem.frame is None:
        return estimate(net, problem, params, y, depth, precision)
    return problem.frame.leave(estimate(net, problem, params, problem.frame.seen(y), depth, precision))


def last_layer(
    net: Network, problem: Problem, params: Parameters, y: Array, depth: Array | int, precision: str = "highest"
) -> tuple[Array, Array, Array | None]:
    """x̂ after `depth` layers in the user's units, (N, L), and what the last shrinkage received for its coefficients.

    That is r / c (N, L) and σ / c, in the coordinates of the network, of y (M, L) in the user's units. σ is (1, L), or
    (N, L) where columns are balanced; None for a network without σ.
    """
    frame, c = problem.frame, problem.columns
    with jax.default_matmul_precision(precision):
        layers = Layers(net, problem, params, y if frame is None else frame.seen(y))
        _, (r, sigma) = layers.reach(depth - 1)
        x_hat = layers.shrink(depth - 1, Inputs(r, sigma)).x_hat
    if frame is not None:
        x_hat = frame.leave(x_hat)
    return (x_hat, r, sigma) if c is None else (x_hat, r / c, None if sigma is None else sigma / c)
