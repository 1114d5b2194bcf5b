"""What an export asks of a trained network, and what it compares its own result with."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import nmse

if TYPE_CHECKING:
    from jax import Array

    from onsager_cli.networks import Network, Parameters
    from onsager_cli.problems import Problem


COMPARED = 100  # samples of the test set


class Model(Protocol):
    """A trained network of `depth` layers; `problem` and `params` are in the coordinates that it sees.

    Called, it gives x̂ (N, L) of y (M, L), both in the user's units. `users` is the problem in those units, with its
    test set. `nmse_db` is that of the test set, dB.
    """

    settings: Settings
    net: "Network"
    params: "Parameters"
    problem: "Problem"
    depth: int

    @property
    def nmse_db(self) -> float: ...

    @cached_property
    def users(self) -> "Problem": ...

    def __call__(self, y: np.ndarray) -> np.ndarray: ...


def function(model: Model, unrolled: bool = False) -> "Callable[[Array], Array]":
    """y (M, L) → x̂ (N, L) in the user's units, as a function that JAX traces; the parameters are constants of it.

    `unrolled`: layer after layer, for runtimes that have no loops.
    """
    import jax

    from onsager_cli.networks.layers import estimate_in_users_units, trace

    net, problem, depth = model.net, model.problem, model.depth
    params, precision = net.head(model.params, depth), model.settings.precision
    if not unrolled:
        return partial(estimate_in_users_units, net, problem, params, depth=depth, precision=precision)

    def estimate(y: "Array") -> "Array":
        seen = y if problem.frame is None else problem.frame.seen(y)
        _, inputs = trace(net, problem, params, seen, depth, precision)[-1]
        with jax.default_matmul_precision(precision):
            x_hat = net.shrink(net.layer(params, depth - 1), inputs, problem.columns).x_hat
        return x_hat if problem.frame is None else problem.frame.leave(x_hat)

    return estimate


def from_test_set(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """The test samples in the user's units, x (N, L) and y (M, L)."""
    return np.asarray(model.users.test.x), np.asarray(model.users.test.y)


def is_complex(model: Model) -> bool:
    """Whether measurements and estimates are complex."""
    return np.iscomplexobj(model.problem.A)


def nmse_db(model: Model, x_hat: np.ndarray, x: np.ndarray) -> float:
    """The NMSE of estimates x̂ (N, L) of x (N, L), dB, over the coordinates that the problem reports."""
    problem = model.users
    return nmse(np.asarray(problem.squared_norm(x_hat - x)), np.asarray(problem.squared_norm(x)))["nmse_db"]


def difference(x_hat: np.ndarray, reference: np.ndarray) -> float:
    """The largest error of a sample of x̂ (N, L), relative to the root mean square of the norms of the reference."""
    scale = np.sqrt(np.mean(np.sum(np.abs(reference) ** 2, axis=0)))
    return float(np.max(np.linalg.norm(x_hat - reference, axis=0)) / max(scale, np.finfo(np.float32).tiny))
