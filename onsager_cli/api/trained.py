"""A trained network as a function of measurements: estimates, error levels, and who is active."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.api.checks import in_float32, measurements, numbers, place
from onsager_cli.api.posterior import Estimate, posterior
from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.tables import Row
from onsager_cli.text import show

if TYPE_CHECKING:
    from jax import Array

    from onsager_cli.export import Exported
    from onsager_cli.networks.base import Network, Parameters
    from onsager_cli.problems import Problem


class Trained:
    """A network with its parameters, as a function of measurements in the user's units.

    `train`, `load` and `model` make it. `problem` and `params` are in the coordinates that the network sees
    (`problems.frame`); `whole` makes the problem with its selection set, which a fitted prior needs. `y_power` is the
    mean of |y_m|² on that set, None if it is not stored.
    """

    overflow = "the estimate overflows float32: scale y to the units of the training"

    def __init__(
        self, settings: Settings, net: "Network", params: "Parameters", problem: "Problem", depth: int,
        table: list[Row], name: str = "", whole: "Callable[[], Problem] | None" = None, y_power: float | None = None,
    ):  # fmt: skip
        self.settings, self.net, self.params, self.problem = settings, net, params, problem
        self.depth, self.table, self.name = depth, table, name or settings.network.name
        self._whole, self.y_power = whole or (lambda: problem), y_power

    @property
    def nmse_db(self) -> float:
        """The NMSE on the test set of its training, dB. Raises UserError if none is stored."""
        rows = {row["layer"]: row for row in self.table}
        layer = self.depth if self.settings.network.depth else None
        if layer not in rows:
            raise UserError(f"{self.name}: no NMSE of {self.depth} layers is stored")
        return rows[layer]["nmse_db"]

    def __repr__(self) -> str:
        level = f", {self.nmse_db:.2f} dB" if self.table else ""
        return f"<Trained {self.settings.network.name}, {self.depth} layers{level}>"

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N), as y and x̂ have them."""
        M, N = self.problem.A.shape
        return M, N

    @property
    def complex(self) -> bool:
        """Whether y and x̂ are complex."""
        return bool(np.iscomplexobj(self.problem.A))

    @property
    def stacks(self) -> bool:
        """Whether complex y may be given for the real embedding."""
        return self.settings.problem.embedding == "real"

    @property
    def parts(self) -> int:
        """Coordinates of one user or complex coefficient."""
        return self.settings.problem.parts

    @cached_property
    def _estimate(self) -> "Callable[..., Array]":
        import jax

        from onsager_cli.networks.layers import estimate_in_users_units

        return jax.jit(partial(estimate_in_users_units, self.net, depth=self.depth, precision=self.settings.precision))

    @cached_property
    def reach(self) -> "Callable[..., tuple[Array, Array, Array | None]]":
        """(problem, params, y) → x̂ (N, L) in the user's units, and r / c (N, L), σ / c of the last layer."""
        import jax

        from onsager_cli.networks.layers import last_layer

        return jax.jit(partial(last_layer, self.net, depth=self.depth, precision=self.settings.precision))

    @in_float32
    def __call__(self, y: ArrayLike) -> np.ndarray:
        """x̂ (N, L) of measurements y = A x + w, (M, L), each column is a sample; (N,) of one, (M,).

        In the real embedding, y and x̂ are [Re; Im], or both complex.

        Raises UserError for another shape, and for numbers that are not finite or complex where A is real.
        """
        columns, one, stacked = self._columns(y)
        x_hat = self.finite(np.asarray(self._estimate(self.problem, self.params, columns)))
        x_hat = unstacked(x_hat) if stacked else x_hat
        return x_hat[:, 0] if one else x_hat

    @in_float32
    def posterior(self, y: ArrayLike) -> Estimate:
        """x̂ with σ, activity, and mean and variance of the posterior, of measurements (M, L) or (M,).

        A family whose shrinkage belongs to a prior (bg, block, matched) has a posterior with the learned θ. For the
        others, a Bernoulli-Gaussian prior is fitted to r and σ of the last layer on the selection set. A network
        without σ (LISTA) has the fitted error for all samples.

        Raises UserError as a call does, and where the network has no shrinkage.
        """
        columns, one, stacked = self._columns(y)
        made = posterior(self, columns)
        if stacked:
            variance = made.variance[: len(made.variance) // 2] + made.variance[len(made.variance) // 2 :]
            made = made._replace(x_hat=unstacked(made.x_hat), mean=unstacked(made.mean), variance=variance)
        return Estimate(made.x_hat[:, 0], made.sigma[0], *(a[:, 0] for a in made[2:])) if one else made

    def strength(self, y: ArrayLike) -> np.ndarray:
        """|x̂| of each user, (users, L), of measurements (M, L). Raises UserError as a call does."""
        from onsager_cli.figures.detection import of_users

        columns, _, _ = self._columns(y)
        return of_users(np.asarray(self._estimate(self.problem, self.params, columns)), self.parts)

    def threshold(self, false_alarms: float) -> float:
        """The threshold of |x̂| of a user with this false-alarm rate on the selection set.

        Raises UserError where everybody is active.
        """
        from onsager_cli.figures.detection import of_users, threshold_of, warn_of_few

        if not 0 < false_alarms < 1:
            raise UserError(f"false_alarms must be above 0 and below 1, such as 0.01 for 1 %, got {show(false_alarms)}")
        x, y = self.selection
        inactive = of_users(x, self.parts) == 0
        if not inactive.any():
            raise UserError(f"{self.name}: all users are active on the selection set: there is nothing to detect")
        warn_of_few(int(inactive.sum()), false_alarms)
        return threshold_of(self.strength(y)[inactive], false_alarms)

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

    @cached_property
    def users(self) -> "Problem":
        """The problem of its training in the user's units, with selection and test set."""
        whole = self._whole()
        return whole if whole.original is None else whole.original

    @cached_property
    def selection(self) -> tuple[np.ndarray, np.ndarray]:
        """x (N, L) and y (M, L) of the selection set in the user's units."""
        x, y = (np.asarray(a) for a in self.users.selection)
        return x, y

    def _columns(self, y: ArrayLike) -> tuple[np.ndarray, bool, bool]:
        """y as columns in single precision, whether it was one sample, and whether complex y were stacked."""
        A, stacked = self.problem.A, self.stacks and np.iscomplexobj(y)
        if stacked:
            y = np.concatenate([np.real(y), np.imag(y)])
        given = measurements(y, A.shape[0], np.iscomplexobj(A))
        columns = given[:, None] if given.ndim == 1 else given
        with np.errstate(over="ignore"):
            columns = numbers(columns.astype(A.dtype), "y in single precision", "(M, L)", (2,)).astype(A.dtype)
        return columns, given.ndim == 1, stacked

    def finite(self, x_hat: np.ndarray) -> np.ndarray:
        """The same estimates. Raises UserError for one that is not finite."""
        if not np.isfinite(x_hat).all():
            raise UserError(self.overflow)
        return x_hat


def unstacked(x: np.ndarray) -> np.ndarray:
    """Complex numbers from [Re; Im]."""
    return x[: len(x) // 2] + 1j * x[len(x) // 2 :]
