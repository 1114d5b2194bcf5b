"""LAMP (eqs 30, 31); untrained, it is AMP (eq 7).

| symbol | name                                        | equation |
|--------|---------------------------------------------|----------|
| B      | learned linear map, starts as Aᵀ, (N, M)    | (31a)    |
| v      | Onsager-corrected residual, (M, L)          | (31b)    |
| σ      | ‖v‖ / √M per sample, (1, L)                 | (31a)    |
| b      | Onsager coefficient, (N/M) ⟨η'⟩             | (31c)    |

A is the problem's matrix, an estimate where `problem.known_operator` is false. LAMP-l1 is LAMP with the scaled soft
threshold, θ = (β, α).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, optional, weight_or
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Look, NetworkKind
from onsager_cli.linalg import adjoint, power, scaled, total
from onsager_cli.networks import damping as damp
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "lamp",
    of="Lamp",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "onsager": flag(),
        "theta_per": choice("group", "coordinate", "all"),
        "learn": words(),
        "damping": optional(weight_or(damp.AUTO)),
        "free": optional(words(("sigma", "slope", "step", "onsager"))),
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
    advice="AMP assumes zero-mean i.i.d. entries of A: try network=vamp",
    evolution="amp",
    entries=lambda settings, M, N: N * M,
    fixed_entries=lambda settings, M, N: N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, (1 if settings.tied else T) * M * N),
)


FACTORS = ("sigma", "slope", "step", "onsager")


class LampState(NamedTuple):
    """The estimate x̂ (N, L) and the corrected residual v (M, L)."""

    x_hat: Array
    v: Array


def factor(p: Parameters, name: str, value: Array) -> Array:
    """A value times the free factor of this name in a layer's parameters; the value itself if there is none."""
    leaf = p.get(f"log_{name}")
    return value if leaf is None else jnp.exp(leaf).astype(value.real.dtype) * value


def rms(v: Array) -> Array:
    """‖v‖ / √M per sample, (1, L), with a floor of 1e-8 that keeps gradients finite at v = 0 (σ⁻⁴ in float32)."""
    return jnp.sqrt(jnp.maximum(total(power(v)) / v.shape[0], 1e-16))


@dataclass(frozen=True)
class Lamp(Network[LampState, None]):
    """Learned AMP. `onsager=False` drops the correction (ablation of Section III). `learn` names what learns: B, theta.

    `damping` is the weight of the x̂ and v that a layer hands on, against those that it received. `free` names factors of a
    layer that learn, too, as logarithms that start at 0: of σ, of η (slope), of B v (step), of the Onsager coefficient.
    """

    onsager: bool = True
    learn: tuple[str, ...] = ("B", "theta")
    damping: damp.Damping = None
    free: tuple[str, ...] | None = None

    matrices = ("B",)
    rate_names: ClassVar = {
        "theta": "theta", "b": "spectrum", "a": "rows", **dict.fromkeys(map("log_{}".format, FACTORS), "theta"),
    }  # fmt: skip

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the leaves of `free`."""
        return tuple(f"log_{name}" for name in self.free or ())

    @property
    def layered(self) -> frozenset[str]:
        return super().layered | set(self.factors)

    @property
    def free_of_prior(self) -> bool:
        return bool(self.free)

    def textbook(self, problem: Problem) -> Parameters:
        return {"B": adjoint(problem.A), **dict.fromkeys(self.factors, jnp.zeros((), problem.A.real.dtype))}

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[LampState, Inputs]:
        return LampState(jnp.zeros_like(p["B"] @ y), y), self._inputs(p, p["B"] @ y, y)

    def linear(self, problem: Problem, p: Parameters, state: LampState, y: Array, context: None) -> Inputs:
        added, sigma = self._inputs(p, p["B"] @ state.v, state.v)
        return Inputs(state.x_hat + added, sigma)

    def _inputs(self, p: Parameters, product: Array, v: Array) -> Inputs:
        """B v and σ, each with its free factor."""
        return Inputs(factor(p, "step", product), factor(p, "sigma", rms(v)))

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        x_hat, slope, _ = found = super().shrink(p, inputs, columns)
        return Shrunk(factor(p, "slope", x_hat), factor(p, "slope", slope), inputs) if self.free else found

    def kept(self, state: LampState) -> LampState:
        """v alone: x̂ is added to r, and no derivative needs its value, with damping or without."""
        return state._replace(x_hat=None)

    def restored(self, kept: LampState, inputs: Inputs) -> LampState:
        return kept._replace(x_hat=jnp.full_like(inputs.r, jnp.nan))

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: LampState, y: Array) -> LampState:
        v = y - problem.A @ shrunk.x_hat
        if self.onsager:
            M, N = problem.A.shape
            v = v + scaled(state.v, factor(p, "onsager", (N / M) * shrunk.slope))
        new = LampState(shrunk.x_hat, v)
        return damp.damped(new, state, self.damping) if isinstance(self.damping, float | int) else new

    @property
    def new_leaves(self) -> str:
        return super().new_leaves if "B" in self.learn else "θ"

    def count(self, params: Parameters, depth: int) -> int:
        return super().count({name: params[name] for name in (*self.learn, *self.factors)}, depth)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        masks = super().learnable(params, first, last, shared)
        learned = {*self.learn, *self.factors}
        masks = {name: mask if name in learned else np.zeros_like(mask) for name, mask in masks.items()}
        # Where B learns, {μB, θ_scale/μ} is the same network for every μ: fix β_0 (Section III-C).
        if self.family.scale is not None and "B" in self.learn:
            masks["theta"] = np.repeat(masks["theta"], params["theta"].shape[-1], axis=-1)
            masks["theta"][0, ..., self.family.scale] = 0
        return masks

    def to_coordinates(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: Parameters
    ) -> Parameters:
        """The gradient in (B, a, b, θ): diag(a) B + V diag(b) Uᵀ adds to B; a scale in θ moves by its logarithm."""
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        gradient = super().to_coordinates(problem, params, gradient, masks)
        B, theta = gradient["B"], self.family.units(params["theta"]) * gradient["theta"]
        free = {name: gradient[name] for name in self.factors}
        return {"B": B, "a": scales(B, params["B"]), "b": spectrum(B, V, U), "theta": theta, **free}

    def from_coordinates(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: Parameters
    ) -> Parameters:
        assert problem.singular_vectors is not None
        U, V = problem.singular_vectors
        B = steps["B"] + steps["a"][..., None] * params["B"] + of_spectrum(steps["b"], V, U)
        free = {name: steps[name] for name in self.factors}
        return {"B": B, "theta": self.family.units(params["theta"]) * steps["theta"], **free}
