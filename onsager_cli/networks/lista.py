"""LISTA (eqs 12, 13), and ISTA (eq 4) where nobody trains it.

| symbol | name                                             | equation |
|--------|--------------------------------------------------|----------|
| B      | learned filter, starts as β Aᵀ, (N, M)           | (12)     |
| S      | learned mutual inhibition, starts as I - B A, (N, N) | (12) |
| λ      | threshold of a layer                             | (12)     |
| β      | step size, 1 / (1.01 ‖A‖²)                       | (4)      |

B is shared by all layers, tied or not; `tied` speaks of S.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from onsager_cli.fields import adjoint
from onsager_cli.networks.base import Inputs, Network, Parameters
from onsager_cli.problems import Problem


@dataclass(frozen=True)
class Lista(Network):
    """Learned ISTA."""

    matrices = ("S",)
    shared = ("B",)

    def textbook(self, problem: Problem) -> Parameters:
        A = problem.A
        B = adjoint(A) / (1.01 * jnp.linalg.norm(A, 2) ** 2)
        return {"B": B, "S": jnp.eye(A.shape[1], dtype=A.dtype) - B @ A}

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Array:
        return params["B"] @ y

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[Array, Inputs]:
        return jnp.zeros_like(context), (context, None)

    def linear(self, problem: Problem, p: Parameters, state: Array, y: Array, context: Array) -> Inputs:
        return p["S"] @ state + context, None

    def correct(self, problem, p, x_hat, slope, inputs, state, y, context):
        return x_hat

    def to_descent(self, problem: Problem, gradient: Parameters) -> Parameters:
        """Gradient with respect to (B, D), where S = I - B A + D.

        B and S are far from independent: a better B asks for the S that belongs to it. With D beside B, a step in
        B takes S along, as in the iteration r = x̂ + B (y - A x̂) that the network was unfolded from.
        """
        to_S = gradient["S"] if self.tied else jnp.sum(gradient["S"], axis=0)
        return {**gradient, "B": gradient["B"] - to_S @ adjoint(problem.A)}

    def from_descent(self, problem: Problem, updates: Parameters) -> Parameters:
        return {**updates, "S": updates["S"] - updates["B"] @ problem.A}
