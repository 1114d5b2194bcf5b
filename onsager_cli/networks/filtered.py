"""What networks around a learned filter share: r = x̂ + B v with a matrix B, and few numbers beside it in each layer.

| symbol | name                                                              |
|--------|-------------------------------------------------------------------|
| x̂      | estimate, (N, L)                                                  |
| v      | residual y - A x̂, perhaps corrected, (M, L)                       |
| B      | linear map, learned or fixed, (N, M)                              |
| a, b   | scales of B's rows, and coordinates of its singular directions (`spectral`) |
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.networks.base import Inputs, Network, Parameters
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems.base import Problem


class FilterState(NamedTuple):
    """The estimate x̂ (N, L) and the residual v (M, L)."""

    x_hat: Array
    v: Array


@dataclass(frozen=True)
class Filtered(Network[FilterState, None]):
    """A network with a matrix B. `learn` names what learns; the rest stays at its start.

    `weight` names the B of the start (`networks.weights`); None: transpose.
    """

    learn: tuple[str, ...] = field(default=("B", "theta"), kw_only=True)
    weight: str | None = field(default=None, kw_only=True)

    matrices = ("B",)

    @property
    def learned(self) -> set[str]:
        """The leaves that learn."""
        return set(self.learn)

    @property
    @abstractmethod
    def vectors(self) -> tuple[str, ...]:
        """Names of the leaves beside θ that every layer has for itself."""

    @property
    def layered(self) -> frozenset[str]:
        return super().layered | set(self.vectors)

    def kept(self, state: FilterState) -> FilterState:
        """v alone: x̂ is added to r, and no derivative needs its value, with damping or without."""
        return state._replace(x_hat=None)

    def restored(self, kept: FilterState, inputs: Inputs) -> FilterState:
        return kept._replace(x_hat=jnp.full_like(inputs.r, jnp.nan))

    @property
    def new_leaves(self) -> str:
        return super().new_leaves if "B" in self.learn else "θ"

    def count(self, params: Parameters, depth: int) -> int:
        return super().count({name: leaf for name, leaf in params.items() if name in self.learned}, depth)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        masks = super().learnable(params, first, last, shared)
        masks = {name: mask if name in self.learned else np.zeros_like(mask) for name, mask in masks.items()}
        # Where B learns, {μB, θ_scale/μ} is the same network for every μ: fix β_0 (Section III-C).
        if self.family.scale is not None and "B" in self.learn:
            masks["theta"] = np.repeat(masks["theta"], params["theta"].shape[-1], axis=-1)
            masks["theta"][0, ..., self.family.scale] = 0
        return masks

    def to_coordinates(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: Parameters
    ) -> Parameters:
        """The gradient in (B, a, b, θ, …): diag(a) B + V diag(b) Uᵀ adds to B; a scale in θ moves by its logarithm."""
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        gradient = super().to_coordinates(problem, params, gradient, masks)
        B, theta = gradient["B"], self.family.units(params["theta"]) * gradient["theta"]
        others = {name: gradient[name] for name in params if name not in ("B", "theta")}
        return {"B": B, "a": scales(B, params["B"]), "b": spectrum(B, V, U), "theta": theta, **others}

    def from_coordinates(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: Parameters
    ) -> Parameters:
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        B = steps["B"] + steps["a"][..., None] * params["B"] + of_spectrum(steps["b"], V, U)
        others = {name: steps[name] for name in params if name not in ("B", "theta")}
        return {"B": B, "theta": self.family.units(params["theta"]) * steps["theta"], **others}
