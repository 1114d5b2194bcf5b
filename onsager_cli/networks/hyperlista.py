"""HyperLISTA: ALISTA whose thresholds, momentum and support selection follow from three numbers and the residual.

| symbol      | name                                                                  |
|-------------|-----------------------------------------------------------------------|
| B           | analytic weight Wᴴ of `networks.weights`, (N, M)                      |
| e_t         | ‖A⁺(y - A x̂_t)‖_1 of a sample; A⁺ = diag(d) B, so that one product serves both |
| c_1         | threshold over the mean of |A⁺(y - A x̂)|                              |
| c_2         | momentum over the share of coordinates that are not zero             |
| c_3         | share of coordinates that may pass, per factor e (2.718…) of the residual |

    θ_t = c_1 e_t / N,    β_t = c_2 ‖x̂_t‖_0 / N,    p_t = N c_3 log(e_0 / e_t), within 0 and N
    r = x̂ + B (y - A x̂) + β_t (x̂_t - x̂_{t-1})

and the p_t largest |r| pass unshrunk (`networks.selection`). Chen, Liu, Wang and Yin, "Hyperparameter tuning is all you
need for LISTA" (2021); its c_1 and c_2 also hold the coherence of W, and ours do not depend on N. p_t has no derivative,
so that `training=search` finds the three numbers. Per sample; complex numbers count by |·|.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import integer
from onsager_cli.kinds.records import BLACK, GREY, Look, NetworkKind
from onsager_cli.linalg import double, magnitude, total
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk, Theta, single
from onsager_cli.networks.selection import selected
from onsager_cli.networks.weights import weight
from onsager_cli.problems.base import Problem
from onsager_cli.shrinkage.family import Family
from onsager_cli.shrinkage.piecewise import threshold

KIND = NetworkKind(
    "hyperlista",
    of="Hyperlista",
    keys={"depth": integer(1, 10_000)},
    uses_shrinkage=False,
    untrained="hyperlista_start",
    searched=("threshold", "momentum", "support"),
    matrices=False,
    looks={
        "hyperlista": {"": Look(BLACK, "h", size=4.4, label="HyperLISTA")},
        "hyperlista_start": {"": Look(GREY, "h", ":", size=4.4, label="HyperLISTA, untrained")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 3),
)
STARTS = {"threshold": 4.1, "momentum": 1.5, "support": 0.02}  # c_1, c_2, c_3 near those of the paper's problem
SMALLEST = 1e-12  # of e_t over e_0: a sample y = 0 must not give NaN


class HyperState(NamedTuple):
    """The estimate x̂ and the one before it, (N, L), the residual v (M, L), and e_0 (1, L)."""

    x_hat: Array
    before: Array
    v: Array
    e_first: Array


def unused(r: Array, *_: object) -> tuple[Array, Array]:
    """η(r) = r: the network shrinks by itself."""
    return r, jnp.ones_like(r[:1])


def sizes(a: Array) -> Array:
    """|a| of real or complex entries."""
    return magnitude(a) if jnp.iscomplexobj(a) else jnp.abs(a)


@dataclass(frozen=True)
class Hyperlista(Network[HyperState, None]):
    """Three numbers for all layers."""

    family: Family = field(default=Family("identity", unused, (), ()))
    theta: Theta = ()

    rate_names: ClassVar = dict.fromkeys((*STARTS, "theta"), "theta")

    @property
    def new_leaves(self) -> str:
        return "c"

    def count(self, params: Parameters, depth: int) -> int:
        return len(STARTS)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        masks = super().learnable(params, first, last, shared)
        return {name: mask if name in STARTS else np.zeros_like(mask) for name, mask in masks.items()}

    def textbook(self, problem: Problem) -> Parameters:
        """The three numbers, B, and the diagonal d of A⁺A, (N, 1)."""
        B = weight(problem, "analytic")
        d = np.real(np.sum(np.linalg.pinv(double(problem.A)) * double(problem.A).T, axis=1, keepdims=True))
        return {"B": B, "d": single(d, problem), **{name: single(value, problem) for name, value in STARTS.items()}}

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[HyperState, Inputs]:
        product = p["B"] @ y
        nothing, e = jnp.zeros_like(product), total(p["d"] * sizes(product))
        state = HyperState(nothing, nothing, y, e)
        return state, self._inputs(p, state, product)

    def linear(self, problem: Problem, p: Parameters, state: HyperState, y: Array, context: None) -> Inputs:
        return self._inputs(p, state, p["B"] @ state.v)

    def _inputs(self, p: Parameters, state: HyperState, product: Array) -> Inputs:
        N = product.shape[0]
        e = total(p["d"] * sizes(product))
        active = total((state.x_hat != 0).astype(e.dtype)) / N
        left = jnp.maximum(e, SMALLEST * state.e_first + SMALLEST) / (state.e_first + SMALLEST)
        may_pass = jnp.clip(-N * p["support"] * jnp.log(left), 0, N)
        step = p["momentum"] * active * (state.x_hat - state.before)
        return Inputs(state.x_hat + product + step, (p["threshold"] * e / N, may_pass))

    def level(self, inputs: Inputs) -> Array | None:
        return None

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        r, beside = inputs
        theta, may_pass = beside
        r = r if columns is None else r / columns
        given: Any = None  # σ, which this threshold does not use
        x_hat, slope = threshold(r, given, (theta,))
        x_hat = selected(r, x_hat, theta, may_pass)
        return Shrunk(x_hat if columns is None else columns * x_hat, slope, inputs)

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: HyperState, y: Array) -> HyperState:
        return HyperState(shrunk.x_hat, state.x_hat, y - problem.A @ shrunk.x_hat, state.e_first)
