"""What a network, a bound or a trainer may ask of a problem."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.linalg import power


class Samples(NamedTuple):
    """Samples as columns."""

    x: Array  # (N, L)
    y: Array  # (M, L)


@struct.dataclass
class Problem:
    """One matrix A and the law of (x, w). A pytree, so it enters compiled programs as an argument.

    `draw(problem, key, batch)` returns fresh samples and runs inside a compiled training step. `selection` decides
    (stopping, restoring, bootstrapping; where a new layer starts, if that takes samples), `test` is reported and decides
    nothing; training samples are neither.

    A is what networks are told. Where that is an estimate, `source` is the matrix behind the samples; `draw` finds
    it as its problem's A, and need not know.
    """

    A: Array  # (M, N), float32 or complex64
    noise_variance: Array  # σ_w², linear, per entry of w
    selection: Samples
    test: Samples
    draw: Callable[["Problem", Array, int], Samples] = struct.field(pytree_node=False)
    source: Array | None = None
    mean_power: Array | None = None  # E|x_n|², (N, 1) or (); None if nobody says
    reported: Array | None = None  # 1 where the NMSE counts a coordinate, else 0, (N, 1); None: it counts all
    test_power: Array | None = None  # E|x_n|² of the test samples given what an oracle knows, (N, L); None: 1
    singular_vectors: tuple[Array, Array] | None = None  # U (M, R), V (N, R) of A, for spectral coordinates

    @property
    def behind(self) -> "Problem":
        """The problem as nature knows it: with the true A."""
        return self if self.source is None else replace(self, A=self.source, source=None)

    def sample(self, key: Array, batch: int) -> Samples:
        """`batch` fresh samples: x (N, batch) and y (M, batch)."""
        return self.draw(self.behind, key, batch)

    @property
    def known_power(self) -> Array:
        """`mean_power`. Raises UserError if the problem does not tell it."""
        if self.mean_power is None:
            raise UserError("this network needs E|x|², which this kind of problem does not tell")
        return self.mean_power

    def squared_norm(self, x: Any) -> Array:
        """‖x‖² per sample over the coordinates that are reported, (L,)."""
        square = power(x)
        return jnp.sum(square if self.reported is None else self.reported * square, axis=0)

    def emphasized(
        self, key: Array, batch: int, emphasis: Array | float, most: float | None
    ) -> tuple[Array, Array, Array]:
        """Samples among which the hard ones are more frequent, and the weights (batch,) that make up for it.

        For an error that is mostly that of few samples, a gradient from these has less noise. `emphasis` is the odds
        of an active coefficient or user over the true odds, and `most` the highest that may come. Weights are 1
        where that is None, and for a law of samples that does not offer any emphasis (a method `emphasized` of `draw`).
        """
        offered = getattr(self.draw, "emphasized", None)
        if offered is None or most is None:
            return *self.sample(key, batch), jnp.ones(batch, self.noise_variance.dtype)
        return offered(self.behind, key, batch, emphasis, most)


def with_singular_vectors(problem: Problem) -> Problem:
    """The problem with the singular vectors of the A that networks are told, computed in double precision."""
    A = np.asarray(problem.A)
    U, _, Vh = np.linalg.svd(A.astype(np.result_type(A, np.float64)), full_matrices=False)
    return replace(problem, singular_vectors=(jnp.asarray(U, A.dtype), jnp.asarray(Vh.conj().T, A.dtype)))


def check_samples(problem: Problem) -> None:
    """Raises UserError if a set has nothing to estimate, so that there is no NMSE."""
    for name in ("selection", "test"):
        x = np.asarray(getattr(problem, name)[0])
        counted = 1 if problem.reported is None else np.asarray(problem.reported)
        if not np.any(np.square(np.abs(x) * counted)):
            raise UserError(
                f"problem.{name}_samples={x.shape[1]}: all of them are zero, and have no NMSE: ask for more, or for more "
                "active coefficients"
            )
