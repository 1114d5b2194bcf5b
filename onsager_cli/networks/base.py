"""What every network has in common: where its parameters live and the three maps of a layer.

Parameters are a flat dictionary of arrays. A leaf that each layer has for itself (θ always, B if untied) carries
a leading axis of layers; a tied leaf does not. Growing a network fills the next row, freezing is a mask of the
same shape, and both are numbers to the compiled program. On disk the rows become `layers.3.theta` and so on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.problems import Problem
from onsager_cli.shrinkage.family import Family

Parameters = dict[str, Array]
Inputs = tuple[Array, Any]  # r, σ: what the shrinkage of a layer receives
State = Any


def single(leaf: np.ndarray | Array | float, problem: Problem) -> Array:
    """A leaf in the precision of the problem: complex stays complex, real stays real."""
    leaf = jnp.asarray(leaf)
    return leaf.astype(problem.A.dtype if jnp.iscomplexobj(leaf) else problem.A.real.dtype)


@jax.jit
def _repeated(leaf: Array, t: int) -> Array:
    """`leaf` with its row t - 1 in row t as well."""
    return leaf.at[t].set(leaf[t - 1])


@dataclass(frozen=True)
class Network(ABC):
    """An unfolded network; without training it is the classical algorithm that it was unfolded from.

    `matrices` names the leaves that `tied` shares between the layers. `groups` says which row of θ each
    coordinate takes; without it, all take the one there is. `theta` has as many rows, or one.
    """

    family: Family
    theta: tuple[Any, ...]  # numbers, or a row of them per group
    tied: bool = True
    groups: tuple[int, ...] = field(default=(), kw_only=True)

    matrices = ()
    # Coordinates that are no matrices learn by Adam, at the rate of θ; those of a spectrum, of a noise variance and of
    # rows at their own.
    vectors = frozenset({"theta"})
    spectral = frozenset()
    noise = frozenset()
    rows = frozenset()

    @property
    def layered(self) -> frozenset[str]:
        """Names of the leaves with a leading axis of layers."""
        return frozenset({"theta"} | (set() if self.tied else set(self.matrices)))

    def layer(self, params: Parameters, t: Array | int) -> Parameters:
        """The parameters of layer t (0-based)."""
        return {name: leaf[t] if name in self.layered else leaf for name, leaf in params.items()}

    @staticmethod
    def depth_of(params: Parameters) -> int:
        """How many layers these parameters have room for."""
        return params["theta"].shape[0]

    def spread(self, theta: Array) -> Array:
        """θ of one layer as parameters that broadcast against r (N, L)."""
        return theta[np.array(self.groups)].T[..., None] if self.groups else theta

    def start(self, problem: Problem, depth: int) -> Parameters:
        """The parameters of the untrained network, with room for `depth` layers."""
        one = self.textbook(problem)
        theta = jnp.asarray(self.theta, problem.noise_variance.dtype)
        one["theta"] = (
            jnp.broadcast_to(theta, (max(self.groups) + 1, theta.shape[-1])) if self.groups else theta
        )
        return {
            name: jnp.repeat(leaf[None], depth, axis=0) if name in self.layered else leaf
            for name, leaf in one.items()
        }

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """Layer t starts from layer t-1 (Algorithms 2 and 3), or from what `problem` says of a layer there."""
        if t == 0:
            return params
        return {n: _repeated(a, t) if n in self.layered else a for n, a in params.items()}

    @property
    def new_leaves(self) -> str:
        """What a new layer brings, as the names of stages say it: "θ", "B, θ"."""
        return ", ".join(["θ"] if self.tied else [*self.matrices, "θ"])

    def count(self, params: Parameters, depth: int) -> int:
        """Number of real parameters of the network of this depth; a complex one counts as two."""
        sizes = {
            name: leaf.size // len(leaf) * depth if name in self.layered else leaf.size
            for name, leaf in params.items()
        }
        return int(sum(size * (1 + jnp.iscomplexobj(params[name])) for name, size in sizes.items()))

    def head(self, params: Parameters, layers: int) -> Parameters:
        """The parameters of the first `layers` layers, and those that all share."""
        return {name: leaf[:layers] if name in self.layered else leaf for name, leaf in params.items()}

    def fill(self, params: Parameters, stored: Parameters) -> Parameters:
        """`params` with its first layers replaced by those stored, which may be fewer or more."""

        def leaf(name: str, room: Array) -> Array:
            if name not in self.layered:
                return stored[name]
            filled, given = np.array(room), np.asarray(stored[name])
            rows = min(len(filled), len(given))
            filled[:rows] = given[:rows]
            return jnp.asarray(filled)

        return {name: leaf(name, room) for name, room in params.items()}

    def untie(self, tied: Parameters, like: Parameters) -> Parameters:
        """The parameters of a tied network in the layout of `like`, every layer with its own copy."""
        spread = {
            name: jnp.broadcast_to(leaf, like[name].shape) if name in self.matrices else leaf
            for name, leaf in tied.items()
        }
        return self.fill(like, spread)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        """Masks, 1 where a stage learns: layers `first` to `last` (0-based, inclusive) and the shared leaves."""
        masks = {}
        for name, leaf in params.items():
            if name in self.layered:
                masks[name] = np.zeros((leaf.shape[0],) + (1,) * (leaf.ndim - 1), np.float32)
                masks[name][first : last + 1] = 1
            else:
                masks[name] = np.float32(shared)
        return masks

    def to_descent(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        """The gradient at `params`, zero where `masks` is, in the coordinates in which the optimizer works.

        Here those of the parameters. A network may add coordinates of its own (`spectral`, `rows`).
        """
        del problem, params
        return {name: masks[name] * leaf for name, leaf in gradient.items()}

    def from_descent(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: dict[str, Array]
    ) -> Parameters:
        """Steps in those coordinates as steps of the parameters: the transpose of `to_descent`, where each has its rate."""
        del problem, params, masks
        return steps

    def rate_index(self, coordinate: str) -> int:
        """Which rate a coordinate learns at: 0 of the matrices, 1 of θ, 2 of a spectrum, 3 of a noise variance, 4 of rows."""
        groups = (self.vectors, self.spectral, self.noise, self.rows)
        return next((index for index, group in enumerate(groups, 1) if coordinate in group), 0)

    @abstractmethod
    def textbook(self, problem: Problem) -> Parameters:
        """The leaves of one layer (without θ) as the classical algorithm sets them."""

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Any:
        """What all layers share and the parameters decide, such as B y in LISTA."""
        del problem, params, y
        return ()

    @abstractmethod
    def first(self, problem: Problem, p: Parameters, y: Array, context: Any) -> tuple[State, Inputs]:
        """State before layer 0, and the shrinkage input of layer 0."""

    @abstractmethod
    def linear(self, problem: Problem, p: Parameters, state: State, y: Array, context: Any) -> Inputs:
        """The linear stage of a layer. A network that projects takes `projected` as one more, optional argument."""

    def project(self, p: Parameters, state: State) -> Any:
        """A product that the linear stage begins with and that its derivative needs, so that training keeps it; here none."""
        del p, state
        return None

    def kept(self, state: State) -> Any:
        """What the derivatives of a layer need of its state, so that training keeps it; here all of it."""
        return state

    def restored(self, kept: Any, inputs: Inputs) -> State:
        """The state of which `kept` was kept, before the layer with these inputs; NaN where it was not."""
        del inputs
        return kept

    @abstractmethod
    def correct(
        self,
        problem: Problem,
        p: Parameters,
        x_hat: Array,
        slope: Array,
        inputs: Inputs,
        state: State,
        y: Array,
        context: Any,
    ) -> State:
        """What is done to the estimate before the next layer: nothing, Onsager correction, decoupling."""
