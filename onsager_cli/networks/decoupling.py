"""Decoupling, the step that VAMP repeats after each of its two estimators (Algorithm 1, lines 5-7 and 10-12).

| symbol | name                                                       | equation      |
|--------|------------------------------------------------------------|---------------|
| r, σ²  | input of an estimator and the variance of its error        | (22), (24)    |
| x̂      | its estimate                                               | lines 4, 9    |
| ν      | its divergence, the mean of ∂x̂_n/∂r_n, per sample (1, L)   | lines 5, 10   |

    r⁺ = (x̂ - ν r) / (1 - ν),    σ⁺² = σ² ν / (1 - ν)

A finite sample may have a divergence of 0 or less, or of 1 and more. Clipping keeps it half a coordinate away from both;
`guards.guard_counts` counts how often.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import power, scaled, total
from onsager_cli.networks import damping as damp
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk
from onsager_cli.problems.base import Problem
from onsager_cli.problems.operator import at_start

START_KEY = 4  # folded into the seed for a start that is drawn; problems fold in 1 to 3, 5 and 7, the CNN 6
SMALLEST = 1e-16  # floor of a variance, whose square float32 can divide by: a sample y = 0 must not give NaN


class PseudoPrior(NamedTuple):
    """What the linear stage receives: r̃ (N, L) and the variance σ̃² of its error (1, L), linear.

    `noise` is an estimate of σ_w² of each sample (1, L), where samples differ in it; None where all have one.
    """

    r_tilde: Array
    variance: Array
    noise: Array | None = None


def allowed(divergence: Array, N: int) -> Array:
    """The divergence clipped to [ε, 1 - ε], ε = 0.5/N."""
    return jnp.clip(divergence, 0.5 / N, 1 - 0.5 / N)


def is_clipped(divergence: Array, N: int) -> Array:
    """Where `allowed` changes the divergence, bool of its shape; NaN counts as clipped."""
    return ~((divergence >= 0.5 / N) & (divergence <= 1 - 0.5 / N))


def decouple(x_hat: Array, divergence: Array, r: Array, variance: Array) -> PseudoPrior:
    """r⁺ (N, L) and σ⁺² (1, L) from x̂ (N, L), ν (1, L) before clipping, r (N, L) and σ² (1, L)."""
    nu = allowed(divergence, r.shape[0])
    decoupled = scaled(x_hat, 1 / (1 - nu)) - scaled(r, nu / (1 - nu))
    return PseudoPrior(decoupled, jnp.maximum(variance * nu / (1 - nu), SMALLEST))


def begin(y: Array, N: int) -> PseudoPrior:
    """r̃ = 0 and σ̃² = ‖y‖²/N per sample of y (M, L)."""
    energy = total(power(y))
    return PseudoPrior(jnp.zeros((N, y.shape[1]), y.dtype), jnp.maximum(energy / N, SMALLEST))


@dataclass(frozen=True)
class Decoupled(Network[PseudoPrior, Array | None]):
    """A network that alternates between two estimators, each decoupled from the other.

    `learn` names what learns (`leaves` maps the names to leaves); the rest stays at its start. `init` names the matrix
    of the start: svd, the problem's A; least_squares, its estimate; random, an independent matrix. `seed` feeds the
    start. Networks that differ in `init` and `seed` alone are equal, and share compiled programs. `damping` is the weight
    of what a layer hands on, against what it received (`networks.damping`).
    """

    learn: tuple[str, ...] = ()
    init: str = field(default="svd", compare=False)
    seed: int = field(default=0, compare=False)
    damping: damp.Damping = None

    leaves: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def divergence(self, p: Parameters, state: PseudoPrior) -> Array:
        """ν̃ of the linear stage before clipping; (1, L), or () if all samples have the same."""

    def operator(self, problem: Problem) -> np.ndarray:
        """The matrix (M, N) that `init` names, in double precision."""
        return at_start(problem, self.init, jax.random.fold_in(jax.random.key(self.seed), START_KEY))

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        learned = self._learned
        masks = super().learnable(params, first, last, shared)
        return {name: mask if name in learned else np.zeros_like(mask) for name, mask in masks.items()}

    def count(self, params: Parameters, depth: int) -> int:
        return super().count({name: leaf for name, leaf in params.items() if name in self._learned}, depth)

    @property
    def _learned(self) -> set[str]:
        """The leaves that learn."""
        return {self.leaves[name] for name in self.learn} | ({damp.LEAF} if self.damping == damp.LEARNED else set())

    def first(self, problem: Problem, p: Parameters, y: Array, context: Array | None) -> tuple[PseudoPrior, Inputs]:
        state = begin(y, problem.A.shape[1])
        return state, self.linear(problem, p, state, y, context)

    def noise_left(self, p: Parameters, state: PseudoPrior, y: Array) -> Array:
        """σ_w² of each sample (1, L), from what the linear stage leaves of y (M, L); here what it was."""
        del p, y
        assert state.noise is not None
        return state.noise

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: PseudoPrior, y: Array) -> PseudoPrior:
        new = decouple(shrunk.x_hat, shrunk.slope, shrunk.inputs.r, jnp.square(shrunk.inputs.sigma))
        if state.noise is not None:
            new = new._replace(noise=self.noise_left(p, state, y))
        if self.damping == damp.LEARNED:
            return damp.damped(new, state, damp.weight(p[damp.LEAF]))
        return damp.damped(new, state, self.damping) if isinstance(self.damping, float | int) else new
