"""What a training is of: problems and networks, by the options and keys of the config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.api.checks import in_float32, numbers, texts, whole
from onsager_cli.config.experiment import Curve
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import check_options, override, overrides_of, parse
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import GIVEN, Linear
from onsager_cli.store import matrix
from onsager_cli.store.matrix_remarks import remarks, warn
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.problems import Problem


@dataclass(frozen=True, eq=False)
class SparseProblem:
    """A problem y = A x + w; made by `problem`."""

    overrides: tuple[str, ...]
    matrix: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def _curve(self) -> Curve:
        return curve_of(["network=oracle", *self.overrides])

    def has(self, curve: Curve) -> bool:
        """Whether a curve is of this problem: further overrides may have changed it."""
        own, other = self._curve.settings, curve.settings
        return (own.problem, own.seed) == (other.problem, other.seed)

    @cached_property
    @in_float32
    def arrays(self) -> "Problem":
        """The problem as JAX arrays, with its selection and test sets."""
        from onsager_cli.run import in_users_units

        return in_users_units(self._curve, self.matrix)

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

    @in_float32
    def draw(self, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Fresh samples, x (N, samples) and y (M, samples); the same ones for the same seed.

        Raises UserError for a number of samples or a seed that there cannot be.
        """
        import jax

        samples, seed = whole(samples, "samples", 1, 10**8), whole(seed, "seed", 0, 2**32 - 1)
        x, y = self.arrays.sample(jax.random.key(seed), samples)
        return np.asarray(x), np.asarray(y)


@dataclass(frozen=True)
class NetworkSpec:
    """A network or an algorithm, with its shrinkage; made by `network`."""

    overrides: tuple[str, ...]


def problem(
    name: str = "gaussian",
    *,
    A: ArrayLike | None = None,
    signal: str | Mapping[str, object] | None = None,
    seed: int = 0,
    **keys: object,
) -> SparseProblem:
    """A problem: an option of `onsager list problems`, with keys of its config.

    Args:
        name: gaussian, kappa15, kappa100, random_access, massive_mimo, data, or an option of your own.
        A: a real or complex matrix (M, N) of your own, of any scale, instead of one that is drawn.
        signal: an option of `onsager list signals`, or a dictionary of its name and keys, {"name": "student_t", "dof": 4}.
        seed: of the matrix and of all samples.
        keys: such as N, M, gamma, snr_db; a group of keys is a dictionary (`channel={"paths": 3}`). `matrix` is the
            path of a file with A, `matrix_name` the name of its array. `problem("data", file="set.npz")` has recorded
            pairs.

    Raises UserError for an unknown name or key, a value that is not allowed, and an A that is not finite or
    has a column of zeros. Warns of an A without full rank, and of columns that are proportional or of very different
    norms.

    Example:
        >>> from onsager_cli import problem
        >>> small = problem("gaussian", N=40, M=20, test_samples=50)
        >>> small.A.shape, small.test[0].shape
        ((20, 40), (40, 50))
    """
    words, given = (f"problem={name}", *_signal(signal), override("seed", seed)), None
    if A is not None:
        asked = curve_of(["network=oracle", *words, *overrides_of("problem", keys)]).settings.problem
        if asked.file is not None:
            raise UserError(f"problem={name} has A in its file, or estimates it: leave A out")
        if not isinstance(asked, Linear):
            raise UserError(f"problem={name} takes pilots from a file: write matrix='pilots.npy', and leave A out")
        if asked.matrix is not None or asked.ensemble not in (None, "gaussian"):
            raise UserError(f"A and {'matrix' if asked.matrix else 'ensemble'} both set A: leave one out")
        given = numbers(A, "A", "(M, N)", (2,))
        keys = {"M": given.shape[0], "N": given.shape[1], **keys, "ensemble": GIVEN}
        if np.iscomplexobj(given) and np.imag(given).any():
            keys = {"embedding": "complex", **keys}
    made = SparseProblem((*words, *overrides_of("problem", keys)))
    shape = made._curve.settings.problem.matrix_shape  # composed here, so that mistakes in keys show at once
    if given is None:
        return made
    own = matrix.checked(given, "A", shape)
    warn(remarks(own), "A")
    return SparseProblem(made.overrides, own)


def _signal(signal: str | Mapping[str, object] | None) -> list[str]:
    """The overrides of a signal. Raises UserError for what is no name of one."""
    if signal is None:
        return []
    keys = {"name": signal} if isinstance(signal, str) else dict(signal)
    if not isinstance(name := keys.pop("name", None), str):
        raise UserError(f"signal must be a name, or a dictionary with a name, got {show(signal)}")
    return [f"signal={name}", *overrides_of("signal", keys)]


def network(name: str = "lamp", shrinkage: str | None = None, *, theta: object = None, **keys: object) -> NetworkSpec:
    """A network or an algorithm: an option of `onsager list networks`, with keys of its config.

    Args:
        name: lamp, lista, lvamp, lvamp_gh, cnn; amp, vamp, ista, fista, em_vamp; oracle, lmmse; or an option of your own.
        shrinkage: an option of `onsager list shrinkages`; None: the network's own.
        theta: start of the shrinkage parameters, in the paper's order.
        keys: such as depth, tied; `train` checks them.

    Raises UserError for an unknown option.

    Example:
        >>> from onsager_cli import network
        >>> network("lamp", "pwlin", depth=4, tied=False).overrides
        ('network=lamp', 'shrinkage=pwlin', 'network.depth=4', 'network.tied=false')
    """
    chosen = () if shrinkage is None else (f"shrinkage={shrinkage}",)
    start = {} if theta is None else {"theta": theta}
    check_options(parse([f"network={name}", *chosen]))
    return NetworkSpec((f"network={name}", *chosen, *overrides_of("network", keys), *overrides_of("shrinkage", start)))


def curve_of(overrides: Sequence[str]) -> Curve:
    """The one curve that overrides ask for; UserError if there are more."""
    curves = [curve for part in load_experiment(texts(overrides)).parts for curve in part.curves]
    slugs = list(dict.fromkeys(curve.slug for curve in curves))
    if len(slugs) > 1:
        raise UserError(f"one curve at a time: choose with only=[…] from {', '.join(slugs)}")
    if len(curves) > 1:
        raise UserError(f"one curve at a time: {slugs[0]} has {len(curves)} seeds, leave seeds out and set seed")
    return curves[0]
