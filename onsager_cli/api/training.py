"""Train and load networks."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.api.checks import in_float32, measurements, numbers, place, texts
from onsager_cli.api.inputs import NetworkSpec, SparseProblem, curve_of, override
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.curves import CurveFolder, MemoryFolder
from onsager_cli.text import show

if TYPE_CHECKING:
    from jax import Array

    from onsager_cli.export import Exported
    from onsager_cli.problems import Problem

Callback = Callable[[dict[str, object]], None]
"""Receives the events of a training."""


def ignore(event: dict[str, object]) -> None:
    """The callback of those who watch nothing."""
    del event


class Trained:
    """A network with its parameters, as a function of measurements in the user's units; made by `train` and `load`.

    `problem` and `params` are in the coordinates that the network sees (`problems.frame`).
    """

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

    def __repr__(self) -> str:
        return f"<Trained {self.settings.network.name}, {self.depth} layers, {self.nmse_db:.2f} dB>"

    @cached_property
    def _estimate(self) -> "Callable[..., Array]":
        import jax

        from onsager_cli.networks.layers import estimate_in_users_units

        return jax.jit(partial(estimate_in_users_units, self.net, depth=self.depth, precision=self.settings.precision))

    @in_float32
    def __call__(self, y: ArrayLike) -> np.ndarray:
        """x̂ (N, L) of measurements y = A x + w, (M, L), a sample to a column; (N,) of one, (M,).

        In the real embedding, y and x̂ are [Re; Im], or both complex.

        Raises UserError for another shape, and for numbers that are not finite or complex where A is real.
        """
        A, stacked = self.problem.A, self.settings.problem.embedding == "real" and np.iscomplexobj(y)
        if stacked:
            y = np.concatenate([np.real(y), np.imag(y)])
        given = measurements(y, A.shape[0], np.iscomplexobj(A))
        columns = given[:, None] if given.ndim == 1 else given
        with np.errstate(over="ignore"):
            columns = numbers(columns.astype(A.dtype), "y in single precision", "(M, L)", (2,)).astype(A.dtype)
        x_hat = np.asarray(self._estimate(self.problem, self.params, columns))
        if not np.isfinite(x_hat).all():
            raise UserError("the estimate overflows float32: y is far larger than the measurements of the training")
        if stacked:
            x_hat = x_hat[: len(x_hat) // 2] + 1j * x_hat[len(x_hat) // 2 :]
        return x_hat[:, 0] if given.ndim == 1 else x_hat

    @in_float32
    def export(self, to: str, folder: str | Path) -> "Exported":
        """Write the network in another format into `folder`, run what was written, and compare it with JAX.

        Args:
            to: numpy, onnx, torch, matlab or stablehlo.
            folder: created if missing.

        The files take y (M, L) and give x̂ (N, L), both in the user's units, linear. Raises UserError for an unknown
        format, a network that the format does not take, and files in the folder that onsager did not write.

        Example:
            >>> from onsager_cli import UserError, network, problem, train
            >>> small = problem("gaussian", N=40, M=20, selection_samples=100, test_samples=50)
            >>> lamp = train(network("lamp", "bg", depth=1), small, "fast", "training.lamp.steps=[20]")
            >>> made = lamp.export("numpy", "exported")
            >>> [path.name for path in made.files], made.difference < 1e-4
            (['README.md', 'lamp_tied_bg.py', 'lamp_tied_bg.npz'], True)
        """
        from onsager_cli.export import export

        return export(self, to, place(folder, "folder"))


@in_float32
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

    if not isinstance(network, NetworkSpec | str):
        raise UserError(f"network must be made by `network` or be an option's name, got {show(network)}")
    if not isinstance(problem, SparseProblem | str):
        raise UserError(f"problem must be made by `problem` or be an option's name, got {show(problem)}")
    if callback is not None and not callable(callback):
        raise UserError(f"callback must be a function of an event, got {show(callback)}")
    asked = NetworkSpec((f"network={network}",)) if isinstance(network, str) else network
    about = SparseProblem((f"problem={problem}",)) if isinstance(problem, str) else problem
    chosen = texts([] if schedule is None else [schedule], "schedule", "'fast'")
    words = [*about.overrides, *asked.overrides, *(f"training={name}" for name in chosen), *texts(overrides)]
    if folder is not None:
        if about.matrix is not None:
            raise UserError("a stored curve is found by its matrix file: write problem(matrix='A.npy') instead of A=…")
        if not isinstance(folder, str | Path):
            raise UserError(f"folder must be a path, got {show(folder)}")
        words.append(override("output", folder))
    curve = curve_of(words)
    if not curve.settings.trained:
        raise UserError(f"{curve.slug} does not learn: `experiment` draws it, and `recover` needs no training")
    report = callback or ignore
    if folder is not None:
        run.train(load_experiment(words), report)
        return Trained(curve.settings, curve.folder, run.problem_of(curve))
    arrays = about.arrays if about.has(curve) else run.in_users_units(curve, about.matrix)
    kept: dict[str, MemoryFolder] = {}
    for one in run.in_order([curve]):
        place = kept[one.key] = MemoryFolder(one.identity)
        maker = run.maker_of(one, report, place=lambda asked: kept[asked.key])
        run.make(one, maker, problem=run.seen_by(one.settings, arrays))
    return Trained(curve.settings, place, run.seen_by(curve.settings, arrays))


@in_float32
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

    curve = curve_of(overrides)
    settings = curve.settings
    if not settings.training.trains:
        raise UserError(f"{curve.slug} is not trained: there is no network to load")
    if depth_name(settings.depth) not in curve.folder.saved():
        raise UserError(
            f"{curve.slug}: no network of {settings.depth} layers is stored in {curve.output}: onsager train makes it"
        )
    return Trained(settings, curve.folder, problem_of(curve))
