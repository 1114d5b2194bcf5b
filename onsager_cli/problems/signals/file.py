"""Signals from a file: its columns are samples of x, split once into training, selection and test.

The columns keep whatever dependence their coefficients have. The matched posterior treats a coefficient on its own: a
Gaussian mixture with a component at zero, fitted to the training part by EM.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import UserError
from onsager_cli.kinds.lists import PARTS
from onsager_cli.kinds.records import SignalKind
from onsager_cli.kinds.signals import FileSignal
from onsager_cli.problems.signals.em import fit_mixture
from onsager_cli.problems.signals.mixture import GaussianMixture
from onsager_cli.store.content import unchanged
from onsager_cli.store.foreign import UnreadableError, Variable, variables
from onsager_cli.store.foreign.variable import NUMBERS, described
from onsager_cli.text import did_you_mean

FILE = SignalKind("file", of="read", settings=FileSignal, counted=True)

SPLIT_KEY = 11  # folded into the seed for the order of the columns
COMPONENTS = 4  # of the mixture, beside zero
FITTED = 100_000  # values that EM sees at most


@dataclass(frozen=True)
class Samples(GaussianMixture):
    """Columns of a file; two are equal if file, split and part are. `columns` is (N, L), float32 or complex64."""

    digest: str = ""
    part: str = "training"
    columns: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), compare=False, repr=False)
    others: tuple[tuple[str, np.ndarray], ...] = field(default=(), compare=False, repr=False)
    counted: float = field(default=0.0)

    @property
    def power(self) -> float:
        return self.counted

    @property
    def count(self) -> int:
        """Columns of this part."""
        return self.columns.shape[1]

    @property
    def has_zeros(self) -> bool:
        """Columns are drawn whole, so samples with more active coefficients cannot be asked for."""
        return False

    def of(self, part: str) -> "Samples":
        """The same law, which draws from this part: training, selection or test. Parts never overlap."""
        return replace(self, part=part, columns=dict(self.others)[part])

    def draw(self, key: Array, shape: tuple[int, int], gamma: Array | float | None = None) -> Array:
        """Columns of this part: of training drawn with replacement, of the others in their order, each once.

        `gamma` has no effect.
        """
        del gamma
        (N, L), (rows, count) = shape, self.columns.shape
        if rows != N:
            raise UserError(f"signal.file has {rows} rows, problem.N={N}: add problem.N={rows}")
        columns = jnp.asarray(self.columns)
        if self.part != PARTS[0]:
            return columns[:, : min(L, count)]
        return columns[:, jax.random.randint(key, (L,), 0, count)]

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        values = np.asarray(self.columns)
        values = values[values != 0]
        return jnp.asarray(values)[jax.random.randint(key, shape, 0, len(values))]

    def representatives(self, count: int, complex_values: bool = False) -> tuple[np.ndarray, np.ndarray]:
        values, counts = np.unique(self.columns[self.columns != 0], return_counts=True)
        if len(values) <= count:
            return values, counts / counts.sum()
        return super().representatives(count, complex_values)


def read(settings: FileSignal, gamma: float | None, is_complex: bool, N: int | None = None, seed: int = 0) -> Samples:
    """The signals of a file for x of length N; the seed decides which columns are training, selection and test.

    Raises UserError, which names the file, unless it has a matrix of numbers with N rows or N columns.
    """
    del gamma
    return _read(unchanged(Path(settings.file), "signal.file", settings.content), settings, is_complex, N, seed)


@lru_cache(maxsize=8)
def _read(digest: str, settings: FileSignal, is_complex: bool, N: int | None, seed: int) -> Samples:
    label = f"signal.file={settings.file}"
    try:
        array = _chosen(variables(Path(settings.file)), settings.name).read()
    except UnreadableError as error:
        raise UserError(f"{label} {error}") from error
    array = _oriented(array, N, label)
    if np.iscomplexobj(array) and not np.imag(array).any():
        array = np.real(array)
    is_complex = is_complex or np.iscomplexobj(array)
    with np.errstate(over="ignore"):
        array = array.astype(np.complex64 if is_complex else np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{label} holds NaN or infinity")
    parts = _split(array, settings.split, seed, label)
    return _fitted(parts, is_complex, f"{digest} {settings.split} {seed} {N}", label)


def _fitted(parts: dict[str, np.ndarray], is_complex: bool, digest: str, label: str) -> Samples:
    """The law of the training part, with its mixture."""
    training = parts[PARTS[0]]
    values = training[training != 0]
    if not values.size:
        raise UserError(f"{label} is zero in its training part")
    power, gamma = float(np.mean(np.abs(training.astype(np.complex128)) ** 2)), values.size / training.size
    weights, means, variances = fit_mixture(values[:: -(-values.size // FITTED)], COMPONENTS)
    return Samples(
        float(gamma),
        tuple(map(float, weights)),
        tuple(map(float, means)),
        tuple(map(float, variances)),
        is_complex,
        digest=digest,
        columns=training,
        others=tuple(parts.items()),
        counted=power,
    )


def _chosen(found: list[Variable], name: str | None) -> Variable:
    """The variable with the signals. Raises UnreadableError if that is not clear."""
    named = {variable.name: variable for variable in found if variable.name}
    listed = ", ".join(map(described, found[:8]))
    if name is not None:
        if name not in named:
            raise UnreadableError(f"has no array {name}{did_you_mean(name, named)}: it has {listed}")
        return named[name]
    matrices = [variable for variable in found if variable.kind == NUMBERS and len(variable.shape) == 2]
    if (x := named.get("x") or named.get("X")) in matrices and x is not None:
        return x
    if len(matrices) != 1:
        if not matrices:
            raise UnreadableError(f"has no matrix: it has {listed}")
        raise UnreadableError(f"has several matrices, {listed}, and none named x: add signal.name={matrices[0].name}")
    return matrices[0]


def _oriented(array: np.ndarray, N: int | None, label: str) -> np.ndarray:
    """The array with a column for each sample."""
    if array.ndim != 2:
        raise UserError(
            f"{label} must hold a matrix with a column for each sample, got an array of shape {array.shape}"
        )
    rows, columns = array.shape
    if N is None or rows == N:
        return array
    if columns == N:
        return array.T
    raise UserError(f"{label} is {rows} x {columns}, and problem.N={N} is neither: add problem.N={rows}")


def _split(array: np.ndarray, shares: tuple[float, ...], seed: int, label: str) -> dict[str, np.ndarray]:
    """The parts of the columns by name; no column is in two parts."""
    count = array.shape[1]
    key = jax.random.fold_in(jax.random.key(seed), SPLIT_KEY)
    order = np.asarray(jax.random.permutation(key, count))
    ends = np.round(np.cumsum(shares) * count).astype(int)
    found = dict(zip(PARTS, np.split(order, ends)[:3], strict=True))
    if empty := [name for name, part in found.items() if not part.size]:
        raise UserError(f"{label} has {count} samples, too few for signal.split={list(shares)}: no {empty[0]} sample")
    return {name: np.ascontiguousarray(array[:, part]) for name, part in found.items()}
