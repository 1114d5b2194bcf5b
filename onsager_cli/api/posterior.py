"""What a trained network knows of x beside its estimate: error levels, activity, mean and variance of a posterior."""

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.kinds.registry import implementation
from onsager_cli.kinds.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array

    from onsager_cli.networks.base import Network, Parameters
    from onsager_cli.problems import Problem
    from onsager_cli.shrinkage.family import Belief
    from onsager_cli.theory.beliefs import FittedPrior


class Estimate(NamedTuple):
    """What a network knows of x from y, in the user's units.

    x_hat is the estimate (N, L); sigma the standard deviation of the last shrinkage input's error (L,); activity
    P(x_n ≠ 0), of each user where a user has several coordinates, (users, L); mean and variance of the posterior (N, L).
    """

    x_hat: np.ndarray
    sigma: np.ndarray
    activity: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class Function(Protocol):
    """What a posterior asks of a trained network (`api.trained.Trained`)."""

    settings: Settings
    net: "Network"
    params: "Parameters"
    problem: "Problem"
    depth: int
    name: str

    @property
    def parts(self) -> int: ...

    @cached_property
    def reach(self) -> "Callable[..., tuple[Array, Array, Array | None]]": ...

    @cached_property
    def selection(self) -> tuple[np.ndarray, np.ndarray]: ...

    def finite(self, x_hat: np.ndarray, /) -> np.ndarray: ...


def posterior(trained: Function, y: np.ndarray) -> Estimate:
    """What the network knows of x from y (M, L). Raises UserError where it has no shrinkage."""
    from onsager_cli.theory.beliefs import activity

    x_hat, r, sigma = _reached(trained, y)
    found, level = _believed(trained, r, sigma)
    unit = _unit(trained)
    return Estimate(
        trained.finite(np.asarray(x_hat)), level / unit, np.asarray(activity(found, trained.parts)),
        np.asarray(found.mean) / unit, np.asarray(found.variance) / unit**2,
    )  # fmt: skip


def _reached(trained: Function, y: np.ndarray) -> "tuple[Array, Array, Array | None]":
    """x̂, r / c and σ / c of the last layer, of y (M, L); no σ where the family has parameters in units of x.

    What such a network hands to its shrinkage beside r is something else, such as the last estimate.
    """
    x_hat, r, sigma = trained.reach(trained.problem, trained.params, y)
    return x_hat, r, None if trained.settings.shrinkage.record.absolute else sigma


def _believed(trained: Function, r: "Array", sigma: "Array | None") -> "tuple[Belief, np.ndarray]":
    """What is known of x given r / c and σ / c, and σ of each sample (L,), in the coordinates of the network."""
    import jax.numpy as jnp

    kind, record = trained.settings.shrinkage.record, trained.settings.network.record
    if not (record.uses_shrinkage or record.shrinkages):
        raise UserError(f"{trained.name} has no shrinkage, so no σ and no posterior: use --what x")
    if sigma is None:
        prior = _fitted(trained)
        found = prior.belief(r, jnp.ones((1, r.shape[1]), r.real.dtype))
        return found, np.full(r.shape[1], np.sqrt(np.mean(prior.level**2)), np.float32)
    if kind.posterior and not trained.net.free_of_prior:
        make = implementation(kind, kind.posterior)
        if kind.of_signal:
            from onsager_cli.problems import signals

            make = make(signals.seen(trained.settings.problem, trained.settings.seed))
        theta = trained.net.spread(trained.net.layer(trained.params, trained.depth - 1)["theta"])
        found = make(r, sigma, theta)
    else:
        found = _fitted(trained).belief(r, sigma)
    return found, np.sqrt(np.mean(np.asarray(sigma) ** 2, axis=0))


_known: "WeakKeyDictionary[Function, FittedPrior]" = WeakKeyDictionary()


def _fitted(trained: Function) -> "FittedPrior":
    """A Bernoulli-Gaussian prior fitted to the last layer's inputs on the selection set, once for each network."""
    from onsager_cli.theory.beliefs import fitted

    if trained not in _known:
        x, y = trained.selection
        _, r, sigma = _reached(trained, y)
        level = np.ones((1, y.shape[1])) if sigma is None else np.asarray(sigma)
        _known[trained] = fitted(x * _unit(trained), np.asarray(r), level, trained.settings.problem.groups)
    return _known[trained]


def _unit(trained: Function) -> np.ndarray | float:
    """Unit of x in the coordinates of the network."""
    return 1.0 if trained.problem.frame is None else np.asarray(trained.problem.frame.unit)
