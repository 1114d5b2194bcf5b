"""ISTA, FISTA, AMP and VAMP for thousands of iterations: the layer of an untrained network, repeated (Fig. 1).

| symbol | name                                                                  | equation |
|--------|-----------------------------------------------------------------------|----------|
| λ      | weight of the l1 norm in the LASSO that all of them minimize          | (3)      |
| α      | threshold of AMP-l1 and VAMP-l1 in units of σ; 1.1402 is minimax      | (9)      |
| τ      | ‖v‖/√M at AMP's fixed point                                           | (12)     |
| b      | Onsager coefficient there                                             | (8)      |
| β      | step size of ISTA and FISTA, 1/(1.01 ‖A‖²)                            | (4)      |

AMP-l1's fixed point solves the LASSO with λ = α τ (1 - b), and VAMP-l1's the LASSO with λ = α σ_w² / σ. Each realization
has its own λ.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli import shrinkage
from onsager_cli.errors import UserError
from onsager_cli.kinds.thinning import DENSE
from onsager_cli.metrics import to_db
from onsager_cli.networks.base import Context, Inputs, Network, Parameters, State
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import Layers, squared_errors, trace
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.problems.base import Problem

CHUNK = 50  # iterations between checks whether a curve has settled; even, since AMP may settle into a cycle of two
SETTLED_DB = 1e-3  # a curve that moves less than this within a chunk has settled
FIXED_POINT = 200  # iterations to the fixed point of AMP and VAMP
FAILED = 10.0  # a realization that ends with this many times the median's error has not converged

Learn = Callable[[Network, Problem, Array, int, str], Parameters]  # (net, problem, y, depth, precision)


class How(TypedDict, total=False):
    """What `run` has to know of an algorithm beyond its network.

    `weight` ("amp", "vamp") chooses the λ of ISTA and FISTA (`lasso`); with `layered` or `learn`, every layer has its own
    parameters (`layers`).
    """

    weight: str | None
    layered: bool
    learn: Learn | None


@partial(jax.jit, static_argnums=(0, 6, 7))
def _advance(
    net: Network[State, Context],
    problem: Problem,
    p: Parameters,
    x: Array,
    y: Array,
    at: tuple[State, Inputs],
    count: int,
    precision: str,
) -> tuple[tuple[State, Inputs], Array]:
    """`count` iterations; the state after them and ‖x̂ - x‖² of each, (count, L)."""
    with jax.default_matmul_precision(precision):
        layers = Layers(net, problem, p, y, repeated=True)

        def step(at: tuple[State, Inputs], _: None) -> tuple[tuple[State, Inputs], Array]:
            x_hat, state, inputs = layers.emit(0, *at)
            return (state, inputs), problem.squared_norm(x_hat - x)

        return jax.lax.scan(step, at, length=count)


@partial(jax.jit, static_argnums=(0, 4))
def _begin(
    net: Network[State, Context], problem: Problem, p: Parameters, y: Array, precision: str
) -> tuple[State, Inputs]:
    with jax.default_matmul_precision(precision):
        return Layers(net, problem, p, y, repeated=True).first()


def iterate(
    net: Network, problem: Problem, p: Parameters, x: Array, y: Array, limit: int, precision: str = "highest"
) -> np.ndarray:
    """‖x̂_t - x‖² of every sample after iterations 1, 2, ..., (iterations, L), float64.

    `p` are the parameters of one layer; x is (N, L) and y (M, L). Ends after `limit` iterations, or once the curve has
    settled, or before the first iteration with an error that is not finite.
    """
    at, errors = _begin(net, problem, p, y, precision), np.zeros((0, x.shape[1]))
    while len(errors) < limit:
        at, chunk = _advance(net, problem, p, x, y, at, min(CHUNK, limit - len(errors)), precision)
        errors = np.concatenate([errors, np.asarray(chunk, np.float64)])
        if len(finite := _finite(errors)) < len(errors):
            return finite
        if len(errors) > CHUNK and _settled(errors[-CHUNK - 1], errors[-1]):
            break
    return errors


def _finite(errors: np.ndarray) -> np.ndarray:
    """The iterations before the first one with an error that is not finite."""
    finite = np.isfinite(errors).all(axis=1)
    return errors if finite.all() else errors[: np.argmin(finite)]


def _settled(before: np.ndarray, after: np.ndarray) -> bool:
    levels = [to_db(np.array([np.mean(errors), np.median(errors)])) for errors in (before, after)]
    with np.errstate(invalid="ignore"):  # exact recovery: -inf dB twice
        return bool(np.all((levels[1] == levels[0]) | (np.abs(levels[1] - levels[0]) < SETTLED_DB)))


def kept_iterations(errors: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Numbers (from 1) of the iterations that a table keeps: all up to DENSE, then one per percent, and the last.

    The table also keeps the first iteration below each whole dB, in both meanings of the NMSE, so that "the first t
    below -35 dB" is exact. `errors` ‖x̂_t - x‖² (iterations, L) and `powers` ‖x‖² (L,), linear.
    """
    t = np.arange(1, len(errors) + 1)
    keep = (t <= DENSE) | (np.floor(np.log(t) / 0.01) > np.floor(np.log(np.maximum(t - 1, 1)) / 0.01)) | (t == t[-1])
    present = powers > 0
    for nmse in (errors.sum(axis=1) / powers.sum(), np.mean(errors[:, present] / powers[present], axis=1)):
        lowest = np.floor(np.minimum.accumulate(to_db(nmse)))
        keep |= lowest < np.append(np.inf, lowest[:-1])  # of exact recovery, -inf dB, np.diff would be NaN
    return t[keep]


