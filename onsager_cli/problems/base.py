"""A problem y = A x + w: what networks, bounds and trainers ask of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.linalg import full_product, power
from onsager_cli.problems.noise import NoiseLaw


class Samples(NamedTuple):
    """Signals x (N, L) and their measurements y (M, L), one sample per column."""

    x: Array
    y: Array


@struct.dataclass
class Frame:
    """The coordinates in which networks see samples: x' = u c ⊙ x and y' = P y (`problems.frame`)."""

    rows: Array  # P with the unit of x in it, (M, M) or ()
    columns: Array | None  # c, (N, 1), relative to its root mean square; None: 1
    unit: Array  # u, ()

    def enter(self, samples: Samples) -> Samples:
        """Samples x (N, L), y (M, L) in the user's units, in these coordinates."""
        x, y = samples
        return Samples(x * self.units, self.seen(y))

    def seen(self, y: Array) -> Array:
        """Measurements y (M, L) in these coordinates."""
        return full_product(self.rows, y) if self.rows.ndim else self.rows * y

    def leave(self, x: Array) -> Array:
        """Estimates (N, L) in these coordinates, in the user's units."""
        return x / self.units

    @property
    def units(self) -> Array:
        """u c, (N, 1) or (): what x is multiplied by."""
        return self.unit if self.columns is None else self.unit * self.columns


@struct.dataclass
class Problem:
    """One matrix A and the law of (x, w). A pytree, so that it enters compiled programs as an argument.

    `draw(problem, key, batch)` returns fresh samples and runs inside a compiled training step. `selection` decides when to
    stop, restore or bootstrap, and where a new layer starts. `test` is reported and decides nothing. Training samples
    belong to neither.

    A is the matrix that networks know. If it is an estimate, `source` is the matrix behind the samples. `draw` finds the
    latter as the A of its problem.

    Networks may see a problem in other coordinates than the user (`frame`, see `problems.frame`). Then A, noise_variance,
    selection, test and mean_power are in those coordinates, and samples drawn by `sample` too. `original` is the problem
    in the user's units, and `draw` receives `behind`, which has the true A in the user's units. A law that draws, or a
    network that computes with A, x and y of one problem, needs to know nothing of the frame.
    """

    A: Array  # (M, N), float32 or complex64
    noise_variance: Array  # σ_w², linear, per entry of w
    selection: Samples
    test: Samples
    draw: Callable[["Problem", Array, int], tuple[Array, Array]] = struct.field(pytree_node=False)
    source: Array | None = None
    mean_power: Array | None = None  # E|x_n|², (N, 1) or (); None if unknown
    reported: Array | None = None  # 1 where the NMSE counts a coordinate, else 0, (N, 1); None: all count
    test_power: Array | None = None  # E|x_n|² of the test samples for an oracle, (N, L) or (); None: 1
    singular_vectors: tuple[Array, Array] | None = None  # U (M, R), V (N, R) of A, for spectral coordinates
    noise: NoiseLaw | None = struct.field(pytree_node=False, default=None)  # None: σ_w² for all samples
    frame: Frame | None = None
    original: "Problem | None" = None
    recorded: Samples | None = None  # recorded training pairs that `draw` chooses from, as rows: x (L, N) and y (L, M)

    @property
    def behind(self) -> "Problem":
        """The problem with the true A in the user's units, from which samples come."""
        if self.original is not None:
            return self.original.behind
        return self if self.source is None else replace(self, A=self.source, source=None)

    @property
    def columns(self) -> Array | None:
        """c of the frame, (N, 1): η acts on r / c, where all coordinates have one prior. None: 1."""
        return None if self.frame is None else self.frame.columns

    def in_frame(self, samples: Samples) -> Samples:
        """Samples x (N, L), y (M, L) in the user's units, as networks see them.

        The barrier keeps XLA from fusing the frame into what follows, so that bits do not depend on where samples are.
        """
        if self.frame is None:
            return samples
        return Samples(*jax.lax.optimization_barrier(tuple(self.frame.enter(samples))))

    def sample(self, key: Array, batch: int) -> Samples:
        """`batch` fresh samples: x (N, batch) and y (M, batch)."""
        return self.in_frame(Samples(*self.draw(self.behind, key, batch)))

    def with_fresh_test(self, key: Array, batch: int) -> "Problem":
        """The problem with `batch` fresh test samples, and with the E|x_n|² of these for an oracle."""
        offered = getattr(self.draw, "powers", None)
        power = self.test_power if offered is None else offered(key, batch)
        return replace(self, test=self.sample(key, batch), test_power=power)

    def training_set(self, most: int) -> Samples | None:
        """Up to `most` recorded training pairs as columns; None where samples are drawn."""
        offered = getattr(self.draw, "training_set", None)
        return None if offered is None else self.in_frame(offered(self.behind, most))

    @property
    def known_power(self) -> Array:
        """`mean_power`, linear. Raises UserError if it is unknown."""
        if self.mean_power is None:
            raise UserError("this network needs E|x|², which this kind of problem does not define")
        return self.mean_power

    def squared_norm(self, x: Array | np.ndarray) -> Array:
        """‖x‖² of each sample of x (N, L) over the coordinates that are reported, (L,)."""
        square = power(x)
        return jnp.sum(square if self.reported is None else self.reported * square, axis=0)

    def emphasized(
        self, key: Array, batch: int, emphasis: Array | float, most: float | None
    ) -> tuple[Array, Array, Array]:
        """Samples with more hard ones among them, x (N, batch) and y (M, batch), and weights (batch,) that compensate.

        If few samples have most of the error, the gradient from these samples has less noise. `emphasis` is the odds of an
        active coefficient or user over the true odds, and `most` the highest emphasis of the training. All weights are 1
        if `most` is None, or if `draw` has no method `emphasized`.
        """
        offered = getattr(self.draw, "emphasized", None)
        if offered is None or most is None:
            x, y = self.sample(key, batch)
            return x, y, jnp.ones(batch, self.noise_variance.dtype)
        x, y, weights = offered(self.behind, key, batch, emphasis, most)
        x, y = self.in_frame(Samples(x, y))
        return x, y, weights


def with_singular_vectors(problem: Problem) -> Problem:
    """The problem with the singular vectors of the A that networks know, computed in double precision."""
    A = np.asarray(problem.A)
    U, _, Vh = np.linalg.svd(A.astype(np.result_type(A, np.float64)), full_matrices=False)
    return replace(problem, singular_vectors=(jnp.asarray(U, A.dtype), jnp.asarray(Vh.conj().T, A.dtype)))


def check_samples(problem: Problem) -> None:
    """Raises UserError if all signals of the selection or test set are zero, so that there is no NMSE."""
    for name in ("selection", "test"):
        x = np.asarray(getattr(problem, name)[0])
        counted = 1 if problem.reported is None else np.asarray(problem.reported)
        if not np.any(np.square(np.abs(x) * counted)):
            raise UserError(
                f"problem.{name}_samples={x.shape[1]}: all of them are zero, so the NMSE is undefined: raise "
                f"problem.{name}_samples, or the activity of x (problem.gamma, problem.activity)"
            )
