"""A convolutional network in the manner of DeepInverse (Mousavi and Baraniuk, 2017): the paper's negative control.

| symbol | name                                                              |
|--------|-------------------------------------------------------------------|
| Aᴴ y   | its input, users along the axis of the convolutions; real and imaginary part are channels |
| W, b   | kernels (width, channels in, channels out) and offsets of a layer |

Convolutions with ReLU between them and none after the last, trained end to end. Neighbours in x are unrelated in the 5G
problems, so that a convolution finds nothing (Section VII-C). As a Network, the CNN is a single layer: its linear stage
holds all convolutions, and its shrinkage is the identity.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.export import is_symbolic_dim

from onsager_cli.kinds.checks import integer
from onsager_cli.kinds.lists import by_depth
from onsager_cli.kinds.records import YELLOW, Look, NetworkKind
from onsager_cli.linalg import adjoint
from onsager_cli.networks.base import Inputs, Network, Parameters, Shrunk, Theta
from onsager_cli.problems.base import Problem
from onsager_cli.shrinkage.family import Family

KIND = NetworkKind(
    "cnn",
    of="Cnn",
    keys={"channels": by_depth(low=1, whole=True), "width": integer(1, 10_000)},
    uses_shrinkage=False,
    untrained=None,
    matrices=False,
    looks={"cnn": {"": Look(YELLOW, "", "--", 0.9, label="CNN")}},
    entries=lambda settings, M, N: (
        settings.width * sum(a * b for a, b in zip((2, *settings.channels), (*settings.channels, 2), strict=True))
    ),
    uses=lambda settings, M, N: N // 2,  # users, of whom x has the real and the imaginary part
)

START_KEY = 6  # folded into the seed for the kernels
AT_ONCE = 64  # samples


class CnnState(NamedTuple):
    """Empty: there is no second layer to hand anything to."""


def identity(r: Array, *_: object) -> tuple[Array, Array]:
    """η(r) = r, with ⟨η'⟩ = 1 per sample."""
    return r, jnp.ones_like(r[:1])


def convolve(h: Array, kernel: Array) -> Array:
    """Convolve h (users, channels in) with a kernel (width, channels in, channels out); h is zero beyond its ends.

    Returns (users, channels out). Written as a matrix product: XLA's own convolution is ten times slower on CPUs inside a
    loop. A block of half a kernel of users depends on three blocks of h. The matrix has the shifted kernel as columns.
    That takes 3/2 of the multiplications, but repeats h three times instead of `width` times.
    """
    width, into, out = kernel.shape
    users, block = h.shape[0], max(width // 2, 1)
    blocks = -(-users // block)
    padded = jnp.pad(h, ((width // 2, (blocks + 2) * block - users - width // 2), (0, 0)))
    padded = padded.reshape(blocks + 2, block * into)
    windows = jnp.concatenate([padded[k : k + blocks] for k in range(3)], axis=1)
    shifts = [jnp.pad(kernel, ((k, 3 * block - width - k), (0, 0), (0, 0))) for k in range(block)]
    matrix = jnp.stack(shifts, axis=2).reshape(3 * block * into, block * out)
    return (windows @ matrix).reshape(blocks * block, out)[:users]


@dataclass(frozen=True)
class Cnn(Network[CnnState, None]):
    """`channels` of the hidden layers, `width` of the kernels; `parts` is 2 where x stacks real and imaginary parts."""

    family: Family = field(default=Family("identity", identity, (), ()))
    theta: Theta = ()
    channels: tuple[int, ...] = (64, 32)
    width: int = 11
    parts: int = 1
    seed: int = field(default=0, compare=False)

    @property
    def new_leaves(self) -> str:
        return "kernels"

    def textbook(self, problem: Problem) -> Parameters:
        """He's start: kernels of variance 2 / (width · channels in), and a last kernel of zeros, so that x̂ = 0."""
        ends = 2 if jnp.iscomplexobj(problem.A) else self.parts
        sizes = (ends, *self.channels, ends)
        key = jax.random.fold_in(jax.random.key(self.seed), START_KEY)
        leaves = {}
        for layer, (into, out) in enumerate(pairwise(sizes)):
            draw = jax.random.normal(jax.random.fold_in(key, layer), (self.width, into, out), jnp.float32)
            kernel = jnp.sqrt(2 / (self.width * into)) * draw * (layer < len(self.channels))
            leaves[f"kernel_{layer}"] = kernel.astype(problem.noise_variance.dtype)
            leaves[f"bias_{layer}"] = jnp.zeros(out, problem.noise_variance.dtype)
        return leaves

    def first(self, problem: Problem, p: Parameters, y: Array, context: None) -> tuple[CnnState, Inputs]:
        proxy = adjoint(problem.A) @ y
        if jnp.iscomplexobj(proxy):
            proxy = jnp.concatenate([proxy.real, proxy.imag])
        ends = p["kernel_0"].shape[1]
        samples = jnp.moveaxis(proxy.reshape(ends, -1, proxy.shape[1]), (0, 1, 2), (2, 1, 0))

        def one(sample: Array) -> Array:
            return self._convolutions(p, sample)

        # Few at a time, since the hidden layers are many times as large as their input; all in a program for any number.
        at_once = None if is_symbolic_dim(y.shape[1]) else AT_ONCE
        out = jax.vmap(one)(samples) if at_once is None else jax.lax.map(one, samples, batch_size=at_once)
        x_hat = jnp.moveaxis(out, (2, 1, 0), (0, 1, 2)).reshape(-1, y.shape[1])
        if jnp.iscomplexobj(y):
            x_hat = jax.lax.complex(*jnp.split(x_hat, 2))
        return CnnState(), Inputs(x_hat, None)

    def _convolutions(self, p: Parameters, h: Array) -> Array:
        """All convolutions, of one sample (users, channels)."""
        for layer in range(len(self.channels) + 1):
            h = convolve(jax.nn.relu(h) if layer else h, p[f"kernel_{layer}"]) + p[f"bias_{layer}"]
        return h

    def linear(self, problem: Problem, p: Parameters, state: CnnState, y: Array, context: None) -> Inputs:
        # Never used: there is no second layer, but programs for any depth need the shape.
        return Inputs(jnp.zeros((problem.A.shape[1], y.shape[1]), y.dtype), None)

    def correct(self, problem: Problem, p: Parameters, shrunk: Shrunk, state: CnnState, y: Array) -> CnnState:
        return state
