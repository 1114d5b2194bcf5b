"""LISTA-CP, LISTA-CPSS, TiLISTA, ALISTA and ALISTA-AT: r = x̂ + γ B (y - A x̂), then a threshold.

| symbol | name                                                                    | source       |
|--------|-------------------------------------------------------------------------|--------------|
| B      | Wᴴ, learned or fixed, (N, M); starts as `weight` says (`networks.weights`) | [1] (15)  |
| γ      | step size of a layer                                                    | [2] (16)     |
| θ      | threshold of a layer, in units of x                                     | [1] (16)     |
| p      | coordinates that pass unshrunk (`networks.selection`)                   | [1] (20)     |
| ε      | `softness`: |x̂| at which the threshold of ALISTA-AT is half of θ         | [3]          |

| network    | B learns       | γ learns | support selection | threshold                     | untrained           |
|------------|----------------|----------|-------------------|-------------------------------|---------------------|
| LISTA-CP   | one, or each   | no       | no                | θ                             | ISTA                |
| LISTA-CPSS | one, or each   | no       | yes               | θ                             | ISTA with selection |
| TiLISTA    | one            | yes      | yes               | θ                             | ISTA with selection |
| ALISTA     | no: analytic   | yes      | yes               | θ                             | ISTA with W         |
| ALISTA-AT  | no: analytic   | yes      | yes               | θ / (1 + |x̂_n| / ε)            | reweighted ISTA with W |

B = β Aᴴ with ISTA's β = 1/(1.01 ‖A‖²) where `weight` is transpose; the other weights have diagonals around 1, and γ
starts at 1. All of it holds for complex A: thresholds act on |r|, γ is real.

[1] Chen, Liu, Wang and Yin (2018). [2] Liu, Chen, Wang and Yin, "ALISTA" (2019). [3] Behrens, Sauder and Jung,
"Neurally augmented ALISTA" (2021), whose ALISTA-AT follows Kim and Park (2020).
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, flag, integer, number
from onsager_cli.kinds.lists import words
from onsager_cli.kinds.records import BLUE, GREEN, GREY, ORANGE, SKY, Look, NetworkKind
from onsager_cli.linalg import magnitude
from onsager_cli.networks import selection as rules
from onsager_cli.networks.base import Inputs, Parameters, Shrunk
from onsager_cli.networks.filtered import FilterState
from onsager_cli.networks.stepped import Stepped
from onsager_cli.problems.base import Problem

CP = NetworkKind(
    "lista_cp",
    of="Alista",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "learn": words(),
    },
    learnable=("B", "gamma", "theta"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_cp",
    untrained_ignores=("learn",),
    looks={
        "lista_cp": {"": Look(GREEN, "v", size=3.4, label="LISTA-CP")},
        "ista_cp": {"": Look(GREY, "v", ":", size=3.4, label="ISTA, coupled")},
    },
    entries=lambda settings, M, N: N * M if "B" in settings.learn else 0,
    fixed_entries=lambda settings, M, N: N * M * (1 if "B" in settings.learn else 2),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, (1 if settings.tied else T) * M * N),
)
CPSS = NetworkKind(
    "lista_cpss",
    of="Alista",
    keys={
        "tied": flag(),
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
        "learn": words(),
    },
    learnable=("B", "gamma", "theta"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_cpss",
    untrained_ignores=("learn",),
    looks={
        "lista_cpss": {"": Look(GREEN, "^", size=3.6, label="LISTA-CPSS")},
        "ista_cpss": {"": Look(GREY, "^", ":", size=3.6, label="ISTA, support selection")},
    },
    entries=lambda settings, M, N: N * M if "B" in settings.learn else 0,
    fixed_entries=lambda settings, M, N: N * M * (1 if "B" in settings.learn else 2),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, (1 if settings.tied else T) * M * N),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
TI = NetworkKind(
    "tilista",
    of="Alista",
    keys={
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
        "learn": words(),
    },
    learnable=("B", "gamma", "theta"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_ti",
    untrained_ignores=("learn",),
    looks={
        "tilista": {"": Look(ORANGE, "d", size=3.8, label="TiLISTA")},
        "ista_ti": {"": Look(GREY, "d", ":", size=3.8, label="ISTA, step sizes")},
    },
    entries=lambda settings, M, N: N * M if "B" in settings.learn else 0,
    fixed_entries=lambda settings, M, N: N * M * (1 if "B" in settings.learn else 2),
    formula=lambda settings, k, T, M, N: (2 * T * N * M, M * N),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
ALISTA = NetworkKind(
    "alista",
    of="Alista",
    keys={
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
        "learn": words(),
    },
    learnable=("gamma", "theta"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_w",
    untrained_ignores=("learn",),
    matrices=False,
    looks={
        "alista": {"": Look(BLUE, "o", size=3.2, label="ALISTA")},
        "ista_w": {"": Look(GREY, "o", ":", size=3.2, label="ISTA with W")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 2 * T),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
AT = NetworkKind(
    "alista_at",
    of="Alista",
    keys={
        "depth": integer(1, 10_000),
        "weight": choice("transpose", "analytic", "pinv", "lmmse"),
        "ridge": number(low=0, high=1e6),
        "selection": choice("cpss", "logs", null=True),
        "selection_rate": number(above=0, high=1),
        "selection_most": number(above=0, high=1),
        "softness": number(above=0, high=1e6),
        "learn": words(),
    },
    learnable=("gamma", "theta"),
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_at",
    untrained_ignores=("learn",),
    matrices=False,
    looks={
        "alista_at": {"": Look(SKY, "s", size=3.0, label="ALISTA-AT")},
        "ista_at": {"": Look(GREY, "s", ":", size=3.0, label="reweighted ISTA with W")},
    },
    entries=lambda settings, M, N: 0,
    fixed_entries=lambda settings, M, N: 2 * N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, 2 * T),
    layered=True,
    knows=lambda settings: "activity" if settings.selection == "logs" else "",
)
LEAST = 1e-5  # of θ, so that a logarithm can leave 0
SELECTED = "selected"  # the leaf of p, which no stage learns


@dataclass(frozen=True)
class Alista(Stepped):
    """All five networks; `learn` says which of B, gamma and theta learn.

    `selection` is a rule of `selection.counts` with `selection_rate` and
    `selection_most`; None: no coordinate passes unshrunk. `activity` is the probability that a coordinate is active; None:
    its share in the selection set. With `softness`, the threshold of a coordinate falls with its estimate.
    """

    selection: str | None = None
    selection_rate: float = 0.012
    selection_most: float = 0.13
    softness: float | None = None
    activity: float | None = None

    rate_names: ClassVar = {**Stepped.rate_names, SELECTED: "theta"}

    @property
    def vectors(self) -> tuple[str, ...]:
        return ("gamma",) if self.selection is None else ("gamma", SELECTED)

    def start(self, problem: Problem, depth: int) -> Parameters:
        params = super().start(problem, depth)
        if self.selection is not None:
            N = problem.A.shape[1]
            share = self.activity
            if share is None:
                share = float(np.mean(np.asarray(problem.selection.x) != 0))
            params[SELECTED] = self._counts(depth, N, share * N, params[SELECTED].dtype)
        return params

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """`params` with a copy of layer t-1 in layer t; the p of all layers up to t are those of t + 1 layers."""
        grown = super().grow(params, t, problem)
        if self.selection is None:
            return grown
        counts = params[SELECTED]
        if self.selection == "logs":  # by this rule, the last layer tells s
            N, active = params["B"].shape[-2], float(counts[-1]) / rules.EXCESS
            counts = counts.at[: t + 1].set(self._counts(t + 1, N, active, counts.dtype))
        return {**grown, SELECTED: counts}

    def _counts(self, layers: int, N: int, active: float, dtype: jnp.dtype) -> Array:
        """p of each layer, not rounded down yet, (layers,)."""
        assert self.selection is not None
        made = rules.counts(self.selection, layers, N, active, self.selection_rate, self.selection_most)
        return jnp.asarray(made, dtype)

    def scales(self, params: Parameters) -> Parameters:
        """θ by its logarithm, too: from layer to layer it falls by orders of magnitude."""
        return super().scales(params) | {"theta": jnp.maximum(params["theta"], LEAST)}

    def beside(self, problem: Problem, p: Parameters, state: FilterState, y: Array) -> Array | None:
        """1 / (1 + |x̂| / ε) of ALISTA-AT, (N, L)."""
        if self.softness is None:
            return None
        x_hat = state.x_hat
        size = magnitude(x_hat) if jnp.iscomplexobj(x_hat) else jnp.abs(x_hat)
        return 1 / (1 + size / self.softness)

    def level(self, inputs: Inputs) -> Array | None:
        return None

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        r, factors = inputs
        r = r if columns is None else r / columns
        theta = self.spread(p["theta"])
        if self.softness is not None:
            theta = theta[..., None, None] * factors
        x_hat, slope = self.family.eta(r, None, theta)  # type: ignore[arg-type]
        if self.selection is not None:
            x_hat = rules.selected(r, x_hat, theta[0], p[SELECTED])
        return Shrunk(x_hat if columns is None else columns * x_hat, slope, inputs)

    def kept(self, state: FilterState) -> FilterState:
        return state if self.softness is not None else super().kept(state)

    def restored(self, kept: FilterState, inputs: Inputs) -> FilterState:
        return kept if self.softness is not None else super().restored(kept, inputs)
