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

from onsager_cli.kinds.checks import choice, flag, integer
from onsager_cli.kinds.records import VERMILLION, Look, NetworkKind
from onsager_cli.linalg import adjoint, full_product
from onsager_cli.networks.base import Inputs, Network, Parameters
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems import Problem


@dataclass(frozen=True)
class Lista(Network):
    """Learned ISTA."""

    matrices = ("S",)
    spectral = frozenset({"b", "d", "d_0"})
    rows = frozenset({"a", "e"})

    def textbook(self, problem: Problem) -> Parameters:
        A = problem.A
        B = adjoint(A) / (1.01 * jnp.linalg.norm(A, 2) ** 2)
        return {"B": B, "S": jnp.eye(A.shape[1], dtype=A.dtype) - full_product(B, A)}

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Array:
        return params["B"] @ y

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[Array, Inputs]:
        return jnp.zeros_like(context), (context, None)

    def linear(self, problem: Problem, p: Parameters, state: Array, y: Array, context: Array) -> Inputs:
        return p["S"] @ state + context, None

    def correct(self, problem, p, x_hat, slope, inputs, state, y, context):
        return x_hat

    def to_descent(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        """Gradient with respect to (B, D, a, e, b, d, d_0, θ), where S = I - B A + D.

        B and S are far from independent: a better B asks for the S that belongs to it. With D beside B, a step in
        B takes S along, as in the iteration r = x̂ + B (y - A x̂) that the network was unfolded from. a, e, b, d and
        d_0 are few coordinates of the same: diag(a) B + V diag(b) Uᵀ is added to B, diag(e) + V diag(d) Vᵀ + d_0 I to D.
        """
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        to_S = gradient["S"]
        if not self.tied:
            # A product: XLA's sum over the layers takes ten times as long with two threads as with one.
            to_S = jnp.tensordot(jnp.broadcast_to(jnp.ravel(masks["S"]), len(to_S)), to_S, axes=1)
        gradient = {**gradient, "B": gradient["B"] - to_S @ adjoint(problem.A)}
        gradient = super().to_descent(problem, params, gradient, masks)
        B, D = gradient["B"], gradient["S"]
        diagonal = jnp.diagonal(D.real, axis1=-2, axis2=-1)
        return {
            **gradient, "a": scales(B, params["B"]), "e": diagonal, "b": spectrum(B, V, U), "d": spectrum(D, V, V),
            "d_0": jnp.sum(diagonal, axis=-1),
        }  # fmt: skip

    def from_descent(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        B = steps["B"] + steps["a"][..., None] * params["B"] + of_spectrum(steps["b"], V, U)
        diagonal = (steps["e"] + steps["d_0"][..., None])[..., None] * jnp.eye(len(V), dtype=V.dtype)
        D = steps["S"] + of_spectrum(steps["d"], V, V) + diagonal
        return {"B": B, "S": masks["S"] * (D - B @ problem.A), "theta": steps["theta"]}


KIND = NetworkKind(
    "lista",
    of="Lista",
    keys={"tied": flag(), "depth": integer(1, 10_000), "theta_per": choice("group", "coordinate", "all")},
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista",
    looks={"lista": {"": Look(VERMILLION, "s", size=3.0, label="LISTA")}},
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
