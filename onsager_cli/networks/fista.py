"""FISTA (eq 6): ISTA, which is LISTA that nobody trained, with momentum. It has no trained form.

| symbol | name                                                        | equation |
|--------|-------------------------------------------------------------|----------|
| S, B   | I - β AᵀA and β Aᵀ: LISTA's leaves at their start           | (12)     |
| c      | momentum (t-2)/(t+1), t counts the estimate being made, from 1 | (6b)  |
| λβ     | threshold; eqs (4b), (6b) as printed have λ, and stall      | (4b)     |

The paper's variant takes the gradient at x̂ and adds the momentum (heavy ball); Beck and Teboulle (2009) take it at
the extrapolated point x̂ + c (x̂ - x̂_before).
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds.checks import choice, integer
from onsager_cli.kinds.records import GREEN, Look, NetworkKind
from onsager_cli.networks.base import Inputs, Parameters
from onsager_cli.networks.lista import Lista
from onsager_cli.problems import Problem

State = tuple[Array, Array, Array]  # x̂, the one before it, and how many estimates there are


@dataclass(frozen=True)
class Fista(Lista):
    """Fast ISTA; `momentum` is paper (eq 6) or beck_teboulle."""

    momentum: str = "paper"

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[State, Inputs]:
        x_hat, inputs = super().first(problem, p, y, context)
        return (x_hat, x_hat, jnp.zeros((), x_hat.dtype)), inputs

    def linear(self, problem: Problem, p: Parameters, state: State, y: Array, context: Array) -> Inputs:
        x_hat, before, made = state
        t = made + 1
        push = jnp.maximum(t - 2, 0) / (t + 1) * (x_hat - before)
        if self.momentum == "beck_teboulle":
            return p["S"] @ (x_hat + push) + context, None
        return p["S"] @ x_hat + context + push, None

    def correct(self, problem, p, x_hat, slope, inputs, state, y, context):
        return x_hat, state[0], state[2] + 1


KIND = NetworkKind(
    "fista",
    of="Fista",
    keys={
        "depth": integer(1, 10_000),
        "weight": choice("amp", "vamp"),
        "momentum": choice("paper", "beck_teboulle"),
    },
    shrinkages=("soft", "threshold"),
    shrinkage_in_name=False,
    trains=False,
    lasso=True,
    looks={"fista": {"": Look(GREEN, "^", label="FISTA")}},
)
