"""LAMP (eqs 30, 31); untrained, it is AMP (eq 7).

| symbol | name                                        | equation |
|--------|---------------------------------------------|----------|
| B      | learned linear map, starts as Aᵀ, (N, M); `weight` names another start | (31a) |
| v      | Onsager-corrected residual, (M, L)          | (31b)    |
| σ      | ‖v‖ / √M per sample, (1, L)                 | (31a)    |
| b      | Onsager coefficient, (N/M) ⟨η'⟩             | (31c)    |

A is the problem's matrix, an estimate where `problem.known_operator` is false. LAMP-l1 is LAMP with the scaled soft
threshold, θ = (β, α).
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, optional, weight_or
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Look, NetworkKind
from onsager_cli.linalg import power, scaled, total
from onsager_cli.networks import damping as damp
from onsager_cli.networks.base import Inputs, Parameters, Shrunk
from onsager_cli.networks.filtered import Filtered, FilterState
from onsager_cli.networks.weights import weight
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
        "weight": optional(choice("transpose", "analytic", "pinv", "lmmse")),
    },
    learnable=("B", "theta"),
    untrained="amp",
    untrained_ignores=("learn",),
    marks={"onsager": {False: "no_onsager"}, "weight": {"analytic": "analytic", "pinv": "pinv", "lmmse": "lmmse"}},
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


def factor(p: Parameters, name: str, value: Array) -> Array:
    """A value times the free factor of this name in a layer's parameters; the value itself if there is none."""
    leaf = p.get(f"log_{name}")
    return value if leaf is None else jnp.exp(leaf).astype(value.real.dtype) * value


def rms(v: Array) -> Array:
    """‖v‖ / √M per sample, (1, L), with a floor of 1e-8 that keeps gradients finite at v = 0 (σ⁻⁴ in float32)."""
    return jnp.sqrt(jnp.maximum(total(power(v)) / v.shape[0], 1e-16))


@dataclass(frozen=True)
class Lamp(Filtered):
    """Learned AMP. `onsager=False` drops the correction (ablation of Section III). `learn` names what learns: B, theta.

    `damping` is the weight of the x̂ and v that a layer hands on, against those that it received. `free` names factors of a
    layer that learn, too, as logarithms that start at 0: of σ, of η (slope), of B v (step), of the Onsager coefficient.
    """

    onsager: bool = True
    damping: damp.Damping = None
    free: tuple[str, ...] | None = None

    rate_names: ClassVar = {
        "theta": "theta", "b": "spectrum", "a": "rows", **dict.fromkeys(map("log_{}".format, FACTORS), "theta"),
    }  # fmt: skip

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the leaves of `free`."""
        return tuple(f"log_{name}" for name in self.free or ())

    @property
    def vectors(self) -> tuple[str, ...]:
        return self.factors

    @property
    def learned(self) -> set[str]:
        return {*self.learn, *self.factors}

    @property
    def free_of_prior(self) -> bool:
        return bool(self.free)

    def textbook(self, problem: Problem) -> Parameters:
        return {"B": weight(problem, self.weight), **dict.fromkeys(self.factors, jnp.zeros((), problem.A.real.dtype))}

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[FilterState, Inputs]:
        return FilterState(jnp.zeros_like(p["B"] @ y), y), self._inputs(p, p["B"] @ y, y)

    def linear(self, problem: Problem, p: Parameters, state: FilterState, y: Array, context: None) -> Inputs:
        added, sigma = self._inputs(p, p["B"] @ state.v, state.v)
        return Inputs(state.x_hat + added, sigma)

    def _inputs(self, p: Parameters, product: Array, v: Array) -> Inputs:
        """B v and σ, each with its free factor."""
        return Inputs(factor(p, "step", product), factor(p, "sigma", rms(v)))

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        x_hat, slope, _ = found = super().shrink(p, inputs, columns)
        return Shrunk(factor(p, "slope", x_hat), factor(p, "slope", slope), inputs) if self.free else found

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: FilterState, y: Array) -> FilterState:
        v = y - problem.A @ shrunk.x_hat
        if self.onsager:
            M, N = problem.A.shape
            v = v + scaled(state.v, factor(p, "onsager", (N / M) * shrunk.slope))
        new = FilterState(shrunk.x_hat, v)
        return damp.damped(new, state, self.damping) if isinstance(self.damping, float | int) else new
