"""LAMP (eqs 30, 31), and AMP (eq 7) where nobody trains it.

| symbol | name                                        | equation |
|--------|---------------------------------------------|----------|
| B      | learned linear map, starts as Aᵀ, (N, M)    | (31a)    |
| v      | Onsager-corrected residual, (M, L)          | (31b)    |
| σ      | ‖v‖ / √M per sample, (1, L)                 | (31a)    |
| b      | Onsager coefficient, (N/M) ⟨η'⟩             | (31c)    |

A is the problem's matrix, which is an estimate where `problem.known_operator` is false. LAMP-l1 is LAMP with the scaled soft threshold, θ = (β, α).
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, words
from onsager_cli.kinds.records import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Look, NetworkKind
from onsager_cli.linalg import adjoint, power, scaled, total
from onsager_cli.networks.base import Inputs, Network, Parameters, State
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems import Problem


def rms(v: Array) -> Array:
    """‖v‖ / √M per sample, (1, L), with a floor of 1e-8 that keeps gradients finite at v = 0 (σ⁻⁴ in float32)."""
    return jnp.sqrt(jnp.maximum(total(power(v)) / v.shape[0], 1e-16))


@dataclass(frozen=True)
class Lamp(Network):
    """Learned AMP. `onsager=False` drops the correction: the ablation behind Section III. `learn` is of B, theta."""

    onsager: bool = True
    learn: tuple[str, ...] = ("B", "theta")

    matrices = ("B",)
    spectral = frozenset({"b"})
    rows = frozenset({"a"})

    def textbook(self, problem: Problem) -> Parameters:
        return {"B": adjoint(problem.A)}

    def first(self, problem: Problem, p: Parameters, y: Array, context: tuple) -> tuple[State, Inputs]:
        return (jnp.zeros_like(p["B"] @ y), y), (p["B"] @ y, rms(y))

    def linear(
        self, problem: Problem, p: Parameters, state: tuple[Array, Array], y: Array, context: tuple
    ) -> Inputs:
        x_hat, v = state
        return x_hat + p["B"] @ v, rms(v)

    def kept(self, state: State) -> Array:
        """v alone: x̂ is added to r, and no derivative needs it."""
        return state[1]

    def restored(self, kept: Array, inputs: Inputs) -> State:
        return jnp.full_like(inputs[0], jnp.nan), kept

    def correct(self, problem, p, x_hat, slope, inputs, state, y, context):
        v = y - problem.A @ x_hat
        if self.onsager:
            M, N = problem.A.shape
            v = v + scaled(state[1], (N / M) * slope)
        return x_hat, v

    @property
    def new_leaves(self) -> str:
        return super().new_leaves if "B" in self.learn else "θ"

    def count(self, params: Parameters, depth: int) -> int:
        return super().count({name: params[name] for name in self.learn}, depth)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        masks = super().learnable(params, first, last, shared)
        masks = {name: mask if name in self.learn else np.zeros_like(mask) for name, mask in masks.items()}
        # Where B learns, {μB, θ_scale/μ} is one network for every μ: fix β_0 (Section III-C).
        if self.family.scale is not None and "B" in self.learn:
            masks["theta"] = np.repeat(masks["theta"], params["theta"].shape[-1], axis=-1)
            masks["theta"][0, ..., self.family.scale] = 0
        return masks

    def to_descent(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        """Gradient with respect to (B, a, b, θ): diag(a) B and V diag(b) Uᵀ are added to B; of a scale in θ, its logarithm."""
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        gradient = super().to_descent(problem, params, gradient, masks)
        B, theta = gradient["B"], self.family.units(params["theta"]) * gradient["theta"]
        return {"B": B, "a": scales(B, params["B"]), "b": spectrum(B, V, U), "theta": theta}

    def from_descent(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        B = steps["B"] + steps["a"][..., None] * params["B"] + of_spectrum(steps["b"], V, U)
        return {"B": B, "theta": self.family.units(params["theta"]) * steps["theta"]}


KIND = NetworkKind(
    "lamp",
    of="Lamp",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "onsager": flag(),
        "theta_per": choice("group", "coordinate", "all"),
        "learn": words(),
    },
    learnable=("B", "theta"),
    untrained="amp",
    untrained_ignores=("learn",),
    marks={"onsager": {False: "no_onsager"}},
    looks={
        "lamp": {
            "soft": Look(ORANGE, "v", size=3.3, label="LAMP-$\\ell_1$"),
            "exp": Look(PURPLE, "<", size=5.6, label="LAMP-exp"),
            "pwlin": Look(GREEN, "^", size=4.2, label="LAMP-pwlin"),
            "spline": Look(SKY, "D", size=3.6, label="LAMP-spline"),
            "bg": Look(BLUE, "o", size=2.8, label="LAMP-BG"),
        },
        "amp": {
            "soft": Look(GREY, "x", label="AMP-$\\ell_1$"),
            "pwlin": Look(GREY, "1", size=5.0, label="AMP-pwlin"),
            "bg": Look(SKY, "2", size=5.0, label="AMP-BG"),
        },
    },
    diverges=True,
    evolution="amp",
    entries=lambda settings, M, N: N * M,
    fixed_entries=lambda settings, M, N: N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, (1 if settings.tied else T) * M * N),
)
