"""OAMP-Net and OAMP-Net2: the linear stage of VAMP with four numbers a layer, and the estimate itself fed back.

| symbol  | name                                                                | source    |
|---------|---------------------------------------------------------------------|-----------|
| U, s, V | economy SVD of A: (M, R), (R,), (N, R); fixed                       |           |
| v²      | variance of the error of x̂ per sample (`networks.residual`)          | [1] (24)  |
| d_i, g_i | s_i²/(s_i² + ρ) and s_i/(s_i² + ρ), ρ = σ_w²/v²                    | LVAMP     |
| c       | N / Σ d_i                                                           | [1] (13)  |
| γ, ϑ    | step along the LMMSE direction, and what τ² believes of it; start at 1 | [1]    |
| φ, ξ    | scale of the estimate that is fed back, and the share of r taken from it; start at 1, 0 | [2] |

    r = x̂ + γ c V (g ⊙ Uᴴ(y - A x̂)),    τ² = v² (1 - 2 ϑ + ϑ² c),    x̂⁺ = φ (η(r; τ) - ξ r)

η itself is the output. τ² is that of r for γ = ϑ. OAMP-Net has ξ = 0 and φ = 1 throughout: 2 K numbers; OAMP-Net2 has 4 K.
With φ = 1/(1 - ν) and ξ = ν, the divergence of η, OAMP-Net2 is OAMP, which is VAMP with v² from the residual. Knows σ_w²
and, in the shrinkage, the prior.

[1] He, Wen, Jin and Li, "A model-driven deep learning network for MIMO detection" (2018). [2] The same, "Model-driven
deep learning for MIMO detection" (2020).
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, integer
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import GREY, VERMILLION, Look, NetworkKind
from onsager_cli.linalg import adjoint, power, total
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk, single
from onsager_cli.networks.lvamp import economy_svd
from onsager_cli.networks.residual import error_variance, noise_variance
from onsager_cli.problems.base import Problem

NET = NetworkKind(
    "oamp_net",
    of="OampNet",
    keys={"depth": integer(1, 10_000), "theta_per": choice("group", "coordinate", "all"), "learn": words()},
    learnable=("gamma", "trust", "theta"),
    shrinkage_in_name=False,
    untrained="oamp_plain",
    untrained_ignores=("learn",),
    matrices=False,
    whitens=False,
    diverges=True,
    knows=lambda settings: "noise variance",
    advice="OAMP assumes the prior of its shrinkage and the noise variance of the problem",
    looks={
        "oamp_net": {"": Look(VERMILLION, "<", size=4.0, label="OAMP-Net")},
        "oamp_plain": {"": Look(GREY, "<", ":", size=4.0, label="OAMP-Net, untrained")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: min(M, N) * (2 * N + M),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 2 * T),
)
NET2 = NetworkKind(
    "oamp_net2",
    of="OampNet",
    keys={"depth": integer(1, 10_000), "theta_per": choice("group", "coordinate", "all"), "learn": words()},
    learnable=("gamma", "trust", "phi", "xi", "theta"),
    shrinkage_in_name=False,
    untrained="oamp_plain2",
    untrained_ignores=("learn",),
    matrices=False,
    whitens=False,
    diverges=True,
    knows=lambda settings: "noise variance",
    advice="OAMP assumes the prior of its shrinkage and the noise variance of the problem",
    looks={
        "oamp_net2": {"": Look(VERMILLION, ">", size=4.0, label="OAMP-Net2")},
        "oamp_plain2": {"": Look(GREY, ">", ":", size=4.0, label="OAMP-Net2, untrained")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: min(M, N) * (2 * N + M),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 4 * T),
)
STARTS = {"gamma": 1.0, "trust": 1.0, "phi": 1.0, "xi": 0.0}  # of the numbers of a layer
SYMBOLS = {"gamma": "γ", "trust": "ϑ", "phi": "φ", "xi": "ξ", "theta": "θ"}
CONSTANT = ("U", "s", "V")
SMALLEST = 1e-16  # floor of τ²


class OampState(NamedTuple):
    """What is fed back instead of the estimate x̂, (N, L)."""

    x_hat: Array


@dataclass(frozen=True)
class OampNet(Network[OampState, Array]):
    """Both networks; `learn` says which of gamma, trust (ϑ), phi, xi and theta learn."""

    learn: tuple[str, ...] = field(default=("gamma", "trust"), kw_only=True)
    noise_of_each: bool = False

    rate_names: ClassVar = {"theta": "theta", **dict.fromkeys((*STARTS, *CONSTANT), "theta")}

    @property
    def layered(self) -> frozenset[str]:
        return super().layered | set(STARTS)

    @property
    def new_leaves(self) -> str:
        return ", ".join(symbol for name, symbol in SYMBOLS.items() if name in self.learn)

    def count(self, params: Parameters, depth: int) -> int:
        return super().count({name: params[name] for name in self.learn}, depth)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        masks = super().learnable(params, first, last, shared)
        return {name: mask if name in self.learn else np.zeros_like(mask) for name, mask in masks.items()}

    def textbook(self, problem: Problem) -> Parameters:
        leaves = {**dict(zip(CONSTANT, economy_svd(np.asarray(problem.A)), strict=True)), **STARTS}
        return {name: single(leaf, problem) for name, leaf in leaves.items()}

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Array:
        """Uᴴ y, (R, L)."""
        return adjoint(jax.lax.stop_gradient(params["U"])) @ y

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array) -> tuple[OampState, Inputs]:
        state = OampState(jnp.zeros((problem.A.shape[1], y.shape[1]), y.dtype))
        return state, self.linear(problem, p, state, y, context, jnp.zeros_like(context))

    def project(self, p: Parameters, state: OampState) -> Array:
        """Vᴴ x̂, (R, L)."""
        return adjoint(jax.lax.stop_gradient(p["V"])) @ state.x_hat

    def linear(
        self,
        problem: Problem,
        p: Parameters,
        state: OampState,
        y: Array,
        context: Array,
        projected: Array | None = None,
    ) -> Inputs:
        x_hat, N = state.x_hat, state.x_hat.shape[0]
        inner = self.project(p, state) if projected is None else projected
        V, s = (jax.lax.stop_gradient(p[name]) for name in ("V", "s"))
        s = s[:, None]
        left = context - s * inner  # Uᴴ (y - A x̂)
        noise = noise_variance(problem, y, self.noise_of_each)
        outside = jnp.maximum(total(power(y)) - total(power(context)), 0)  # of A's range, whatever x̂ is
        v2 = error_variance(problem, total(power(left)) + outside, noise)
        g = s / (jnp.square(s) + noise / v2)
        c = N / jnp.sum(s * g, axis=0, keepdims=True)
        r = x_hat + V @ (p["gamma"] * c * g * left)
        tau2 = v2 * (1 - 2 * p["trust"] + jnp.square(p["trust"]) * c)
        return Inputs(r, jnp.sqrt(jnp.maximum(tau2, SMALLEST)))

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: OampState, y: Array) -> OampState:
        # With `columns`, both are c times a coefficient, so that the combination is.
        return OampState(p["phi"] * (shrunk.x_hat - p["xi"] * shrunk.inputs.r))

    def kept(self, state: OampState) -> OampState:
        """Nothing: x̂ is added to r, and the rest of a layer depends on Vᴴ x̂, which training keeps by itself."""
        return OampState(None)  # type: ignore[arg-type]

    def restored(self, kept: OampState, inputs: Inputs) -> OampState:
        return OampState(jnp.full_like(inputs.r, jnp.nan))
