"""LVAMP (Section V) with the SVD parameters of its linear stage, and VAMP (Algorithm 1) where nobody trains it.

| symbol  | name                                                          | equation       |
|---------|---------------------------------------------------------------|----------------|
| U, s, V | economy SVD of A at the start: (M, R), (R,), (N, R)           | (15), (17)     |
| σ_w²    | noise variance that the linear stage believes in              | (17)           |
| r̃, σ̃²   | pseudo-prior: estimate and variance that enter the linear stage | (22), lines 11, 12 |
| ν̃, ν    | divergences of the linear stage and of the shrinkage          | lines 5, 10    |
| ρ       | σ_w² / σ̃²                                                     | (16)           |
| d_i     | s_i² / (s_i² + ρ), what the LMMSE estimate takes from y       | (20)           |
| ζ       | 1 / (1 - ν̃) = N / Σ d_i ‖v_i‖²                                | lines 5, 6     |
| r, σ²   | decoupled shrinkage input and its variance                    | lines 6, 7     |

Eqs (16), (19), (20) as printed miss the part of r̃ outside A's row space. With it, the LMMSE estimate and its
divergence are x̃ = r̃ + V (g ⊙ Uᵀy - d ⊙ Vᵀr̃), g_i = s_i / (s_i² + ρ), and ν̃ = 1 - Σ d_i ‖v_i‖² / N, so that
lines 6 and 7 become

    r = r̃ + ζ V (g ⊙ Uᵀy - d ⊙ Vᵀr̃),    σ² = σ̃² (ζ - 1)

which holds for any V, orthonormal or learned. Variances and divergences are per sample, shape (1, L).

From a random start the first layer learns the map r = W y, and any factors of W do for it: U and V come out far from
singular vectors, s carries no spectrum, and deep layers, where ρ counts, cannot mend that any more. Hence the factors
are changed to the SVD of W before the second layer begins, which for samples of the mean energy is the same network of
one layer.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, words
from onsager_cli.kinds.records import BLACK, BLUE, GREY, ORANGE, PURPLE, YELLOW, Look, NetworkKind
from onsager_cli.linalg import adjoint, double, power, total
from onsager_cli.networks.base import Inputs, Parameters, single
from onsager_cli.networks.decoupling import SMALLEST, Decoupled, State, allowed, begin
from onsager_cli.problems import Problem

MARGIN = 16  # by which the ρ that `canonical` chooses is smaller than 1 / max g_i², about the smallest s_i²
RANK_TOLERANCE = 1e-6  # singular values below this share of the largest are float32's rounding of zero

# What `learn` may name, and the leaf it means.
LEAVES = {"U": "U", "s": "log_s", "V": "V", "noise_variance": "log_noise_variance", "theta": "theta"}
SYMBOLS = {"U": "U", "s": "s", "V": "V", "noise_variance": "σ_w²", "theta": "θ"}


def economy_svd(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U (M, R), s (R,), V (N, R) of A (M, N), computed in float64; R is the numerical rank."""
    U, s, Vt = np.linalg.svd(double(A), full_matrices=False)
    R = max(1, int(np.sum(s > RANK_TOLERANCE * s[0])))
    return U[:, :R], s[:R], Vt[:R].conj().T


def canonical(
    U: np.ndarray,
    log_s: np.ndarray,
    V: np.ndarray,
    log_noise_variance: np.ndarray,
    variance: float,
    samples: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float, float]:
    """Other U, log s, V, log σ_w² with the first layer r / α, where r = ζ V diag(g) Uᴴ y is that of these; α; their σ.

    σ̃² is `variance`, and σ is told as a multiple of what it becomes. U (M, R) and V (N, R) become the singular vectors
    of the map from y to r. Its singular values G fix s only together with ρ, ζ g_i = G_i; ρ is chosen a MARGIN below the
    smallest s_i². α is what r has of x in the `samples` (x, y), so that r / α is unbiased; 1 without them.
    """
    N, R = V.shape
    s, rho = np.exp(log_s), np.exp(log_noise_variance) / variance
    g = s / (s**2 + rho)
    before = 1 / (1 - np.clip(1 - np.sum(s * g * np.sum(np.abs(V) ** 2, axis=0)) / N, 0.5 / N, 1 - 0.5 / N))
    W, alpha = before * (V * g) @ U.conj().T, 1.0
    if samples is not None:
        x, y = samples
        alpha = float(np.sum(x.conj() * (W @ y)).real / np.sum(np.abs(x) ** 2))
    V, G, Uh = np.linalg.svd(W / alpha, full_matrices=False)
    V, G, U = V[:, :R], np.maximum(G[:R], RANK_TOLERANCE * G[0]), Uh[:R].conj().T
    zeta = N / R
    for _ in range(50):  # ζ follows from s, and s from ζ; the map contracts by a factor of ten and more
        g = G / zeta
        rho = 1 / (MARGIN * np.max(g) ** 2)
        s = (1 + np.sqrt(1 - 4 * rho * g**2)) / (2 * g)  # the larger root of g = s / (s² + ρ)
        zeta = N / np.sum(s * g)
    return (U, np.log(s), V, np.log(rho * variance)), alpha, float(np.sqrt((before - 1) / (zeta - 1)))


