"""What a network, a bound or a trainer may ask of a problem."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
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
    singular_vectors: tuple[Array, Array] | None = (
        None  # U (M, R), V (N, R) of A; only training asks for them
    )

    def sample(self, key: Array, batch: int) -> Samples:
        """`batch` fresh samples: x (N, batch) and y (M, batch)."""
        return self.draw(self, key, batch)

    def emphasized(self, key: Array, batch: int, emphasis: Array | float) -> tuple[Array, Array, Array]:
        """Samples among which the hard ones are more frequent, and the weights (batch,) that make up for it.

        For an error that is mostly that of few samples, a gradient from these has less noise. 1 is no emphasis; a
        law of samples that does not offer any (a method `emphasized` of `draw`) has weights of 1.
        """
        offered = getattr(self.draw, "emphasized", None)
        if offered is None:
            return *self.sample(key, batch), jnp.ones(batch, self.A.dtype)
        return offered(self, key, batch, emphasis)


def with_singular_vectors(problem: Problem) -> Problem:
    """The problem with the singular vectors of its A, computed in float64 (or complex128)."""
    A = np.asarray(problem.A)
    U, _, Vh = np.linalg.svd(A.astype(np.result_type(A, np.float64)), full_matrices=False)
    return problem.replace(singular_vectors=(jnp.asarray(U, A.dtype), jnp.asarray(Vh.conj().T, A.dtype)))
