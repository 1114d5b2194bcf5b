"""Unfolded networks; each file holds one, with the classical algorithm that it is without training."""

import dataclasses

from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.registry import implementation
from onsager_cli.kinds.settings import NetworkSettings, ShrinkageSettings
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.shrinkage import build as build_family

__all__ = ["Network", "Parameters", "build"]


def build(
    network: NetworkSettings, shrinkage: ShrinkageSettings, problem: ProblemSettings | None = None, seed: int = 0
) -> Network:
    """The network that settings describe: an instance of the class that the record of its kind names.

    A field of that class gets the config key of its name, or what the record fixes; `seed` feeds a start that is
    drawn, `problem` has the groups of coordinates that share a row of θ.
    """
    record, theta, groups = network.record, shrinkage.theta, ()
    if problem is not None and network.theta_per in ("group", "coordinate"):
        theta, groups = _rows(network, shrinkage, problem)
    values = {**{key: getattr(network, key) for key in record.keys}, **record.fixed, "seed": seed}
    values["parts"] = 1 if problem is None else problem.parts
    if record.uses_shrinkage or record.shrinkages:
        values |= {"family": build_family(shrinkage.family), "theta": theta, "groups": groups}
    made = implementation(record)
    fields = {item.name for item in dataclasses.fields(made)}
    return made(**{name: value for name, value in values.items() if name in fields})


def _rows(
    network: NetworkSettings, shrinkage: ShrinkageSettings, problem: ProblemSettings
) -> tuple[tuple[tuple[float, ...], ...] | tuple[float, ...], tuple[int, ...]]:
    """The start of θ and the row of it that each coordinate takes, as `network.theta_per` says."""
    of_group, N = problem.groups, problem.shape[1]
    if network.theta_per == "group":
        return shrinkage.theta, of_group
    assert N is not None  # config refuses a row for each coordinate where nobody knows how many there are
    one_each = isinstance(shrinkage.theta[0], tuple)
    return tuple(shrinkage.theta[g] for g in of_group) if one_each else shrinkage.theta, tuple(range(N))
