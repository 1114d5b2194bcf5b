"""What a network, a bound or a trainer may ask of a problem."""

from collections.abc import Callable

from flax import struct
from jax import Array

Samples = tuple[Array, Array]  # x (N, L), y (M, L)


@struct.dataclass
class Problem:
    """One matrix A and the law of (x, w). A pytree, so it enters compiled programs as an argument.

    `draw(problem, key, batch)` returns fresh samples and runs inside a compiled training step. `selection` decides
    (stopping, restoring, bootstrapping), `test` is reported and decides nothing; training samples are neither.
    """

    A: Array  # (M, N), float32
    noise_variance: Array  # σ_w², linear, per entry of w
    selection: Samples
    test: Samples
    draw: Callable[["Problem", Array, int], Samples] = struct.field(pytree_node=False)

    def sample(self, key: Array, batch: int) -> Samples:
        """`batch` fresh samples: x (N, batch) and y (M, batch)."""
        return self.draw(self, key, batch)
