"""What a training is of: problems and networks, by the options and keys of the config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.config.experiment import Curve
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import Linear

if TYPE_CHECKING:
    from onsager_cli.problems import Problem


@dataclass(frozen=True)
class SparseProblem:
    """A problem y = A x + w; made by `problem`."""

    overrides: tuple[str, ...]
    seed: int = 0
    matrix: np.ndarray | None = field(default=None, compare=False)

    @cached_property
    def arrays(self) -> "Problem":
        """The problem as JAX arrays, with its selection and test sets."""
        from onsager_cli.run import problem_of

        return problem_of(curve_of(["network=oracle", *self.overrides]), self.matrix)

    @property
    def A(self) -> np.ndarray:  # noqa: N802
        """The matrix that networks are given, (M, N)."""
        return np.asarray(self.arrays.A)

    @property
    def noise_variance(self) -> float:
        """σ_w² per entry of w, linear."""
        return float(self.arrays.noise_variance)

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        """The test samples, x (N, L) and y (M, L)."""
        x, y = self.arrays.test
        return np.asarray(x), np.asarray(y)

    def draw(self, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Fresh samples, x (N, samples) and y (M, samples); the same ones for the same seed."""
        import jax

        x, y = self.arrays.sample(jax.random.key(seed), samples)
        return np.asarray(x), np.asarray(y)


@dataclass(frozen=True)
class NetworkSpec:
    """A network or an algorithm, with its shrinkage; made by `network`."""

    overrides: tuple[str, ...]


def problem(name: str = "gaussian", *, A: ArrayLike | None = None, seed: int = 0, **keys: object) -> SparseProblem:
    """A problem: an option of `onsager list problems`, with keys of its config.

    Args:
        name: gaussian, kappa15, kappa100, random_access, massive_mimo, or one of your own.
        A: a real matrix (M, N) of your own, instead of one that is drawn. The SNR means ‖A‖_F² = N.
        seed: of the matrix and of all samples.
        keys: such as N, M, gamma, snr_db; a group of keys is a dictionary (`channel={"paths": 3}`).

    Raises UserError for a name or a key that there is not, and a value that is not allowed.

    Example:
        >>> from onsager_cli import problem
        >>> small = problem("gaussian", N=40, M=20, test_samples=50)
        >>> small.A.shape, small.test[0].shape
        ((20, 40), (40, 50))
    """
    matrix = None
    if A is not None:
        matrix = np.asarray(A, np.float32)
        if matrix.ndim != 2:
            raise UserError(f"A must have shape (M, N), got {matrix.shape}")
        keys = {"M": matrix.shape[0], "N": matrix.shape[1], **keys}
    made = SparseProblem((f"problem={name}", *overrides_of("problem", keys), f"seed={seed}"), seed, matrix)
    settings = curve_of(["network=oracle", *made.overrides]).settings.problem
    if matrix is not None and not isinstance(settings, Linear):
        raise UserError(f"problem={name} draws its own matrix: leave A out")
    return made


def network(
    name: str = "lamp", shrinkage: str | None = None, *, theta: Sequence[object] | None = None, **keys: object
) -> NetworkSpec:
    """A network or an algorithm: an option of `onsager list networks`, with keys of its config.

    Args:
        name: lamp, lista, lvamp, lvamp_gh, cnn; amp, vamp, ista, fista, em_vamp; oracle, lmmse; or one of your own.
        shrinkage: an option of `onsager list shrinkages`; None: the network's own.
        theta: start of the shrinkage parameters, in the paper's order.
        keys: such as depth, tied.

    Example:
        >>> from onsager_cli import network
        >>> network("lamp", "pwlin", depth=4, tied=False).overrides
        ('network=lamp', 'shrinkage=pwlin', 'network.depth=4', 'network.tied=false')
    """
    chosen = () if shrinkage is None else (f"shrinkage={shrinkage}",)
    start = {} if theta is None else {"theta": list(theta)}
    return NetworkSpec((f"network={name}", *chosen, *overrides_of("network", keys), *overrides_of("shrinkage", start)))


def curve_of(overrides: Sequence[str]) -> Curve:
    """The one curve that overrides ask for; UserError if there are more."""
    curves = [curve for part in load_experiment(list(overrides)).parts for curve in part.curves]
    if len(curves) != 1:
        raise UserError(f"one curve at a time: choose with only=[…] from {', '.join(c.slug for c in curves)}")
    return curves[0]


def overrides_of(group: str, keys: Mapping[str, object]) -> list[str]:
    found = []
    for key, value in keys.items():
        name = f"{group}.{key}"
        found += overrides_of(name, value) if isinstance(value, Mapping) else [override(name, value)]
    return found


def override(key: str, value: object) -> str:
    plain = value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value
    if isinstance(plain, Path):
        plain = str(plain)
    return f"{key}={json.dumps(plain, ensure_ascii=False)}"
