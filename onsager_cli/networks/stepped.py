"""Networks whose linear stage takes a step of learned size along a filtered residual, r = x̂ + γ B (y - A x̂).

| symbol | name                                                                       |
|--------|----------------------------------------------------------------------------|
| B      | linear map of `networks.weights`, which learns or not, (N, M)              |
| γ      | step size of a layer, starts at 1                                          |
| β      | 1/(1.01 ‖A‖²), the step size of ISTA, in B where that starts as the transpose |
"""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import scaled
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk
from onsager_cli.networks.filtered import Filtered, FilterState
from onsager_cli.networks.weights import weight
from onsager_cli.problems.base import Problem

LEAST = 1e-3  # of γ, so that a logarithm can leave 0
SYMBOLS = {"B": "B", "gamma": "γ", "theta": "θ"}


@dataclass(frozen=True)
class Stepped(Filtered):
    """A network with B and γ. `learn` says which of B, gamma and theta learn; `ridge` is that of the analytic weight."""

    learn: tuple[str, ...] = field(default=("gamma", "theta"), kw_only=True)
    weight: str | None = field(default="analytic", kw_only=True)
    ridge: float = field(default=0.0, kw_only=True)

    rate_names: ClassVar = {"theta": "theta", "gamma": "theta", "b": "spectrum", "a": "rows"}
    symbols: ClassVar = SYMBOLS  # name in `learn` → how the names of stages show it

    @property
    def vectors(self) -> tuple[str, ...]:
        return ("gamma",)

    @property
    def new_leaves(self) -> str:
        return ", ".join(symbol for name, symbol in self.symbols.items() if name in self.learned & self.layered)

    def textbook(self, problem: Problem) -> Parameters:
        B = weight(problem, self.weight, self.ridge)
        if self.weight in (None, "transpose"):
            B = B / (1.01 * jnp.linalg.norm(problem.A, 2) ** 2)
        return {"B": B, **dict.fromkeys(self.vectors, jnp.ones((), problem.A.real.dtype))}

    def matrix(self, p: Parameters) -> Array:
        """B; a constant where it does not learn, so that no gradient of it is computed."""
        return p["B"] if "B" in self.learned else jax.lax.stop_gradient(p["B"])

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[FilterState, Inputs]:
        product = self.matrix(p) @ y
        state = FilterState(jnp.zeros_like(product), y)
        return state, self.linear(problem, p, state, y, context, product)

    def project(self, p: Parameters, state: FilterState) -> Array | None:
        """B v, (N, L)."""
        return self.matrix(p) @ state.v

    def linear(
        self,
        problem: Problem,
        p: Parameters,
        state: FilterState,
        y: Array,
        context: None,
        projected: Array | None = None,
    ) -> Inputs:
        product = self.matrix(p) @ state.v if projected is None else projected
        return Inputs(state.x_hat + scaled(product, p["gamma"]), self.beside(problem, p, state, y))

    def beside(self, problem: Problem, p: Parameters, state: FilterState, y: Array) -> Array | None:
        """What the shrinkage receives beside r; here nothing."""
        del problem, p, state, y
        return None

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: FilterState, y: Array) -> FilterState:
        return FilterState(shrunk.x_hat, y - problem.A @ shrunk.x_hat)

    # -- the coordinates of the optimizer: positive numbers by their logarithms

    def scales(self, params: Parameters) -> Parameters:
        """Leaf → the derivative of its entries by the coordinate that learns: themselves, for logarithms."""
        return {"gamma": jnp.maximum(params["gamma"], LEAST)}

    def to_coordinates(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: Parameters
    ) -> Parameters:
        """As those of `Filtered` where B learns; γ moves by its logarithm."""
        if "B" in self.learned:
            found = super().to_coordinates(problem, params, gradient, masks)
        else:
            found = Network.to_coordinates(self, problem, params, gradient, masks)
            found["theta"] = self.family.units(params["theta"]) * found["theta"]
        return found | {name: scale * found[name] for name, scale in self.scales(params).items()}

    def from_coordinates(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: Parameters
    ) -> Parameters:
        if "B" in self.learned:
            found = super().from_coordinates(problem, params, steps, masks)
        else:
            found = dict(Network.from_coordinates(self, problem, params, steps, masks))
            found["theta"] = self.family.units(params["theta"]) * found["theta"]
        return found | {name: scale * found[name] for name, scale in self.scales(params).items()}
