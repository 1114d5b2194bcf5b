"""Block-sparse signals: `length` neighbours are active together, and then independent Gaussian."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.records import SignalKind
from onsager_cli.kinds.signals import BlockSignal
from onsager_cli.problems.signals.base import LOG_2PI, Posterior, Signal, Values, joined, prepared, square

BLOCK = SignalKind("block", of="blocks", settings=BlockSignal, certain=False)


@dataclass(frozen=True)
class Blocks(Signal):
    """Blocks of `block` neighbours: zero with probability 1 - γ, else N(0, `variance`) in each coordinate.

    The posterior of a coordinate depends on its block: r has shape (N, L), with N a multiple of `block`. The log density
    of a block is shared out equally to its coordinates.
    """

    gamma: float
    block: int = 1
    variance: float = 1.0
    complex: bool = False

    @property
    def power(self) -> float:
        return self.gamma * self.variance

    def draw(self, key: Array, shape: tuple[int, int], gamma: Array | float | None = None) -> Array:
        of_activity, of_value = jax.random.split(key)
        value, (N, L) = self.active(of_value, shape), shape
        chosen = jax.random.uniform(of_activity, (N // self.block, L)) < (self.gamma if gamma is None else gamma)
        return jnp.where(jnp.repeat(chosen, self.block, axis=0), value, jnp.zeros((), value.dtype))

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        kind = jnp.complex64 if self.complex else jnp.float32
        return jnp.float32(np.sqrt(self.variance)) * jax.random.normal(key, shape, kind)

    def posterior(self, r: Values, variance: Values) -> Posterior:
        xp, r, v = prepared(r, variance)
        exponent = 1.0 if xp.iscomplexobj(r) else 0.5
        constant = exponent * (LOG_2PI - np.log(2) * (exponent == 1))

        def of_block(values: Values) -> Values:
            """The sum over each block, for each of its coordinates."""
            blocks = values.reshape(-1, self.block, values.shape[-1])
            return xp.repeat(xp.sum(blocks, axis=1), self.block, axis=0)

        v = xp.broadcast_to(v, r.shape)
        total = v + self.variance
        energy = square(xp, r)
        off, on = (of_block(-exponent * (energy / s + xp.log(s)) - constant) for s in (v, total))
        gain = self.variance / total
        log_weights = xp.stack([off + np.log1p(-self.gamma), on + np.log(self.gamma)])
        means, spreads = xp.stack([xp.zeros_like(r), gain * r]), xp.stack([xp.zeros_like(v), gain * v])
        found = joined(xp, log_weights, means, spreads)
        return found._replace(log_density=found.log_density / self.block)


def blocks(settings: BlockSignal, gamma: float, is_complex: bool) -> Blocks:
    """The blocks that the settings describe."""
    return Blocks(gamma, settings.length, settings.variance, is_complex)
