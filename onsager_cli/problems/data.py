"""Recorded pairs y = A x + w: training, selection and test set of one file, and what the training pairs say of A and w.

| symbol | name                                                        |
|--------|-------------------------------------------------------------|
| A      | that of the file, else Y Xᴴ (X Xᴴ)⁻¹ of the training pairs  |
| σ_w²   | that of the file, else ‖Y - A X‖² of the training pairs per entry and degree of freedom |
| φ      | E|x_n|² over the training pairs, one number                 |

The seed decides which pairs are in which part. All quantities are in the user's units.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import Notice
from onsager_cli.kinds.data import Recorded
from onsager_cli.kinds.records import ProblemKind
from onsager_cli.linalg import double
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.linear import embed
from onsager_cli.problems.operator import from_moments
from onsager_cli.store.environment import memory_limit

KIND = ProblemKind("data", of="build", settings=Recorded)
IN_MEMORY = 0.25  # share of the machine's memory up to which the training pairs are arrays of the problem
QUIETEST = 1e-12  # σ_w² over the power of y, at least
UNEXPLAINED = 0.8  # share of noise in y, above which pairs seem to be no pairs
BLOCK = 4096  # pairs in double precision at a time
FIRST, PER_UNKNOWN = 100_000, 40  # pairs that A, σ_w² and φ are estimated from: at most these, or so many per unknown

Rows = tuple[np.ndarray, np.ndarray]
"""Pairs as rows, x (l, N) and y (l, M)."""


class Pairs(Protocol):
    """The arrays of a file: pairs by position, A (M, N) and σ_w² if the file has them."""

    @property
    def A(self) -> np.ndarray | None: ...  # noqa: N802

    @property
    def noise_variance(self) -> float | None: ...

    def rows(self, chosen: np.ndarray | slice) -> Rows:
        """The pairs at these positions."""
        ...


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split: the pairs at `positions` of a file, in the embedding of the problem."""

    pairs: Pairs
    positions: np.ndarray
    stacked: bool  # whether x is [Re x; Im x], and y likewise

    def __len__(self) -> int:
        return len(self.positions)

    def __call__(self, chosen: np.ndarray | slice) -> Rows:
        """The pairs at these places of the part."""
        x, y = self.pairs.rows(self.positions[np.asarray(chosen) if not isinstance(chosen, slice) else chosen])
        if not self.stacked:
            return x, y
        return np.concatenate([np.real(x), np.imag(x)], axis=1), np.concatenate([np.real(y), np.imag(y)], axis=1)

    @property
    def samples(self) -> Samples:
        """All of them as columns."""
        x, y = self(slice(None))
        return Samples(jnp.asarray(x.T), jnp.asarray(y.T))


@dataclass(frozen=True)
class Draw:
    """Training pairs, drawn with replacement: from the arrays of the problem or, with `fetch`, from the file.

    Both draw the same pairs. Without `fetch`, equal numbers of pairs are equal laws.
    """

    pairs: int
    fetch: Part | None = None

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """`batch` training pairs, x (N, batch) and y (M, batch)."""
        chosen = jax.random.randint(key, (batch,), 0, self.pairs)
        M, N = problem.A.shape
        if self.fetch is None:
            assert problem.recorded is not None
            x, y = problem.recorded.x[chosen], problem.recorded.y[chosen]
        else:
            kind = problem.A.dtype
            shapes = (jax.ShapeDtypeStruct((batch, N), kind), jax.ShapeDtypeStruct((batch, M), kind))
            x, y = jax.pure_callback(self.fetch, shapes, chosen, vmap_method="sequential")
        return Samples(*jax.lax.optimization_barrier((x.T, y.T)))

    def training_set(self, problem: Problem, most: int) -> Samples:
        """Up to `most` training pairs, evenly spaced in the file."""
        chosen = evenly(self.pairs, most)
        if self.fetch is None:
            assert problem.recorded is not None
            x, y = problem.recorded.x[chosen], problem.recorded.y[chosen]
        else:
            x, y = map(jnp.asarray, self.fetch(chosen))
        return Samples(x.T, y.T)


class Estimate(NamedTuple):
    """What the training pairs say: A (M, N), and σ_w², E|x_n|² and that of active entries, linear."""

    A: np.ndarray
    noise_variance: float
    power: float
    active_power: float


