"""LISTA (eqs 12, 13), and ISTA (eq 4) where nobody trains it.

| symbol | name                                             | equation |
|--------|--------------------------------------------------|----------|
| B      | learned filter, starts as β Aᵀ, (N, M)           | (12)     |
| S      | learned mutual inhibition, starts as I - B A, (N, N) | (12) |
| λ      | threshold of a layer                             | (12)     |
| β      | step size, 1 / (1.01 ‖A‖²)                       | (4)      |

All layers share B, tied or not; `tied` is about S.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer
from onsager_cli.kinds.records import VERMILLION, Look, NetworkKind
from onsager_cli.linalg import adjoint, full_product
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk, State
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "lista",
    of="Lista",
    keys={"tied": flag(), "depth": integer(1, 10_000), "theta_per": choice("group", "coordinate", "all")},
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista",
    looks={"lista": {"": Look(VERMILLION, "s", size=3.0, label="LISTA")}},
    once_entries=lambda settings, M, N: N * M,  # B y is the same in all layers
    formula=lambda settings, k, T, M, N: (T * N * N, (1 if settings.tied else T) * N * N),
)
ISTA = NetworkKind(
    "ista",
    of="Lista",
    keys={"depth": integer(1, 10_000), "weight": choice("amp", "vamp")},
    shrinkages=("soft", "threshold"),
    shrinkage_in_name=False,
    trains=False,
    lasso=True,
    looks={"ista": {"": Look(VERMILLION, "s", label="ISTA")}},
)


class ListaState(NamedTuple):
    """The estimate x̂ (N, L)."""

    x_hat: Array


@dataclass(frozen=True)
class Thresholding(Network[State, Array]):
    """What LISTA and FISTA share: the leaves S and B, and B y once for all layers."""

    matrices = ("S",)

    def textbook(self, problem: Problem) -> Parameters:
        A = problem.A
        B = adjoint(A) / (1.01 * jnp.linalg.norm(A, 2) ** 2)
        return {"B": B, "S": jnp.eye(A.shape[1], dtype=A.dtype) - full_product(B, A)}

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Array:
        return params["B"] @ y


@dataclass(frozen=True)
class Lista(Thresholding[ListaState]):
    """Learned ISTA."""

    rate_names: ClassVar = {
        "theta": "theta", "b": "spectrum", "d": "spectrum", "d_0": "spectrum", "a": "rows", "e": "rows",
    }  # fmt: skip

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[ListaState, Inputs]:
        return ListaState(jnp.zeros_like(context)), Inputs(context, None)

    def linear(self, problem: Problem, p: Parameters, state: ListaState, y: Array, context: Array) -> Inputs:
        return Inputs(p["S"] @ state.x_hat + context, None)

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: ListaState, y: Array) -> ListaState:
        return ListaState(shrunk.x_hat)

    def to_coordinates(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: Parameters
    ) -> Parameters:
        """The gradient in (B, D, a, e, b, d, d_0, θ), where S = I - B A + D.

        B and S depend on each other: a better B needs the S that belongs to it. With D beside B, a step in B takes S
        along, as in the iteration r = x̂ + B (y - A x̂) that the network was unfolded from. a, e, b, d and d_0 are few
        coordinates of the same matrices: diag(a) B + V diag(b) Uᵀ adds to B, diag(e) + V diag(d) Vᵀ + d_0 I to D.
        """
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        to_S = gradient["S"]
        if not self.tied:
            # Written as a product: XLA's sum over the layers is ten times slower with two threads than with one.
            to_S = jnp.tensordot(jnp.broadcast_to(jnp.ravel(masks["S"]), len(to_S)), to_S, axes=1)
        gradient = {**gradient, "B": gradient["B"] - to_S @ adjoint(problem.A)}
        gradient = super().to_coordinates(problem, params, gradient, masks)
        B, D = gradient["B"], gradient["S"]
        diagonal = jnp.diagonal(D.real, axis1=-2, axis2=-1)
        return {
            **gradient, "a": scales(B, params["B"]), "e": diagonal, "b": spectrum(B, V, U), "d": spectrum(D, V, V),
            "d_0": jnp.sum(diagonal, axis=-1),
        }  # fmt: skip

    def from_coordinates(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: Parameters
    ) -> Parameters:
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        B = steps["B"] + steps["a"][..., None] * params["B"] + of_spectrum(steps["b"], V, U)
        diagonal = (steps["e"] + steps["d_0"][..., None])[..., None] * jnp.eye(len(V), dtype=V.dtype)
        D = steps["S"] + of_spectrum(steps["d"], V, V) + diagonal
        return {"B": B, "S": masks["S"] * (D - B @ problem.A), "theta": steps["theta"]}
