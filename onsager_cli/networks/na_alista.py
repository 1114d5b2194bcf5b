"""NA-ALISTA: ALISTA whose step sizes and thresholds an LSTM predicts for each sample.

| symbol   | name                                                                     |
|----------|--------------------------------------------------------------------------|
| v        | residual y - A x̂, (M, L)                                                 |
| u        | ((‖v‖_1 - m_1)/s_1, (‖B v‖_1 - m_2)/s_2), (2, L)                         |
| m, s     | means and standard deviations of both norms at x̂ = 0; stored, not learned |
| h, c     | hidden state and cell state of the LSTM, (H, L); both start as learned vectors |
| γ, θ     | step size and threshold of a sample, (1, L)                              |

    i, f, g, o = W_u u + b_u + W_h h + b_h      c⁺ = σ(f) c + σ(i) tanh(g),   h⁺ = σ(o) tanh(c⁺)
    (γ, θ) = softplus(W_2 relu(W_1 c⁺ + b_1) + b_2)
    r = x̂ + γ B v, then a threshold with support selection

All layers share the LSTM. The head reads the cell state, as the published code does. Behrens, Sauder and Jung, "Neurally
augmented ALISTA" (2021). Its m and s come from the first batch and are stored nowhere; here they come from the selection
set. Complex numbers count by |·|.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, integer, number
from onsager_cli.kinds.records import BLACK, Look, NetworkKind
from onsager_cli.linalg import full_product, magnitude, scaled, total
from onsager_cli.networks import selection as rules
from onsager_cli.networks.alista import SELECTED, Alista
from onsager_cli.networks.base import Inputs, Parameters, Shrunk, Theta, single
from onsager_cli.networks.weights import weight
from onsager_cli.problems.base import Problem
from onsager_cli.shrinkage.family import Family
from onsager_cli.shrinkage.piecewise import threshold

KIND = NetworkKind(
    "na_alista",
    of="NaAlista",
    keys={
        "depth": integer(1, 10_000),
        "hidden": integer(1, 100_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
    },
    uses_shrinkage=False,
    untrained=None,
    matrices=False,
    looks={"na_alista": {"": Look(BLACK, "D", size=3.0, label="NA-ALISTA")}},
    entries=lambda settings, M, N: settings.hidden * (5 * settings.hidden + 4),
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (
        T * (2 * N * M + settings.hidden * (5 * settings.hidden + 4)),
        settings.hidden * (5 * settings.hidden + 21) + 2,
    ),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
START_KEY = 7  # folded into the seed; problems fold in 1 to 3 and 5, LVAMP 4, the CNN 6
NORMALISER = "normaliser"  # leaf of (m_1, m_2) and (s_1, s_2), (2, 2, 1)


class NaState(NamedTuple):
    """The estimate x̂ (N, L), the residual v (M, L), and both states of the LSTM, (H, L)."""

    x_hat: Array
    v: Array
    hidden: Array
    cell: Array


class Predicted(NamedTuple):
    """What the LSTM hands to the shrinkage and to the next layer: θ (1, L), and its states (H, L)."""

    theta: Array
    hidden: Array
    cell: Array


def unused(r: Array, *_: object) -> tuple[Array, Array]:
    """η(r) = r: the network shrinks by itself."""
    return r, jnp.ones_like(r[:1])


def norm(a: Array) -> Array:
    """‖a‖_1 of each sample, (1, L), of real or complex a."""
    return total(magnitude(a) if jnp.iscomplexobj(a) else jnp.abs(a))


@dataclass(frozen=True)
class NaAlista(Alista):
    """`hidden` is H. The start of the LSTM is drawn from `seed`."""

    family: Family = field(default=Family("identity", unused, (), ()))
    theta: Theta = ()
    hidden: int = 128
    seed: int = field(default=0, compare=False)

    rate_names: ClassVar = dict.fromkeys(
        (
            "theta",
            SELECTED,
            NORMALISER,
            "B",
            "W_u",
            "b_u",
            "W_h",
            "b_h",
            "W_1",
            "b_1",
            "W_2",
            "b_2",
            "hidden_0",
            "cell_0",
        ),
        "theta",
    )

    @property
    def vectors(self) -> tuple[str, ...]:
        return () if self.selection is None else (SELECTED,)

    @property
    def learned(self) -> set[str]:
        return set(self._shapes)

    @property
    def new_leaves(self) -> str:
        return "LSTM"

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each leaf that learns."""
        H = self.hidden
        return {
            "W_u": (4 * H, 2), "b_u": (4 * H, 1), "W_h": (4 * H, H), "b_h": (4 * H, 1), "W_1": (H, H), "b_1": (H, 1),
            "W_2": (2, H), "b_2": (2, 1), "hidden_0": (H, 1), "cell_0": (H, 1),
        }  # fmt: skip

    def textbook(self, problem: Problem) -> Parameters:
        """Entries uniform within ±1/√H, as PyTorch starts its layers; initial states N(0, 1)."""
        key, real = jax.random.fold_in(jax.random.key(self.seed), START_KEY), problem.A.real.dtype
        leaves: Parameters = dict.fromkeys(self.vectors, jnp.ones((), real))
        for index, (name, shape) in enumerate(self._shapes.items()):
            own, bound = jax.random.fold_in(key, index), 1 / np.sqrt(self.hidden)
            drawn = (
                jax.random.normal(own, shape, jnp.float32)
                if name in ("hidden_0", "cell_0")
                else jax.random.uniform(own, shape, jnp.float32, -bound, bound)
            )
            leaves[name] = drawn.astype(real)
        B = weight(problem, self.weight, self.ridge)
        if self.weight in (None, "transpose"):
            B = B / (1.01 * jnp.linalg.norm(problem.A, 2) ** 2)
        y = problem.selection.y
        norms = np.stack([np.asarray(norm(a), np.float64)[0] for a in (y, full_product(B, y))])
        spread = np.std(norms, axis=1)
        statistics = np.stack([np.mean(norms, axis=1), np.where(spread > 0, spread, 1)])
        return {**leaves, "B": B, NORMALISER: single(statistics[..., None], problem)}

    def scales(self, params: Parameters) -> Parameters:
        return {}

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[Any, Inputs]:
        product = self.matrix(p) @ y
        shape = self.hidden, y.shape[1]
        hidden, cell = (jnp.broadcast_to(p[name], shape) for name in ("hidden_0", "cell_0"))
        state = NaState(jnp.zeros_like(product), y, hidden, cell)
        return state, self.linear(problem, p, cast(Any, state), y, context, product)

    def linear(
        self, problem: Problem, p: Parameters, state: Any, y: Array, context: None, projected: Array | None = None
    ) -> Inputs:
        product = self.matrix(p) @ state.v if projected is None else projected
        gamma, predicted = self.predict(p, state, product)
        return Inputs(state.x_hat + scaled(product, gamma), predicted)

    def predict(self, p: Parameters, state: NaState, product: Array) -> tuple[Array, Predicted]:
        """γ (1, L), and θ with the states of the LSTM after this layer; `product` is B v, (N, L)."""
        mean, spread = jax.lax.stop_gradient(p[NORMALISER])
        u = (jnp.concatenate([norm(state.v), norm(product)]) - mean) / spread
        gates = p["W_u"] @ u + p["b_u"] + p["W_h"] @ state.hidden + p["b_h"]
        into, forget, new, out = jnp.split(gates, 4)
        cell = jax.nn.sigmoid(forget) * state.cell + jax.nn.sigmoid(into) * jnp.tanh(new)
        hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
        head = jax.nn.softplus(p["W_2"] @ jax.nn.relu(p["W_1"] @ cell + p["b_1"]) + p["b_2"])
        return head[:1], Predicted(head[1:], hidden, cell)

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        r, predicted = inputs
        r = r if columns is None else r / columns
        given: Any = None  # σ, which this threshold does not use
        x_hat, slope = threshold(r, given, (predicted.theta,))
        if self.selection is not None:
            x_hat = rules.selected(r, x_hat, predicted.theta, p[SELECTED])
        return Shrunk(x_hat if columns is None else columns * x_hat, slope, inputs)

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: Any, y: Array) -> Any:
        predicted = cast(Predicted, shrunk.inputs.sigma)
        return NaState(shrunk.x_hat, y - problem.A @ shrunk.x_hat, predicted.hidden, predicted.cell)