def evenly(count: int, most: int) -> np.ndarray:
    """Up to `most` positions of `count`, evenly spaced, rising."""
    return np.arange(min(count, most)) * count // min(count, most)


def split(settings: Recorded, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The positions of training, selection and test pairs, each rising: drawn by the seed, never shared."""
    order = np.random.RandomState(seed).permutation(settings.pairs)  # a generator whose numbers never change
    training, selection, test = settings.counts
    parts = np.split(order[: training + selection + test], [test, test + selection])
    return np.sort(parts[2]), np.sort(parts[1]), np.sort(parts[0])


def build(settings: Recorded, seed: int, pairs: Pairs) -> Problem:
    """The problem of recorded pairs, with its parts. Warns where too few pairs determine A."""
    stacked = settings.embedding == "real"
    training, selection, test = (Part(pairs, positions, stacked) for positions in split(settings, seed))
    known = pairs.noise_variance if settings.noise_variance is None else settings.noise_variance
    found = estimated(replace(training, stacked=False), pairs.A, known)
    recorded = Samples(*map(jnp.asarray, training(slice(None)))) if _fits(training) else None
    kind = jnp.complex64 if settings.embedding == "complex" else jnp.float32
    return Problem(
        A=jnp.asarray(embed(found.A) if stacked else found.A, kind),
        noise_variance=jnp.float32(found.noise_variance / settings.parts),
        selection=selection.samples,
        test=test.samples,
        draw=Draw(len(training), None if recorded else training),
        mean_power=jnp.float32(found.power / settings.parts),
        test_power=jnp.float32(found.active_power / settings.parts),
        recorded=recorded,
    )


def estimated(training: Part, A: np.ndarray | None, noise_variance: float | None) -> Estimate:
    """A, unless it is known, and σ_w², unless it is known, with the powers of x; in double precision.

    From all training pairs or, of very many, from evenly spaced ones.
    """
    N = training(slice(0, 1))[0].shape[1]
    positions = evenly(len(training), max(FIRST, PER_UNKNOWN * N))

    def blocks() -> Iterator[Rows]:
        for start in range(0, len(positions), BLOCK):
            x, y = training(positions[start : start + BLOCK])
            yield double(x), double(y)

    energy_x = energy_y = 0.0
    active, freedom = 0, float(len(positions))
    cross = gram = 0
    for x, y in blocks():
        energy_x += float(np.sum(np.abs(x) ** 2))
        energy_y += float(np.sum(np.abs(y) ** 2))
        active += int(np.count_nonzero(x))
        if A is None:
            cross, gram = cross + y.T @ x.conj(), gram + x.T @ x.conj()
    if A is None:
        A, used, text = from_moments(np.asarray(cross), np.asarray(gram), energy_y, len(positions))
        freedom -= used
        if text:
            warnings.warn(f"problem.file: {text}", Notice, stacklevel=3)
    estimated_noise = noise_variance is None
    if noise_variance is None:
        noise_variance = _residual(blocks, double(A)) / (max(freedom, 1.0) * len(A))
    if estimated_noise and noise_variance > UNEXPLAINED * energy_y / (len(positions) * len(A)):
        text = "y differs from A x by almost its own energy or more: check that x, y and A belong together"
        warnings.warn(f"problem.file: {text}", Notice, stacklevel=3)
    floor = QUIETEST * energy_y / (len(positions) * len(A))
    return Estimate(
        A, max(noise_variance, floor), energy_x / (len(positions) * N), energy_x / active if active else 1.0
    )


def _residual(blocks: Callable[[], Iterator[Rows]], A: np.ndarray) -> float:
    """‖Y - A X‖²."""
    return sum(float(np.sum(np.abs(y - x @ A.T) ** 2)) for x, y in blocks())


def _fits(training: Part) -> bool:
    """Whether all training pairs may be arrays of the problem, on the machine and on its accelerator."""
    size = len(training) * sum(row.nbytes for row in training(slice(0, 1)))
    limits = [memory_limit(), (jax.devices()[0].memory_stats() or {}).get("bytes_limit")]
    return all(limit is None or size <= IN_MEMORY * limit for limit in limits)
