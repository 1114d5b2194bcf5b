"""AGLISTA: ALISTA with gates that enlarge estimates before the linear stage and overshoot after the threshold.

| symbol | name                                                             |
|--------|------------------------------------------------------------------|
| κ      | gain of a coordinate before the linear stage, 1 + θ ν exp(-μ |x̂|) |
| ν, μ   | height and decay of the gain, start at 0.05 and 1                |
| x̃      | output of the threshold                                          |
| o      | overshoot 1 + a / (|x̃ - x̂| + ε), a starts at 0.01, ε = 0.01       |

    r = x̂ + γ B (y - A (κ ⊙ x̂)),    x̂⁺ = o x̃ + (1 - o) x̂

The gates of Wu, Guo, Li and Zhang, "Sparse coding with gated learned ISTA" (2020), as Behrens, Sauder and Jung (2021)
put them into ALISTA; Wu's own gates are other functions. B follows from A and does not learn. The gates learn at the rate
"noise" of a schedule, below that of θ: a large overshoot is good for the last layer and bad for those that follow. In the
first layer, the gain acts on x̂ = 0 and has no effect; published counts of 5 K + 1 numbers have a further factor of it.
|x̂| is in units in which active coefficients have power 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.checks import choice, integer, number
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import GREY, PURPLE, Look, NetworkKind
from onsager_cli.linalg import magnitude, scaled
from onsager_cli.networks.alista import Alista
from onsager_cli.networks.base import Inputs, Parameters, Shrunk
from onsager_cli.networks.filtered import FilterState
from onsager_cli.networks.stepped import SYMBOLS
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "aglista",
    of="Aglista",
    keys={
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
        "learn": words(),
    },
    learnable=("gamma", "theta", "nu", "mu", "overshoot"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_gated",
    untrained_ignores=("learn",),
    matrices=False,
    looks={
        "aglista": {"": Look(PURPLE, "P", size=3.8, label="AGLISTA")},
        "ista_gated": {"": Look(GREY, "P", ":", size=3.8, label="gated ISTA with W")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 5 * T),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
GATES = {"nu": 0.05, "mu": 1.0, "overshoot": 0.01}  # their starts
EPSILON = 0.01


@dataclass(frozen=True)
class Aglista(Alista):
    """ALISTA with gates; `learn` may also name nu, mu and overshoot."""

    rate_names: ClassVar = {**Alista.rate_names, **dict.fromkeys(GATES, "noise")}
    symbols: ClassVar = {**SYMBOLS, "nu": "ν", "mu": "μ", "overshoot": "a"}

    @property
    def vectors(self) -> tuple[str, ...]:
        return (*super().vectors, *GATES)

    def textbook(self, problem: Problem) -> Parameters:
        real = problem.A.real.dtype
        return {**super().textbook(problem), **{name: jnp.asarray(value, real) for name, value in GATES.items()}}

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """As in ALISTA; the gates of a new layer begin at their start, for those before it have learned to end well."""
        grown = super().grow(params, t, problem)
        return grown | {name: params[name].at[t].set(value) for name, value in GATES.items()} if t else grown

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[FilterState, Inputs]:
        product = self.matrix(p) @ y
        state = FilterState(jnp.zeros_like(product), None)  # type: ignore[arg-type]
        return state, Inputs(scaled(product, p["gamma"]), state.x_hat)

    def project(self, p: Parameters, state: FilterState) -> None:
        return None

    def linear(
        self,
        problem: Problem,
        p: Parameters,
        state: FilterState,
        y: Array,
        context: None,
        projected: Array | None = None,
    ) -> Inputs:
        x_hat = state.x_hat
        size = magnitude(x_hat) if jnp.iscomplexobj(x_hat) else jnp.abs(x_hat)
        gain = 1 + p["theta"][0] * p["nu"] * jnp.exp(-p["mu"] * size)
        v = y - problem.A @ (gain * x_hat)
        return Inputs(x_hat + scaled(self.matrix(p) @ v, p["gamma"]), x_hat)

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        x_tilde, slope, _ = super().shrink(p, inputs, columns)
        step = x_tilde - inputs.sigma
        # Of the unit in which |x̃ - x̂| is measured: with `columns`, a coordinate is c_n times a coefficient.
        size = magnitude(step) if jnp.iscomplexobj(step) else jnp.abs(step)
        size = size if columns is None else size / columns
        return Shrunk(x_tilde + p["overshoot"] * step / (size + EPSILON), slope, inputs)

    def kept(self, state: FilterState) -> FilterState:
        """x̂, whose value the gain needs; v is None throughout."""
        return state

    def restored(self, kept: FilterState, inputs: Inputs) -> FilterState:
        return kept

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: FilterState, y: Array) -> FilterState:
        return FilterState(shrunk.x_hat, state.v)
