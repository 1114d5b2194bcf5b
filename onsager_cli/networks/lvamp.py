"""LVAMP (Section V) with the SVD parameters of its linear stage; untrained, it is VAMP (Algorithm 1).

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

From a random start the first layer learns the map r = W y, and all factors of W serve it equally. U and V end far from
singular vectors, and s is no spectrum. Deep layers, where ρ matters, cannot repair that. Hence `grow` replaces the factors
by the SVD of W before the second layer begins. For samples of the mean energy, the network of one layer stays the same.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, optional, weight_or
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import BLACK, BLUE, GREY, ORANGE, PURPLE, YELLOW, Look, NetworkKind
from onsager_cli.linalg import adjoint, double, power, total
from onsager_cli.networks import damping as damp
from onsager_cli.networks.base import Inputs, Parameters, single
from onsager_cli.networks.decoupling import SMALLEST, Decoupled, PseudoPrior, allowed, begin
from onsager_cli.problems.base import Problem

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
        "damping": optional(weight_or(damp.AUTO, damp.LEARNED)),
        "canonical": optional(flag()),
    },
    learnable=("U", "s", "V", "noise_variance", "theta"),
    whitens=False,
    untrained="vamp",
    marks={"damping": {damp.LEARNED: "damped"}, "canonical": {False: "as_learned"}},
    looks={
        "lvamp": {
            "soft": Look(YELLOW, "X", label="LVAMP-$\\ell_1$"),
            "pwlin": Look(ORANGE, ">", size=5.0, label="LVAMP-pwlin"),
            "bg": Look(PURPLE, "*", size=4.8, label="LVAMP-BG"),
        },
        "vamp": {
            "soft": Look(BLUE, "o", label="VAMP-$\\ell_1$"),
            "bg": Look(GREY, "+", ":", size=2.7, label="VAMP-BG"),
        },
        "matched_vamp": {"bg": Look(BLACK, "+", ":", size=2.7, label="matched VAMP")},
    },
    diverges=True,
    advice="VAMP assumes random singular vectors of A, and the prior of its shrinkage: try network=em_vamp",
    knows=lambda settings: "noise variance" if settings.noise_start == "known" else "",
    evolution="vamp",
    numerics=7,
    entries=lambda settings, M, N: min(N, M) * (N + M),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, T * k),
    form="svd",
)

MARGIN = 16  # factor by which the ρ of `canonical` is below 1 / max g_i², about the smallest s_i²
STEPS = 4  # of EM per layer, for the σ_w² of each sample
QUIETEST = 1e-10  # lower bound of an estimate of σ_w² as a share of ‖y‖²/M: residuals in float32 resolve no less
RANK_TOLERANCE = 1e-6  # singular values below this share of the largest are rounding errors of float32

# Name in `learn` → leaf.
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
    """Replace U (M, R), log s (R,), V (N, R), log σ_w² by the SVD of the map from y to r = ζ V diag(g) Uᴴ y.

    `variance` is σ̃², linear. The new first layer gives r / α. α is the share of x in r over the `samples` (x, y), so
    that r / α is unbiased; without samples, α = 1. The singular values G_i = ζ g_i fix s only together with ρ: ρ is
    chosen a MARGIN below the smallest s_i².

    Returns the new (U, log s, V, log σ_w²), α, and the old σ as a multiple of the new one.
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
    """Learned VAMP. σ_w² starts at the mean of ‖y‖²/M if `noise_start` is "energy" (Section V-B), else at the truth.

    `canonical=False` keeps the factors of the first layer as they were learned (ablation).
    With `noise_of_each`, samples differ in σ_w², and a layer hands on an estimate for each, by steps of EM:
    (‖y - A x̃‖² + σ_w² Σ d_i) / M. The leaf of σ_w² is a factor of it, 1 at the start.
    """

    learn: tuple[str, ...] = tuple(LEAVES)
    noise_start: str = "energy"
    noise_of_each: bool = False
    canonical: bool | None = None

    leaves = LEAVES
    rate_names: ClassVar = {"theta": "theta", damp.LEAF: "theta", "log_s": "spectrum", "log_noise_variance": "noise"}

    @property
    def matrices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The leaves of the linear stage that learn; the other leaves are constants, stored once."""
        return tuple(LEAVES[name] for name in LEAVES if name in self.learn and name != "theta")

    @property
    def layered(self) -> frozenset[str]:
        return super().layered | ({damp.LEAF} if self.damping == damp.LEARNED else set())

    @property
    def new_leaves(self) -> str:
        """What a new layer learns, in the paper's symbols."""
        own = ["d"] if self.damping == damp.LEARNED else []
        return ", ".join([SYMBOLS[n] for n in LEAVES if n in self.learn and (n == "theta" or not self.tied)] + own)

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """`params` with a copy of layer t-1 in layer t; from a random start, layer 0 first becomes `canonical`.

        If the shrinkage can undo any scale of r, layer 0 is rescaled as well: later layers must agree on the scale of x.
        """
        if (
            t == 1
            and problem is not None
            and self.init == "random"
            and self.canonical is not False
            and set(LEAVES) <= set(self.learn)
        ):
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
        noise = jnp.ones_like(noise) if self.noise_of_each else noise
        leaves = {"U": U, "log_s": np.log(s), "V": V, "log_noise_variance": jnp.log(noise)}
        if self.damping == damp.LEARNED:
            leaves[damp.LEAF] = 0.0
        return {name: single(leaf, problem) for name, leaf in leaves.items()}

    def begin(self, problem: Problem, y: Array) -> PseudoPrior:
        """The state before layer 0, with the share of the noise in the energy of y (M, L) where samples differ in it."""
        state = begin(y, problem.A.shape[1])
        if not self.noise_of_each or problem.noise is None:
            return state
        share = problem.noise.mean / (1 + problem.noise.mean)
        return state._replace(noise=jnp.maximum(share * total(power(y)) / y.shape[0], SMALLEST))

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array | None) -> tuple[PseudoPrior, Inputs]:
        state = self.begin(problem, y)
        return state, self.linear(problem, p, state, y, context)

    def noise_left(self, p: Parameters, state: PseudoPrior, y: Array) -> Array:
        assert state.noise is not None
        z, inner, s = adjoint(p["U"]) @ y, self.project(p, state), jnp.exp(p["log_s"])[:, None]
        energy, noise = total(power(y)), state.noise
        outside = jnp.maximum(energy - total(power(z)), 0)  # of A's range, whatever x̃ is
        for _ in range(STEPS):
            d, g, _ = self.lmmse(p, relative(state._replace(noise=noise)))
            believed = jnp.exp(p["log_noise_variance"]) * noise
            left = total(power(z - s * (inner + g * z - d * inner))) + outside + believed * jnp.sum(d, axis=0)
            noise = jnp.maximum(left, QUIETEST * energy) / y.shape[0] + SMALLEST
        return noise

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Array | None:
        return None if "U" in self.layered else adjoint(params["U"]) @ y

    def project(self, p: Parameters, state: PseudoPrior) -> Array:
        """Vᵀr̃, (R, L)."""
        return adjoint(p["V"]) @ state.r_tilde

    def linear(
        self,
        problem: Problem,
        p: Parameters,
        state: PseudoPrior,
        y: Array,
        context: Array | None,
        projected: Array | None = None,
    ) -> Inputs:
        r_tilde, variance = state.r_tilde, state.variance
        if projected is None:
            projected = self.project(p, state)
        z = adjoint(p["U"]) @ y if context is None else context
        d, g, share = self.lmmse(p, relative(state))
        zeta = 1 / (1 - allowed(1 - share, r_tilde.shape[0]))
        r = r_tilde + p["V"] @ (zeta * (g * z - d * projected))  # lines 4 to 6
        return Inputs(r, jnp.sqrt(jnp.maximum(variance * (zeta - 1), SMALLEST)))  # line 7

    @staticmethod
    def lmmse(p: Parameters, variance: Array) -> tuple[Array, Array, Array]:
        """d and g, (R, L), and 1 - ν̃, (1, L), of the LMMSE stage; without 1/s, since s may be zero."""
        s = jnp.exp(p["log_s"])[:, None]
        rho = jnp.exp(p["log_noise_variance"]) / variance
        g = s / (jnp.square(s) + rho)
        d = s * g
        energy = total(power(p["V"]))  # ‖v_i‖², (1, R)
        return d, g, energy @ d / p["V"].shape[0]

    def divergence(self, p: Parameters, state: PseudoPrior) -> Array:
        """ν̃ of the linear stage before clipping, (1, L)."""
        return 1 - self.lmmse(p, relative(state))[2]


def relative(state: PseudoPrior) -> Array:
    """σ̃² (1, L), in units of σ_w² of each sample where samples differ in it: ρ depends on the quotient alone."""
    return state.variance if state.noise is None else state.variance / state.noise
