"""What all networks have in common: the layout of their parameters, and the maps of a layer.

Parameters are a flat dictionary of arrays. A leaf that every layer has for itself (θ always, B if untied) has a leading
axis of layers; a tied leaf does not. To grow a network is to fill the next row; to freeze a leaf is to mask it. Both are
numbers to the compiled program. On disk the rows become `layers.3.theta` and so on.

| name     | meaning                                                            |
|----------|--------------------------------------------------------------------|
| params   | parameters of all layers                                           |
| p        | parameters of one layer, without the axis of layers                |
| state    | what a layer hands to the next one, a named tuple per network      |
| context  | what all layers share, such as B y in LISTA; None if nothing       |
| y        | measurements, one sample per column, (M, L)                        |
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.problems.base import Problem
from onsager_cli.shrinkage.family import Family

Parameters = dict[str, Array]
Theta = tuple[float, ...] | tuple[tuple[float, ...], ...]  # one row of θ, or a row per group of coordinates
RATES = ("matrices", "theta", "spectrum", "noise", "rows")  # names of the learning rates of a stage


class Inputs(NamedTuple):
    """What the shrinkage of a layer receives: r (N, L), and σ (1, L) or None where η does not use σ.

    A network whose shrinkage needs something else has that in the place of σ (`Network.level`).
    """

    r: Array
    sigma: Any


class Shrunk(NamedTuple):
    """What the shrinkage of a layer returns: x̂ (N, L) and ⟨η'⟩ (1, L), with its inputs."""

    x_hat: Array
    slope: Array
    inputs: Inputs


State = TypeVar("State")  # a named tuple of arrays
Context = TypeVar("Context", bound=Array | None)


def single(leaf: np.ndarray | Array | float, problem: Problem) -> Array:
    """A leaf in the precision of the problem: complex stays complex, real stays real."""
    leaf = jnp.asarray(leaf)
    return leaf.astype(problem.A.dtype if jnp.iscomplexobj(leaf) else problem.A.real.dtype)


@jax.jit
def _repeated(leaf: Array, t: int) -> Array:
    """`leaf` with its row t - 1 in row t as well."""
    return leaf.at[t].set(leaf[t - 1])


