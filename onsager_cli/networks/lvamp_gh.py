"""LVAMP (Section V) with the unstructured linear stage of eq (41), for signals that are not i.i.d.

| symbol  | name                                                          | equation   |
|---------|---------------------------------------------------------------|------------|
| G, H    | learned linear stage, x̃ = G r̃ + H y: (N, N), (N, M)           | (41)       |
| r̃, σ̃²   | pseudo-prior: estimate and variance that enter the stage      | (22)       |
| ν̃       | its divergence, tr G / N, one number for all samples          | (18)       |
| c       | correction of the variance below, 1 at the start              | not in the paper |
| σ_w²    | noise variance                                                | (17)       |
| r, σ²   | decoupled shrinkage input and its variance                    | lines 6, 7 |

    r = (x̃ - ν̃ r̃) / (1 - ν̃),    σ² = c [(‖G‖_F²/N - ν̃²) σ̃² + σ_w² ‖H‖_F²/N] / (1 - ν̃)²

Line 7 of Algorithm 1, σ̃² ν̃ / (1 - ν̃), holds only where G is the LMMSE estimator for the σ̃² of that very sample.
The σ² above is exact for every G = I - H A, as long as r̃ - x is white.

An untrained layer is the LMMSE estimator for the mean of the σ̃² that reaches it: H = s Aᵀ (s A Aᵀ + σ_w² I)⁻¹,
G = I - H A, s = mean σ̃². A new layer starts there, not from a copy of the layer before it.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import NetworkKind
from onsager_cli.linalg import double, power
from onsager_cli.networks.base import Inputs, Parameters, single
from onsager_cli.networks.decoupling import SMALLEST, Decoupled, PseudoPrior, allowed
from onsager_cli.networks.layers import Layers
from onsager_cli.problems.base import Problem

KIND = NetworkKind(
    "lvamp_gh",
    of="LvampGH",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "theta_per": choice("group", "coordinate", "all"),
        "init": choice("svd", "least_squares", "random"),
        "learn": words(),
    },
    learnable=("G", "H", "c", "noise_variance", "theta"),
    whitens=False,
    family="lvamp",
    twin=False,  # each G, H is made for what reaches its layer: one pair for all is no rival
    layered=True,
    formula=lambda settings, k, T, M, N: (T * N * N, (1 if settings.tied else T) * N * N),
    form="gh",
)

# Name in `learn` → leaf.
LEAVES = {"G": "G", "H": "H", "c": "log_c", "noise_variance": "log_noise_variance", "theta": "theta"}


@dataclass(frozen=True)
class LvampGH(Decoupled):
    """Learned VAMP with free G and H."""

    learn: tuple[str, ...] = tuple(LEAVES)

    leaves = LEAVES
    matrices = ("G", "H")
    rate_names: ClassVar = {"theta": "theta", "log_c": "theta", "log_noise_variance": "theta"}

    @property
    def layered(self) -> frozenset[str]:
        return super().layered | {"log_c"}

    @property
    def new_leaves(self) -> str:
        """What a new layer learns, in the paper's symbols."""
        names = [("θ" if n == "theta" else n) for n in LEAVES if n in self.learn and n != "noise_variance"]
        return ", ".join(n for n in names if not (self.tied and n in self.matrices))

    def textbook(self, problem: Problem) -> Parameters:
        A, (x, y) = self.operator(problem), (double(a) for a in problem.selection)
        noise = np.mean(np.abs(y - A @ x) ** 2)  # what A does not explain, including errors of an estimated A
        G, H = lmmse(A, float(np.mean(np.sum(np.abs(y) ** 2, axis=0)) / A.shape[1]), float(noise))
        leaves = {"G": G, "H": H, "log_c": 0.0, "log_noise_variance": np.log(noise)}
        return {name: single(leaf, problem) for name, leaf in leaves.items()}

    def start(self, problem: Problem, depth: int) -> Parameters:
        """The untrained network: every layer is the LMMSE estimator for the mean σ̃² that reaches it."""
        params = super().start(problem, depth)
        for t in range(1, depth):
            params = self.grow(params, t, problem)
        return params

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """`params` with θ of layer t-1 in layer t, and G, H, c of layer t as in the untrained network."""
        grown = super().grow(params, t)
        if t == 0 or self.tied or problem is None:
            return grown
        reaching = float(_mean_variance(self, problem, params, problem.selection[1], t))
        G, H = lmmse(self.operator(problem), reaching, float(jnp.exp(params["log_noise_variance"])))
        new = {"G": G, "H": H, "log_c": 0.0}
        return {name: leaf.at[t].set(new[name]) if name in new else leaf for name, leaf in grown.items()}

    def linear(self, problem: Problem, p: Parameters, state: PseudoPrior, y: Array, context: Array | None) -> Inputs:
        r_tilde, variance = state.r_tilde, state.variance
        N = r_tilde.shape[0]
        nu = allowed(self.divergence(p, state), N)
        r = (p["G"] @ r_tilde + p["H"] @ y - nu * r_tilde) / (1 - nu)
        kept = jnp.maximum(jnp.sum(power(p["G"])) / N - jnp.square(nu), 0)
        noise = jnp.exp(p["log_noise_variance"]) * jnp.sum(power(p["H"])) / N
        sigma2 = jnp.exp(p["log_c"]) * (kept * variance + noise) / jnp.square(1 - nu)
        return Inputs(r, jnp.sqrt(jnp.maximum(sigma2, SMALLEST)))

    def divergence(self, p: Parameters, state: PseudoPrior) -> Array:
        """ν̃ of the linear stage before clipping, ()."""
        return jnp.trace(p["G"]).real / p["G"].shape[0]


def lmmse(A: np.ndarray, variance: float, noise_variance: float) -> tuple[np.ndarray, np.ndarray]:
    """G (N, N) and H (N, M) of the LMMSE estimate x̃ = G r̃ + H y for r̃ - x of this variance, linear; float64."""
    M, N = A.shape
    system = variance * (A @ A.conj().T) + noise_variance * np.eye(M)
    H = np.linalg.solve(system, variance * A).conj().T
    return np.eye(N) - H @ A, H


@partial(jax.jit, static_argnums=0)
def _mean_variance(net: LvampGH, problem: Problem, params: Parameters, y: Array, t: Array | int) -> Array:
    """Mean over the samples of the σ̃² that reaches layer t (0-based, at least 1), ()."""
    with jax.default_matmul_precision("highest"):
        state, _ = Layers(net, problem, params, y).reach(t)
        return jnp.mean(state.variance)
