"""Automatic damping: an algorithm as it is wherever it converges, else with the least damping that makes it converge.

The selection set decides, the test set decides nothing. A run of at most TRIAL iterations is steady if its errors are finite and
end at most STEADY_DB above their lowest NMSE. The undamped algorithm is taken if it is steady and ends at most WORSE_DB
above the one with the damping PROBE. Else each weight of LADDER is tried, and the first is taken that is steady and ends
at most WORSE_DB above the best of them. If none is steady, it is the one that ends lowest.
"""

import dataclasses
from typing import Unpack

import jax
import numpy as np

from onsager_cli.metrics import to_db
from onsager_cli.networks.base import Network
from onsager_cli.networks.damping import AUTO
from onsager_cli.networks.layers import squared_errors
from onsager_cli.problems.base import Problem
from onsager_cli.theory.iterate import How, iterate

LADDER = (0.8, 0.6, 0.4, 0.25)  # weights of the new state
PROBE = 0.6
TRIAL = 40  # iterations
SAMPLES = 1000  # of the selection set
STEADY_DB = 0.5
WORSE_DB = 1.0


def settled(net: Network, problem: Problem, depth: int, precision: str = "highest", **how: Unpack[How]) -> Network:
    """The network with its damping decided on the selection set, if that is automatic; else the network itself.

    The trial has as many iterations as there are asked for (`depth`), at most TRIAL.
    """
    depth = min(depth, TRIAL)
    if getattr(net, "damping", None) != AUTO:
        return net
    plain, found = _with(net, None), {}
    undamped = _levels(plain, problem, depth, precision, **how)
    if _is_steady(undamped):
        found[PROBE] = _levels(_with(net, PROBE), problem, depth, precision, **how)
        if not undamped[-1] > found[PROBE][-1] + WORSE_DB:  # NaN: the damped one has diverged
            return plain
    for weight in LADDER:
        if weight not in found:
            found[weight] = _levels(_with(net, weight), problem, depth, precision, **how)
    best = min((levels[-1] for levels in found.values() if _is_steady(levels)), default=np.nan)
    for weight in LADDER:
        if _is_steady(found[weight]) and found[weight][-1] <= best + WORSE_DB:
            return _with(net, weight)
    ends = {None: undamped[-1], **{weight: levels[-1] for weight, levels in found.items()}}
    finite = {weight: end for weight, end in ends.items() if np.isfinite(end)}
    return _with(net, min(finite, key=lambda weight: finite[weight])) if finite else plain


def damping_of(net: Network) -> float | None:
    """The weight of the new state in a network whose damping is a number; None if it has none."""
    damping = getattr(net, "damping", None)
    return float(damping) if isinstance(damping, float | int) else None


def _with(net: Network, damping: float | None) -> Network:
    return dataclasses.replace(net, damping=damping)  # type: ignore[call-arg]


def _is_steady(levels: np.ndarray) -> bool:
    """Whether a run converges, by its NMSE (dB) after each iteration."""
    return bool(np.isfinite(levels).all() and levels[-1] <= np.min(levels) + STEADY_DB)


def _levels(net: Network, problem: Problem, depth: int, precision: str, **how: Unpack[How]) -> np.ndarray:
    """The NMSE (dB) on the selection set after each iteration of a trial; one NaN more if it overflows."""
    x, y = (a[:, :SAMPLES] for a in problem.selection)
    if learn := how.get("learn"):
        params = learn(net, problem, y, depth, precision)
        with jax.default_matmul_precision(precision):
            errors = np.asarray(jax.jit(squared_errors, static_argnums=0)(net, problem, params, x, y, depth))
    else:
        errors = iterate(net, problem, net.layer(net.start(problem, 1), 0), x, y, depth, precision)
    power = np.sum(np.asarray(problem.squared_norm(x), np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        levels = to_db(np.sum(np.asarray(errors, np.float64), axis=1) / power)
    return levels if len(errors) == depth else np.append(levels, np.nan)