@dataclass(frozen=True)
class Network(ABC, Generic[State, Context]):
    """An unfolded network; without training it is the classical algorithm that it was unfolded from.

    `matrices` names the leaves that `tied` shares between the layers. `groups` names the row of θ that each coordinate
    takes; without groups, all coordinates take the same row. `theta` has as many rows as there are groups, or one.
    """

    family: Family
    theta: Theta
    tied: bool = True
    groups: tuple[int, ...] = field(default=(), kw_only=True)

    matrices = ()
    # Coordinate of the optimizer → its learning rate; those not named here learn at the rate of the matrices.
    rate_names: ClassVar[Mapping[str, str]] = {"theta": "theta"}

    @property
    def layered(self) -> frozenset[str]:
        """Names of the leaves with a leading axis of layers."""
        return frozenset({"theta"} | (set() if self.tied else set(self.matrices)))

    def layer(self, params: Parameters, t: Array | int) -> Parameters:
        """The parameters of layer t (0-based), without the axis of layers."""
        return {name: leaf[t] if name in self.layered else leaf for name, leaf in params.items()}

    @property
    def free_of_prior(self) -> bool:
        """Whether further numbers of a layer scale what its shrinkage returns, so that θ alone is no prior of x."""
        return False

    @staticmethod
    def depth_of(params: Parameters) -> int:
        """Number of layers that these parameters have room for."""
        return params["theta"].shape[0]

    def spread(self, theta: Array) -> Array:
        """θ of one layer, (k,) or (groups, k), as k parameters that broadcast against r (N, L)."""
        return theta[np.array(self.groups)].T[..., None] if self.groups else theta

    def start(self, problem: Problem, depth: int) -> Parameters:
        """The parameters of the untrained network, with room for `depth` layers."""
        one = self.textbook(problem)
        theta = jnp.asarray(self.theta, problem.noise_variance.dtype)
        one["theta"] = jnp.broadcast_to(theta, (max(self.groups) + 1, theta.shape[-1])) if self.groups else theta
        return {
            name: jnp.repeat(leaf[None], depth, axis=0) if name in self.layered else leaf for name, leaf in one.items()
        }

    def grow(self, params: Parameters, t: int, problem: Problem | None = None) -> Parameters:
        """`params` with a start for layer t (0-based): a copy of layer t-1 (Algorithms 2 and 3).

        A network may compute the start from `problem` instead.
        """
        if t == 0:
            return params
        return {n: _repeated(a, t) if n in self.layered else a for n, a in params.items()}

    @property
    def new_leaves(self) -> str:
        """The leaves that a new layer adds, as the names of stages show them: "θ", "B, θ"."""
        return ", ".join(["θ"] if self.tied else [*self.matrices, "θ"])

    def count(self, params: Parameters, depth: int) -> int:
        """Number of real parameters of the network of this depth; a complex parameter counts as two."""
        sizes = {
            name: leaf.size // len(leaf) * depth if name in self.layered else leaf.size for name, leaf in params.items()
        }
        return int(sum(size * (1 + jnp.iscomplexobj(params[name])) for name, size in sizes.items()))

    def head(self, params: Parameters, layers: int) -> Parameters:
        """The parameters of the first `layers` layers, and the leaves that all layers share."""
        return {name: leaf[:layers] if name in self.layered else leaf for name, leaf in params.items()}

    def fill(self, params: Parameters, stored: Parameters) -> Parameters:
        """`params` with its first layers replaced by the stored ones, which may be fewer or more."""

        def leaf(name: str, room: Array) -> Array:
            if name not in self.layered:
                return stored[name]
            filled, given = np.array(room), np.asarray(stored[name])
            rows = min(len(filled), len(given))
            filled[:rows] = given[:rows]
            return jnp.asarray(filled)

        return {name: leaf(name, room) for name, room in params.items()}

    def untie(self, tied: Parameters, like: Parameters) -> Parameters:
        """The parameters of a tied network in the layout of `like`, with a copy of the tied leaves in every layer."""
        spread = {
            name: jnp.broadcast_to(leaf, like[name].shape) if name in self.matrices else leaf
            for name, leaf in tied.items()
        }
        return self.fill(like, spread)

    def learnable(self, params: Parameters, first: int, last: int, shared: bool) -> dict[str, np.ndarray]:
        """Masks that broadcast against the leaves, float32: 1 where a stage learns, else 0.

        A stage learns layers `first` to `last` (0-based, inclusive), and the shared leaves if `shared`.
        """
        masks = {}
        for name, leaf in params.items():
            if name in self.layered:
                masks[name] = np.zeros((leaf.shape[0],) + (1,) * (leaf.ndim - 1), np.float32)
                masks[name][first : last + 1] = 1
            else:
                masks[name] = np.float32(shared)
        return masks

    def to_coordinates(
        self, problem: Problem, params: Parameters, gradient: Parameters, masks: Parameters
    ) -> Parameters:
        """The gradient at `params` in the coordinates of the optimizer, zero where `masks` is.

        Here these are the parameters themselves. A network may add coordinates (`rate_names`).
        """
        del problem, params
        return {name: masks[name] * leaf for name, leaf in gradient.items()}

    def from_coordinates(
        self, problem: Problem, params: Parameters, steps: Parameters, masks: Parameters
    ) -> Parameters:
        """Steps in the coordinates of the optimizer as steps of the parameters: the transpose of `to_coordinates`."""
        del problem, params, masks
        return steps

    def rate_of(self, coordinate: str) -> str:
        """Name of the learning rate of a coordinate, one of RATES."""
        return self.rate_names.get(coordinate, "matrices")

    # -- the maps of a layer

    @abstractmethod
    def textbook(self, problem: Problem) -> Parameters:
        """The leaves of one layer (without θ) as the classical algorithm sets them."""

    def prepare(self, problem: Problem, params: Parameters, y: Array) -> Context:
        """What all layers share and the parameters decide, such as B y in LISTA; here nothing."""
        del problem, params, y
        return cast(Context, None)

    @abstractmethod
    def first(self, problem: Problem, p: Parameters, y: Array, context: Context) -> tuple[State, Inputs]:
        """The state before layer 0, and the inputs of the shrinkage of layer 0."""

    @abstractmethod
    def linear(self, problem: Problem, p: Parameters, state: State, y: Array, context: Context) -> Inputs:
        """The linear stage of a layer. A network with `project` takes `projected` as a further, optional argument."""

    def project(self, p: Parameters, state: State) -> Array | None:
        """A product that the linear stage begins with and that training keeps for the derivative; here None."""
        del p, state
        return None

    def shrink(self, p: Parameters, inputs: Inputs, columns: Array | None = None) -> Shrunk:
        """The family's shrinkage with the θ of a layer.

        With `columns` c (N, 1), coordinate n is c_n times a coefficient: x̂ = c η(r/c; σ/c), of the same slope.
        """
        theta = self.spread(p["theta"])
        if columns is None:
            return Shrunk(*self.family.eta(*inputs, theta), inputs)
        r, sigma = inputs
        sigma = cast(Array, sigma if sigma is None else sigma / columns)  # families in units of x take no σ
        x_hat, slope = self.family.eta(r / columns, sigma, theta)
        return Shrunk(columns * x_hat, slope, inputs)

    def level(self, inputs: Inputs) -> Array | None:
        """σ of a layer, (1, L); None where the inputs hold something else beside r."""
        return inputs.sigma

    @abstractmethod
    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: State, y: Array) -> State:
        """The state after the shrinkage: the estimate itself, Onsager correction, or decoupling."""

    def step(self, problem: Problem, p: Parameters, inputs: Inputs, state: State, y: Array) -> State:
        """The state after a layer with these inputs: shrinkage, then correction."""
        return self.correct(problem, p, self.shrink(p, inputs, problem.columns), state, y)

    def kept(self, state: State) -> State:
        """The parts of the state that derivatives of a layer need, so that training keeps them; None for the others."""
        return state

    def restored(self, kept: State, inputs: Inputs) -> State:
        """The state from which `kept` was taken, before the layer with these inputs; parts that were not kept are NaN."""
        del inputs
        return kept
