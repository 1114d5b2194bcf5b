"""Unfolded networks; each file holds one, with the classical algorithm that it is without training."""

import dataclasses

import numpy as np

from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.registry import implementation
from onsager_cli.kinds.settings import NetworkSettings
from onsager_cli.kinds.shrinkages import MINIMAX, ShrinkageSettings, in_unit
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.problems import signals
from onsager_cli.shrinkage import build as build_family
from onsager_cli.shrinkage.start import start

__all__ = ["Network", "Parameters", "begun", "build"]

LEAST_NOISE = 1e-12  # variance of the noise, as a share of E|x|²


def build(
    network: NetworkSettings,
    shrinkage: ShrinkageSettings,
    problem: ProblemSettings | None = None,
    seed: int = 0,
    starts: bool = True,
) -> Network:
    """The network that settings describe: an instance of the class that the record of its kind names.

    A field of that class gets the config key of its name, or what the record fixes; `seed` feeds a start that is
    drawn, `problem` has the groups of coordinates that share a row of θ. Without `starts`, θ need not fit the signal of the
    problem: the parameters of the network are known.
    """
    record, signal = network.record, None
    uses_shrinkage = record.uses_shrinkage or bool(record.shrinkages)
    if uses_shrinkage and problem is not None and problem.takes_signal:
        if shrinkage.record.of_signal or (starts and not shrinkage.rows):
            signal = signals.seen(problem, seed)
        if not starts:
            shrinkage = shrinkage if shrinkage.rows else dataclasses.replace(shrinkage, theta=shrinkage.record.start)
        elif signal is not None and not shrinkage.rows:
            shrinkage = dataclasses.replace(shrinkage, theta=begun(shrinkage, problem, signal))
        elif (unit := signals.unit(problem, seed)) != 1:
            rows = tuple(in_unit(shrinkage.record, row, unit) for row in shrinkage.rows)
            shrinkage = dataclasses.replace(shrinkage, theta=rows if shrinkage.by_group else rows[0])
    theta, groups = shrinkage.theta, ()
    if problem is not None and network.theta_per in ("group", "coordinate"):
        theta, groups = _rows(network, shrinkage, problem)
    values = {**{key: getattr(network, key) for key in record.keys}, **record.fixed, "seed": seed}
    values["parts"] = 1 if problem is None else problem.parts
    values["activity"] = None if problem is None else getattr(problem, "gamma", None)
    values["noise_of_each"] = problem is not None and problem.noise_varies
    if uses_shrinkage:
        of_signal = (signal,) if shrinkage.record.of_signal else ()
        values |= {"family": build_family(shrinkage.family, *of_signal), "theta": theta, "groups": groups}
    made = implementation(record)
    fields = {item.name for item in dataclasses.fields(made)}
    return made(**{name: value for name, value in values.items() if name in fields})


def begun(shrinkage: ShrinkageSettings, problem: ProblemSettings, signal: signals.Signal) -> tuple[float, ...]:
    """θ that the settings leave to the problem, fitted to its signal."""
    M, N = problem.shape
    assert M is not None  # problems that take signals know their size
    assert N is not None
    lowest = float(np.min(getattr(problem, "snr_db", 40.0)))  # for ‖A‖_F² = N, as networks see A
    noise = signal.power * N / M * 10 ** (-lowest / 10)
    if getattr(problem, "noise_variance", None) is not None:
        noise = LEAST_NOISE * signal.power  # settings do not know the scale of A; the errors of x are larger
    return start(shrinkage.family, signal, float(f"{noise:.6g}"), N / M, shrinkage.theta == MINIMAX)


def _rows(
    network: NetworkSettings, shrinkage: ShrinkageSettings, problem: ProblemSettings
) -> tuple[tuple[tuple[float, ...], ...] | tuple[float, ...], tuple[int, ...]]:
    """The start of θ and the row of it that each coordinate takes, as `network.theta_per` says."""
    of_group, N = problem.groups, problem.shape[1]
    if network.theta_per == "group":
        return shrinkage.theta, of_group
    assert N is not None  # config refuses a row for each coordinate where nobody knows how many there are
    one_each = shrinkage.by_group
    return tuple(shrinkage.theta[g] for g in of_group) if one_each else shrinkage.theta, tuple(range(N))