def not_converged(errors: np.ndarray, powers: np.ndarray) -> int:
    """Number of realizations with an NMSE above 0 dB, or above FAILED times the median NMSE; x = 0 is left out.

    `errors` ‖x̂ - x‖² and `powers` ‖x‖², (L,), linear.
    """
    present = powers > 0
    ratios = errors[present] / powers[present]
    return int(np.sum(ratios > min(1.0, FAILED * np.median(ratios))))


def run(
    net: Network, problem: Problem, depth: int, precision: str, **how: Unpack[How]
) -> tuple[np.ndarray, np.ndarray]:
    """An untrained curve on the problem's test set: ‖x̂_t - x‖² (iterations, L) and ‖x‖² (L,), float64, linear.

    Takes `depth` iterations, or fewer where `iterate` ends.

    Raises UserError if λ does not exist (`lasso_weight`), or if the errors of the first iteration are not finite.
    """
    x, y = problem.test
    powers = np.asarray(problem.squared_norm(x), np.float64)
    if how.get("layered") or how.get("learn"):
        params = layers(net, problem, depth, precision, how.get("learn"))
        with jax.default_matmul_precision(precision):
            errors = jax.jit(squared_errors, static_argnums=0)(net, problem, params, x, y, depth)
        errors = _finite(np.asarray(errors, np.float64))
    else:
        net, p = iteration(net, problem, y, precision, how.get("weight"))
        errors = iterate(net, problem, p, x, y, depth, precision)
    if not len(errors):
        raise UserError("the network overflows in its first iteration: scale the columns of the matrix to norms near 1")
    return errors, powers


def layers(net: Network, problem: Problem, depth: int, precision: str, learn: Learn | None = None) -> Parameters:
    """Parameters of the untrained network of `depth` layers; `learn` computes them from the test set's measurements."""
    if learn is not None:
        return learn(net, problem, problem.test[1], depth, precision)
    with jax.default_matmul_precision(precision):
        return net.start(problem, depth)


def iteration(
    net: Network, problem: Problem, y: Array, precision: str, weight: str | None = None
) -> tuple[Network, Parameters]:
    """The network and the parameters of one layer of an algorithm on the measurements y (M, L).

    With `weight`, the algorithm is ISTA or FISTA with that λ (`lasso`).
    """
    if weight is not None:
        return lasso(net, problem, y, weight, precision)
    return net, net.layer(net.start(problem, 1), 0)


def shrinkage_input(net: Network, problem: Problem, y: Array, t: int, precision: str, **how: Unpack[How]) -> Inputs:
    """The inputs r (N, L) and σ (1, L) of the shrinkage in iteration `t` (from 1), for measurements y (M, L)."""
    if how.get("layered") or how.get("learn"):
        return trace(net, problem, layers(net, problem, t, precision, how.get("learn")), y, t, precision)[-1][1]
    net, p = iteration(net, problem, y, precision, how.get("weight"))
    at, nowhere = _begin(net, problem, p, y, precision), jnp.zeros_like(problem.A.T @ y)
    for count in [CHUNK] * ((t - 1) // CHUNK) + [(t - 1) % CHUNK]:
        at, _ = _advance(net, problem, p, nowhere, y, at, count, precision)
    return at[1]


def lasso(net: Network, problem: Problem, y: Array, weight: str, precision: str) -> tuple[Network, Parameters]:
    """ISTA or FISTA on the measurements y (M, L), with the threshold λβ, and the parameters of one iteration.

    With the soft family, θ = (1, α), λ is that of the fixed point of AMP-l1 or VAMP-l1 (`weight`: "amp", "vamp"), per
    sample. With the threshold family, θ is λ.
    """
    theta = np.asarray(net.theta, np.float64)
    if net.family.name == "soft":
        weights = lasso_weight(problem, y, float(theta[1]), weight, precision)
    else:
        weights = jnp.full((1, y.shape[1]), theta[0], y.real.dtype)
    beta = 1 / (1.01 * jnp.linalg.norm(problem.A, 2) ** 2)
    p = {**net.textbook(problem), "theta": (beta * weights)[None]}
    return dataclasses.replace(net, family=shrinkage.build("threshold")), p


def lasso_weight(problem: Problem, y: Array, alpha: float, of: str, precision: str = "highest") -> Array:
    """λ of the LASSO that AMP-l1 or VAMP-l1 (`of`: "amp", "vamp") solves with threshold α, per sample, (1, L).

    A sample for which it has not converged gets the median of the others. Raises UserError if more than half have not.
    """
    soft, theta = shrinkage.build("soft"), (1.0, alpha)
    net = Lamp(soft, theta) if of == "amp" else Lvamp(soft, theta, noise_start="known")
    p = net.layer(net.start(problem, 1), 0)
    at = _begin(net, problem, p, y, precision)
    nowhere = jnp.zeros((problem.A.shape[1], y.shape[1]), y.dtype)
    (_, (r, sigma)), _ = _advance(net, problem, p, nowhere, y, at, FIXED_POINT, precision)
    if of == "amp":
        M, N = problem.A.shape
        _, slope = soft.eta(r, sigma, jnp.asarray(theta))
        weights = alpha * sigma * (1 - N / M * slope)
    else:
        weights = alpha * problem.noise_variance / sigma
    good = jnp.isfinite(weights) & (weights > 0) & jnp.isfinite(sigma)
    good &= jnp.square(sigma) < FAILED * jnp.nanmedian(jnp.where(good, jnp.square(sigma), jnp.nan))
    if jnp.mean(good) < 0.5:
        other = "vamp" if of == "amp" else "amp"
        raise UserError(
            f"network.weight={of}: {of.upper()}-l1 has no fixed point on this matrix: write network.weight={other}"
        )
    return jnp.where(good, weights, jnp.nanmedian(jnp.where(good, weights, jnp.nan)))