@dataclass(frozen=True)
class Lvamp(Decoupled):
    """Learned VAMP. Where `noise_start` is energy, σ_w² begins at the mean of ‖y‖²/M (Section V-B), else at the truth."""

    learn: tuple[str, ...] = tuple(LEAVES)
    noise_start: str = "energy"

    leaves = LEAVES
    spectral = frozenset({"log_s"})
    noise = frozenset({"log_noise_variance"})

    @property
    def matrices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The leaves of the linear stage that learn; the others are constants, stored once."""
        return tuple(LEAVES[name] for name in LEAVES if name in self.learn and name != "theta")

    @property
    def new_leaves(self) -> str:
        """What a new layer learns, in the paper's symbols."""
        return ", ".join(SYMBOLS[n] for n in LEAVES if n in self.learn and (n == "theta" or not self.tied))

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """Layer t starts from layer t-1; from a random start, layer 1 first gets the singular vectors of its map.

        And its scale, where the shrinkage can make up for any: layers to come have to agree on what x is.
        """
        if t == 1 and problem is not None and self.init == "random" and set(LEAVES) <= set(self.learn):
            p = {name: double(leaf) for name, leaf in self.layer(params, 0).items()}
            x, y = (double(samples) for samples in problem.selection)
            found, alpha, sigma = canonical(
                *(p[name] for name in self.matrices),
                variance=float(np.mean(begin(problem.selection[1], p["V"].shape[0])[1])),
                samples=(x, y) if self.family.slopes else None,
            )
            one = {name: single(leaf, problem) for name, leaf in zip(self.matrices, found, strict=True)}
            params = params | {n: params[n].at[0].set(a) if n in self.layered else a for n, a in one.items()}
            if self.family.slopes:
                theta = params["theta"]
                params["theta"] = theta.at[0].set(self.family.rescaled(theta[0], alpha, sigma))
        return super().grow(params, t)

    def textbook(self, problem: Problem) -> Parameters:
        U, s, V = economy_svd(self.operator(problem))
        energy = jnp.mean(power(problem.selection[1]))
        noise = problem.noise_variance if self.noise_start == "known" else energy
        leaves = {"U": U, "log_s": np.log(s), "V": V, "log_noise_variance": jnp.log(noise)}
        return {name: single(leaf, problem) for name, leaf in leaves.items()}

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Any:
        return () if "U" in self.layered else adjoint(params["U"]) @ y

    def project(self, p: Parameters, state: State) -> Array:
        """Vᵀr̃, (R, L)."""
        return adjoint(p["V"]) @ state[0]

    def linear(self, problem, p, state, y, context, projected: Array | None = None) -> Inputs:
        r_tilde, variance = state
        if projected is None:
            projected = self.project(p, state)
        z = adjoint(p["U"]) @ y if "U" in self.layered else context
        d, g, share = self.lmmse(p, variance)
        zeta = 1 / (1 - allowed(1 - share, r_tilde.shape[0]))
        r = r_tilde + p["V"] @ (zeta * (g * z - d * projected))  # lines 4 to 6
        return r, jnp.sqrt(jnp.maximum(variance * (zeta - 1), SMALLEST))  # line 7

    @staticmethod
    def lmmse(p: Parameters, variance: Array) -> tuple[Array, Array, Array]:
        """d and g, (R, L), and 1 - ν̃, (1, L), of the LMMSE stage; never through 1/s, which may be zero."""
        s = jnp.exp(p["log_s"])[:, None]
        rho = jnp.exp(p["log_noise_variance"]) / variance
        g = s / (jnp.square(s) + rho)
        d = s * g
        energy = total(power(p["V"]))  # ‖v_i‖², (1, R)
        return d, g, energy @ d / p["V"].shape[0]

    def divergence(self, p: Parameters, state: State) -> Array:
        """ν̃ of the linear stage as it is before clipping, (1, L)."""
        return 1 - self.lmmse(p, state[1])[2]


KIND = NetworkKind(
    "lvamp",
    of="Lvamp",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "theta_per": choice("group", "coordinate", "all"),
        "init": choice("svd", "least_squares", "random"),
        "noise_start": choice("energy", "known"),
        "learn": words(),
    },
    learnable=("U", "s", "V", "noise_variance", "theta"),
    untrained="vamp",
    looks={
        "lvamp": {
            "soft": Look(YELLOW, "X", label="LVAMP-$\\ell_1$"),
            "pwlin": Look(ORANGE, ">", size=5.0, label="LVAMP-pwlin"),
            "bg": Look(PURPLE, "h", size=2.8, label="LVAMP-BG"),
        },
        "vamp": {
            "soft": Look(BLUE, "o", label="VAMP-$\\ell_1$"),
            "bg": Look(GREY, "+", ":", size=2.7, label="VAMP-BG"),
        },
        "matched_vamp": {"bg": Look(BLACK, "+", ":", size=2.7, label="matched VAMP")},
    },
    diverges=True,
    evolution="vamp",
    numerics=7,
    entries=lambda settings, M, N: min(N, M) * (N + M),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, T * k),
    form="svd",
)
