"""Networks under other conditions than those of their training: the NMSE on samples of another SNR, prior or matrix.

What a method is given there:

| method                              | its matrix                   | prior and noise             |
|-------------------------------------|------------------------------|-----------------------------|
| network with learned matrices       | that of its training         | as it was trained           |
| network in which θ alone learned    | that of the samples          | as it was trained           |
| algorithm that is told the truth    | that of the samples          | those of its own config     |
| EM-VAMP                             | that of the samples          | learned from the test samples |
| bound                               | that of the samples          | those of the samples        |

Where samples come from A + E (`problem.perturb_db`), the matrix of the samples is A, which all of them are given.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onsager_cli.config.elsewhere import Condition
from onsager_cli.config.experiment import Curve
from onsager_cli.figures.kinds import ProblemOf
from onsager_cli.kinds.registry import implementation
from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import nmse
from onsager_cli.store.tables import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array

    from onsager_cli.networks.base import Network, Parameters
    from onsager_cli.problems import Problem


@dataclass(frozen=True, eq=False)
class Method:
    """A network, an algorithm or a bound: its settings, and the problem of its training as it sees it.

    `net` and `params` are None for a bound, `params` for an algorithm, too.
    """

    name: str
    settings: Settings
    problem: "Problem"
    depth: int
    net: "Network | None" = None
    params: "Parameters | None" = None

    @property
    def keeps_matrix(self) -> bool:
        """Whether the matrices of the network are those of its training, wherever it is used."""
        return self.params is not None and self.settings.network.learn != ("theta",)


def method_of(curve: Curve, problem: "Problem") -> Method:
    """The stored curve as a method; `problem` is that of its training. Raises UserError if it is not stored whole."""
    from onsager_cli.training.curve import algorithm_of
    from onsager_cli.training.networks_on_disk import stored_network

    settings = curve.settings
    if settings.network.record.bound:
        return Method(curve.slug, settings, problem, 1)
    if not settings.training.trains:
        return Method(curve.slug, settings, problem, settings.depth, algorithm_of(settings, curve.folder))
    net, params = stored_network(settings, curve.folder, settings.depth)
    return Method(curve.slug, settings, problem, settings.depth, net, params)


def own_matrix(problem: "Problem") -> np.ndarray:
    """A (M, N) in the user's units of a problem as a network sees it."""
    if problem.original is not None:
        return np.asarray(problem.original.A)
    A, frame = np.asarray(problem.A), problem.frame
    if frame is None:
        return A
    rows, wide = np.asarray(frame.rows), A * np.ravel(frame.units)
    return (np.linalg.solve(rows, wide) if rows.ndim else wide / rows).astype(A.dtype)


def judged(method: Method, condition: Condition, problem_of: ProblemOf, A: np.ndarray | None = None) -> Row:
    """The NMSE (dB) of a method under a condition, in both meanings with standard errors, and the number of samples.

    `A` (M, N) in the user's units is the matrix of the samples where the condition keeps it. Raises UserError for
    samples that the network has no shape for.
    """
    settings = dataclasses.replace(method.settings, problem=condition.settings.problem, seed=condition.settings.seed)
    given = A if condition.same_matrix and hasattr(settings.problem, "ensemble") else None
    here = problem_of(Curve(method.name, settings), given)
    users = here.original or here
    x, y = users.test
    x_hat = estimated(method, here, x, y, condition.same_matrix)
    errors, powers = (np.asarray(users.squared_norm(a), np.float64) for a in (x_hat - np.asarray(x), x))
    found: Mapping[str, Any] = nmse(errors, powers, settings.problem.together)
    names = ("nmse_db", "nmse_db_se", "nmse_mean_ratio_db", "nmse_mean_ratio_db_se")
    return {**{name: found[name] for name in names}, "test_samples": int(np.asarray(x).shape[1])}


def estimated(method: Method, here: "Problem", x: "Array", y: "Array", same_matrix: bool) -> np.ndarray:
    """x̂ (N, L) from y (M, L), both in the user's units; `here` is the problem of the samples as the network sees it."""
    if method.net is None:
        bound = implementation(method.settings.network.record)
        if here.original is None:
            return np.asarray(bound(here, np.asarray(x), np.asarray(y)))
        return np.asarray(bound(here.original, np.asarray(x), np.asarray(y)))
    problem = method.problem if same_matrix or method.keeps_matrix else here
    return np.asarray(
        _program(method.net, method.depth, method.settings.precision)(problem, _parameters(method, problem, y), y)
    )


def _parameters(method: Method, problem: "Problem", y: "Array") -> "Parameters":
    """The parameters of a method on the measurements y in the user's units."""
    assert method.net is not None
    net, record = method.net, method.settings.network.record
    if method.params is not None and (method.keeps_matrix or problem is method.problem):
        return method.params
    if record.fit:
        seen = y if problem.frame is None else problem.frame.seen(y)
        return implementation(record, record.fit)(net, problem, seen, method.depth, method.settings.precision)
    told = dataclasses.replace(problem, noise_variance=method.problem.noise_variance)
    start = net.start(told, method.depth)
    return start if method.params is None else {**start, "theta": method.params["theta"][: method.depth]}


@lru_cache(maxsize=64)
def _program(net: "Network", depth: int, precision: str) -> "Callable[..., Array]":
    """The compiled estimate of a network."""
    import jax

    from onsager_cli.networks.layers import estimate_in_users_units

    return jax.jit(partial(estimate_in_users_units, net, depth=depth, precision=precision))
