"""The Python API: problems, networks, training, recovery, figures and claims, for notebooks and programs.

Names are the options of the command line (`onsager list`), and keyword arguments are keys of the config, so
`problem("kappa15", snr_db=30)` is `problem=kappa15 problem.snr_db=30`. Samples are columns: x (N, L), y (M, L).
A mistake raises `UserError`, whose message is one line.

`callback` receives the events of a training, one dictionary each. `event` names it, and every event of one curve has
its name in `curve`. Losses are NMSEs in dB; more keys may follow.

| event      | when                                | keys                                                       |
|------------|-------------------------------------|------------------------------------------------------------|
| curve      | a curve begins or resumes           | index, of, work, resumed_from                              |
| stage      | a stage of its plan begins          | stage, index, of, steps, depth, rate, work                 |
| eval       | the selection set was looked at     | stage, step, nmse_db, best_db, seconds                     |
| bootstrap  | an untied network met its tied twin | stage, own_db, tied_db, taken                              |
| point      | a depth is done, on the test set    | layer, nmse_db, steps, seconds                             |
| warning    | something a user should know        | message                                                    |
| curve_done | the curve is done                   | seconds, shared (true if it was stored already)            |
| figure     | an experiment begins                | name, curves, needs, work                                  |
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.claims import verify as claims
from onsager_cli.claims.claim import Verdict
from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import Linear
from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import nmse as statistics_of
from onsager_cli.store.curves import CurveFolder, MemoryFolder
from onsager_cli.store.tables import Row, read_table

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

Callback = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class SparseProblem:
    """A problem y = A x + w; made by `problem`."""

    overrides: tuple[str, ...]
    seed: int = 0
    matrix: np.ndarray | None = field(default=None, compare=False)

    @cached_property
    def arrays(self) -> "Problem":
        """The problem as JAX arrays, with its selection and test sets."""
        from onsager_cli.problems import build

        settings = _curve(["network=oracle", *self.overrides]).settings.problem
        return build(settings, self.seed, self.matrix)

    @property
    def A(self) -> np.ndarray:
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


class Trained:
    """A network with its parameters, as a function of measurements; made by `train` and `load`."""

    def __init__(self, settings: Settings, folder: CurveFolder, problem: "Problem", depth: int | None = None):
        from onsager_cli.training.networks_on_disk import stored_network

        self.settings, self.problem, self.depth = settings, problem, depth or settings.depth
        self.net, self.params = stored_network(settings, folder, self.depth)
        self.table = folder.points()

    @property
    def nmse_db(self) -> float:
        """The NMSE on the test set, dB."""
        rows = {row["layer"]: row for row in self.table}
        return rows[self.depth if self.settings.network.depth else None]["nmse_db"]

    @cached_property
    def _estimate(self) -> Callable[..., Any]:
        from functools import partial

        import jax

        from onsager_cli.networks.layers import estimate

        return jax.jit(partial(estimate, self.net, depth=self.depth, precision=self.settings.precision))

    def __call__(self, y: ArrayLike) -> np.ndarray:
        """x̂ (N, L) of measurements y = A x + w, (M, L), a sample to a column; (N,) of one, (M,).

        Raises UserError for another shape, and for numbers that are not finite or complex where A is real.
        """
        A = self.problem.A
        given = _measurements(y, A.shape[0], np.iscomplexobj(A))
        columns = given[:, None] if given.ndim == 1 else given
        x_hat = np.asarray(self._estimate(self.problem, self.params, columns.astype(A.dtype)))
        return x_hat[:, 0] if given.ndim == 1 else x_hat


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
    made = SparseProblem((f"problem={name}", *_overrides("problem", keys), f"seed={seed}"), seed, matrix)
    settings = _curve(["network=oracle", *made.overrides]).settings.problem
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
    return NetworkSpec((f"network={name}", *chosen, *_overrides("network", keys), *_overrides("shrinkage", start)))


def train(
    network: NetworkSpec | str,
    problem: SparseProblem | str = "gaussian",
    schedule: str | None = None,
    *overrides: str,
    folder: str | Path | None = None,
    callback: Callback | None = None,
) -> Trained:
    """Train a network layer by layer and return it. Without `folder`, nothing is written or read.

    Args:
        network: made by `network`, or the name of an option.
        problem: made by `problem`, or the name of an option.
        schedule: an option of `onsager list schedules`; None: that of the network, which is fast if it learns.
        overrides: more of the config, such as "training.lamp.steps=[100]".
        folder: the store of the command line (`outputs`). A curve that it holds is not trained again.
        callback: receives the events (see the module's table).

    The networks have the bits of `onsager train`. Raises UserError for a mistake, DivergedError if training gives up.

    Example:
        >>> from onsager_cli import network, problem, train
        >>> small = problem("gaussian", N=40, M=20, selection_samples=100, test_samples=50)
        >>> steps = "training.lamp.steps=[20]"
        >>> events = []
        >>> lamp = train(network("lamp", "bg", depth=2), small, "fast", steps, callback=events.append)
        >>> [event["layer"] for event in events if event["event"] == "point"]
        [1, 2]
        >>> x, y = small.test
        >>> lamp(y).shape
        (40, 50)
    """
    from onsager_cli import run

    asked = network if isinstance(network, NetworkSpec) else NetworkSpec((f"network={network}",))
    about = problem if isinstance(problem, SparseProblem) else SparseProblem((f"problem={problem}",))
    words = [*about.overrides, *asked.overrides, *([f"training={schedule}"] if schedule else []), *overrides]
    if folder is not None:
        if about.matrix is not None:
            raise UserError("a stored curve is found by its matrix file: write problem(matrix='A.npy') instead of A=…")
        words.append(_override("output", str(folder)))
    curve = _curve(words)
    if not curve.settings.trained:
        raise UserError(f"{curve.slug} does not learn: apply it with `run.make`, or draw it with `experiment`")
    report = callback or (lambda event: None)
    if folder is not None:
        run.train(load_experiment(words), report)
        return Trained(curve.settings, curve.folder, run.problem_of(curve))
    kept: dict[str, MemoryFolder] = {}
    for one in run.in_order([curve]):
        place = kept[one.key] = MemoryFolder(one.identity)
        maker = run.maker_of(one, report, folder=lambda asked: kept[asked.key])
        run.make(one, maker, built=about.arrays)
    return Trained(curve.settings, place, about.arrays)


def load(*overrides: str) -> Trained:
    """The trained network of one curve, found by the overrides of the command that trained it.

    `network.depth=T` takes the network of T layers. Raises UserError for a mistake in the overrides, where they name
    more than one curve, and for a network that is not stored.

    Example:
        >>> from onsager_cli import UserError, load
        >>> try:
        ...     lamp = load("+experiment=fig10", "only=[lamp_tied_bg]", "output=nowhere")
        ... except UserError as error:
        ...     print(error)
        lamp_tied_bg: no network of 15 layers is stored in nowhere: onsager train makes it
    """
    from onsager_cli.run import problem_of
    from onsager_cli.training.networks_on_disk import depth_name

    curve = _curve(overrides)
    settings = curve.settings
    if not settings.training.trains:
        raise UserError(f"{curve.slug} is not trained: there is no network to load")
    if depth_name(settings.depth) not in curve.folder.saved():
        raise UserError(
            f"{curve.slug}: no network of {settings.depth} layers is stored in {curve.output}: onsager train makes it"
        )
    return Trained(settings, curve.folder, problem_of(curve))


def recover(y: ArrayLike, A: ArrayLike, iterations: int = 20, noise_variance: float | None = None) -> np.ndarray:
    """Estimate sparse x from y = A x + w by EM-VAMP, which learns the prior (and the noise) from y. No training.

    Args:
        y: (M, L), a sample to a column, or (M,); real or complex as A. The samples share one prior.
        A: (M, N).
        iterations: at most some tens are needed where A is well conditioned.
        noise_variance: σ_w² per entry of w, linear; None: it is learned, too.

    Returns x̂ (N, L), or (N,). Reference: Fletcher and Schniter (2017), the paper's [25].
    Raises UserError for shapes that do not fit and numbers that are not finite.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import nmse, recover
        >>> rng = np.random.default_rng(0)
        >>> A = rng.normal(size=(100, 200)) / 10
        >>> x = rng.normal(size=(200, 20)) * (rng.uniform(size=(200, 20)) < 0.1)
        >>> y = A @ x + 0.01 * rng.normal(size=(100, 20))
        >>> bool(nmse(recover(y, A), x) < -25)
        True
    """
    import jax.numpy as jnp

    from onsager_cli import shrinkage
    from onsager_cli.networks.layers import estimate
    from onsager_cli.problems.base import Problem, Samples
    from onsager_cli.theory import em_vamp

    matrix = np.asarray(A)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise UserError(f"A must be finite numbers of shape (M, N), got shape {matrix.shape}")
    dtype = jnp.complex64 if np.iscomplexobj(matrix) else jnp.float32
    given = _measurements(y, matrix.shape[0], np.iscomplexobj(matrix))
    columns = jnp.asarray(given[:, None] if given.ndim == 1 else given, dtype)
    N = matrix.shape[1]
    samples = Samples(jnp.zeros((N, columns.shape[1]), dtype), columns)
    known = noise_variance is not None
    variance = jnp.float32(noise_variance if known else 1.0)
    law = Problem(jnp.asarray(matrix, dtype), variance, samples, samples, _no_draw)
    if known:
        energy = float(jnp.mean(jnp.abs(columns) ** 2)) - float(variance)
        power = max(energy, 1e-12) * len(matrix) / float(np.sum(np.abs(matrix) ** 2))
        law = law.replace(mean_power=jnp.float32(power))  # type: ignore[attr-defined]
    net = em_vamp.network(shrinkage.build("bg"), known_noise=known)
    params = em_vamp.learn(net, law, columns, iterations)
    x_hat = np.asarray(estimate(net, law, params, columns, iterations))
    return x_hat[:, 0] if given.ndim == 1 else x_hat


def nmse(x_hat: ArrayLike, x: ArrayLike, mean_ratio: bool = False) -> float:
    """The NMSE of estimates x̂ (N, L) of x (N, L), dB: the ratio of sums, or the mean of the samples' ratios.

    Raises UserError for shapes that differ, ValueError if every sample is zero.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import nmse
        >>> float(round(nmse(np.full((4, 2), 0.9), np.ones((4, 2))), 3))
        -20.0
    """
    a, b = (np.atleast_2d(np.asarray(item).T).T for item in (x_hat, x))
    if a.shape != b.shape:
        raise UserError(f"x_hat and x must have one shape, got {np.shape(x_hat)} and {np.shape(x)}")
    found = statistics_of(np.sum(np.abs(a - b) ** 2, axis=0), np.sum(np.abs(b) ** 2, axis=0))
    return found["nmse_mean_ratio_db" if mean_ratio else "nmse_db"]


class Figure:
    """An experiment: its curves, its table, training and drawing; made by `experiment`."""

    def __init__(self, asked: Experiment):
        self.experiment = asked

    @property
    def curves(self) -> list[str]:
        """The names of the curves."""
        return list(dict.fromkeys(curve.slug for part in self.experiment.parts for curve in part.curves))

    def train(self, callback: Callback | None = None) -> None:
        """Train what the store lacks. Raises DivergedError, last, for a curve that was given up."""
        from onsager_cli import run

        for part in self.experiment.parts:
            run.train(part, callback or (lambda event: None))

    def plot(self) -> list[Path]:
        """Write the table and draw the figure from what is stored; the files. Raises UserError if nothing is."""
        from onsager_cli import run

        return [path for part in self.experiment.parts for path in run.plot(part)[0]]

    def table(self) -> list[Row]:
        """The stored points, a dictionary each (columns as in curves.csv)."""
        from onsager_cli import run

        return [row for part in self.experiment.parts for row in run.rows_of(part)]

    def recorded(self, folder: str | Path = "experiments") -> list[Row]:
        """The points of the published record. Raises UserError if there are none."""
        paths = [Path(folder) / part.name / "curves.csv" for part in self.experiment.parts]
        for path in paths:
            if not path.is_file():
                raise UserError(f"{path}: nothing is recorded there")
        return [row for path in paths for row in read_table(path)]


def experiment(*overrides: str) -> Figure:
    """A figure, by the overrides of the command line.

    Raises UserError for a mistake in them.

    Example:
        >>> from onsager_cli import experiment
        >>> experiment("+experiment=quick").curves
        ['amp_l1', 'lista_tied', 'lamp_tied_l1', 'lamp_tied_bg', 'oracle']
    """
    return Figure(load_experiment(overrides))


def verify(*names: str, folder: str | Path = claims.FOLDER) -> list[Verdict]:
    """The verdicts on recorded tables, of all claims or of those about the experiments and claims named.

    Raises UserError for a folder or a name that there is not.

    Example:
        >>> from onsager_cli import UserError, verify
        >>> try:
        ...     verify(folder="nowhere")
        ... except UserError as error:
        ...     print(error)
        --folder: there is no folder 'nowhere'
    """
    return claims.verify(Path(folder), names)


def _curve(overrides: Sequence[str]) -> Curve:
    """The one curve that overrides ask for; UserError if there are more."""
    curves = [curve for part in load_experiment(list(overrides)).parts for curve in part.curves]
    if len(curves) != 1:
        raise UserError(f"one curve at a time: choose with only=[…] from {', '.join(c.slug for c in curves)}")
    return curves[0]


def _overrides(group: str, keys: Mapping[str, object]) -> list[str]:
    found = []
    for key, value in keys.items():
        name = f"{group}.{key}"
        found += _overrides(name, value) if isinstance(value, Mapping) else [_override(name, value)]
    return found


def _override(key: str, value: object) -> str:
    plain = value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value
    if isinstance(plain, Path):
        plain = str(plain)
    return f"{key}={json.dumps(plain, ensure_ascii=False)}"


def _measurements(y: ArrayLike, M: int, complex_allowed: bool) -> np.ndarray:
    """y as an array, (M, L) or (M,). Raises UserError for anything else."""
    given = np.asarray(y)
    if given.ndim not in (1, 2) or given.shape[0] != M:
        raise UserError(f"y must have shape ({M},) or ({M}, samples), got {given.shape}")
    if not (np.issubdtype(given.dtype, np.number) and np.isfinite(given).all()):
        raise UserError("y must be finite numbers")
    if np.iscomplexobj(given) and not complex_allowed:
        raise UserError("y must be real, as A is: of complex ones the real parts, and the imaginary ones below")
    return given


def _no_draw(problem: "Problem", key: object, batch: int) -> Any:
    raise NotImplementedError("measurements from outside have no law to draw from")
