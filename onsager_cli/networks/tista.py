"""TISTA: steps along A⁺, and the posterior mean at the level of error that the residual tells.

| symbol | name                                                                  |
|--------|-----------------------------------------------------------------------|
| B      | (N/R) A⁺, R the rank of A, so that the mean of diag(B A) is 1, (N, M) |
| γ      | step size of a layer, learned, starts at 1: N/R in units of A⁺        |
| v²     | variance of the error of x̂ per sample, max((‖y - A x̂‖² - M σ_w²)/‖A‖_F², 1e-9) |
| τ²     | variance of the error of r, (v² ‖I - γ B A‖_F² + γ² σ_w² ‖B‖_F²) / N   |

Knows σ_w² and, in the shrinkage, the prior. Untrained, it is OAMP with A⁺ without a divergence-free step. Ito, Takabe and
Wadayama, "Trainable ISTA for sparse signal recovery" (2019); published code starts at γ = 1 in units of A⁺ and lets v²
become negative. With samples that differ in σ_w², that of a sample is the share of its energy that the SNR leaves.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, integer
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import GREY, YELLOW, Look, NetworkKind
from onsager_cli.linalg import double, power, total
from onsager_cli.networks.base import Parameters, single
from onsager_cli.networks.filtered import FilterState
from onsager_cli.networks.residual import error_variance, noise_variance
from onsager_cli.networks.stepped import SYMBOLS, Stepped
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "tista",
    of="Tista",
    keys={"depth": integer(1, 10_000), "theta_per": choice("group", "coordinate", "all"), "learn": words()},
    learnable=("gamma", "theta"),
    shrinkage_in_name=False,
    untrained="oamp_pinv",
    untrained_ignores=("learn",),
    matrices=False,
    whitens=False,
    diverges=True,
    knows=lambda settings: "noise variance",
    advice="TISTA assumes the prior of its shrinkage and the noise variance of the problem",
    looks={
        "tista": {"": Look(YELLOW, "p", size=3.8, label="TISTA")},
        "oamp_pinv": {"": Look(GREY, "p", ":", size=3.8, label="TISTA, untrained")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, T * (1 + k * ("theta" in settings.learn))),
)


@dataclass(frozen=True)
class Tista(Stepped):
    """`learn` names gamma, and theta if the parameters of the prior learn, too."""

    learn: tuple[str, ...] = field(default=("gamma",), kw_only=True)
    weight: str | None = field(default="pinv", kw_only=True)
    noise_of_each: bool = False

    rate_names: ClassVar = {**Stepped.rate_names, "energy": "theta", "noise_gain": "theta"}
    symbols: ClassVar = {name: symbol for name, symbol in SYMBOLS.items() if name != "B"}

    def textbook(self, problem: Problem) -> Parameters:
        """Beside B and γ the constants ‖B A‖_F² / N (`energy`) and ‖B‖_F² / N (`noise_gain`)."""
        leaves = super().textbook(problem)
        B, A = double(leaves["B"]), double(problem.A)
        constants = {"energy": np.sum(np.abs(B @ A) ** 2) / len(B), "noise_gain": np.sum(np.abs(B) ** 2) / len(B)}
        return {**leaves, **{name: single(value, problem) for name, value in constants.items()}}

    def beside(self, problem: Problem, p: Parameters, state: FilterState, y: Array) -> Array:
        """τ, (1, L)."""
        gamma, noise = p["gamma"], noise_variance(problem, y, self.noise_of_each)
        v2 = error_variance(problem, total(power(state.v)), noise)
        energy, noise_gain = (jax.lax.stop_gradient(p[name]) for name in ("energy", "noise_gain"))
        # ‖I - γ B A‖_F² / N, with tr(B A) = N.
        spread = 1 - 2 * gamma + jnp.square(gamma) * energy
        return jnp.sqrt(v2 * spread + jnp.square(gamma) * noise_gain * noise)
