"""A trained network as a function of measurements, for programs in Python.

    lamp = load("+experiment=fig10", "only=[lamp_tied_bg]")
    x_hat = lamp(y)

The words are those of the command that trained it.
"""

from functools import partial

import jax
import numpy as np
from jax.typing import ArrayLike

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.layers import estimate
from onsager_cli.problems import Problem
from onsager_cli.run import problem_of
from onsager_cli.training.networks_on_disk import depth_name, stored_network


class Trained:
    """A network and the problem that it was trained for."""

    def __init__(self, net: Network, problem: Problem, params: Parameters, depth: int, precision: str):
        self.net, self.problem, self.params, self.depth = net, problem, params, depth
        self._estimate = jax.jit(partial(estimate, net, depth=depth, precision=precision))

    def __call__(self, y: ArrayLike) -> np.ndarray:
        """x̂ (N, L) of measurements y = A x + w, (M, L), a sample to a column; (N,) of one, (M,).

        Raises UserError for another shape, and for numbers that are not finite or complex where A is real.
        """
        given, A = np.asarray(y), self.problem.A
        columns = given[:, None] if given.ndim == 1 else given
        if columns.ndim != 2 or len(columns) != len(A):
            raise UserError(f"y must have shape ({len(A)},) or ({len(A)}, samples), got {given.shape}")
        if not (np.issubdtype(given.dtype, np.number) and np.isfinite(given).all()):
            raise UserError("y must be finite numbers")
        if np.iscomplexobj(given) and not np.iscomplexobj(A):
            raise UserError(
                "y must be real, as A is: of complex ones the real parts, and the imaginary ones below"
            )
        x_hat = np.asarray(self._estimate(self.problem, self.params, columns.astype(A.dtype)))
        return x_hat[:, 0] if given.ndim == 1 else x_hat


def load(*overrides: str) -> Trained:
    """The network of one curve, found by the words of the command that trained it.

    `network.depth=T` takes the network of T layers. Raises UserError for a mistake in the words, where they name
    more than one curve, and for a network that is not stored.
    """
    experiment = load_experiment(list(overrides))
    curves = [curve for part in experiment.parts for curve in part.curves]
    if len(curves) != 1:
        raise UserError(f"one curve at a time: choose with only=[…] from {', '.join(c.slug for c in curves)}")
    (curve,) = curves
    settings = curve.settings
    if not settings.training.trains:
        raise UserError(f"{curve.slug} is not trained: there is no network to load")
    folder, depth = curve.folder, settings.depth
    if depth_name(depth) not in folder.saved():
        raise UserError(
            f"{curve.slug}: no network of {depth} layers is stored in {experiment.output}: onsager train makes it"
        )
    net, params = stored_network(settings, folder, depth)
    problem = problem_of(curve)
    return Trained(net, problem, params, depth, settings.precision)
