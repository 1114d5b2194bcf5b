"""FISTA (eq 6): ISTA with momentum. It has no trained form.

| symbol | name                                                        | equation |
|--------|-------------------------------------------------------------|----------|
| S, B   | I - β AᵀA and β Aᵀ: LISTA's leaves at their start           | (12)     |
| c      | momentum (t-2)/(t+1), t counts the estimate being made, from 1 | (6b)  |
| λβ     | threshold; eqs (4b), (6b) as printed have λ, and stall      | (4b)     |

The paper's variant takes the gradient at x̂ and adds the momentum (heavy ball); Beck and Teboulle (2009) take it at
the extrapolated point x̂ + c (x̂ - x̂_before).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.checks import choice, integer
from onsager_cli.kinds.records import GREEN, Look, NetworkKind
from onsager_cli.networks.base import Inputs, Parameters, Shrunk
from onsager_cli.networks.lista import Thresholding
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "fista",
    of="Fista",
    keys={"depth": integer(1, 10_000), "weight": choice("amp", "vamp"), "momentum": choice("paper", "beck_teboulle")},
    shrinkages=("soft", "threshold"),
    shrinkage_in_name=False,
    trains=False,
    lasso=True,
    looks={"fista": {"": Look(GREEN, "^", label="FISTA")}},
)


class FistaState(NamedTuple):
    """The estimate x̂ (N, L), the one before it (N, L), and the number of estimates made, ()."""

    x_hat: Array
    before: Array
    count: Array


@dataclass(frozen=True)
class Fista(Thresholding[FistaState]):
    """Fast ISTA; `momentum` is "paper" (eq 6) or "beck_teboulle"."""

    momentum: str = "paper"

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[FistaState, Inputs]:
        nothing = jnp.zeros_like(context)
        return FistaState(nothing, nothing, jnp.zeros((), nothing.dtype)), Inputs(context, None)

    def linear(self, problem: Problem, p: Parameters, state: FistaState, y: Array, context: Array) -> Inputs:
        x_hat, before, count = state
        t = count + 1
        push = jnp.maximum(t - 2, 0) / (t + 1) * (x_hat - before)
        if self.momentum == "beck_teboulle":
            return Inputs(p["S"] @ (x_hat + push) + context, None)
        return Inputs(p["S"] @ x_hat + context + push, None)

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: FistaState, y: Array) -> FistaState:
        return FistaState(shrunk.x_hat, state.x_hat, state.count + 1)
