"""ISTA, FISTA, AMP and VAMP for thousands of iterations: a network's own step, its parameters left alone (Fig. 1).

| symbol | name                                                                  | equation |
|--------|-----------------------------------------------------------------------|----------|
| λ      | weight of the l1 norm in the LASSO that all of them minimize          | (3)      |
| α      | threshold of AMP-l1 and VAMP-l1 in units of σ; 1.1402 is minimax      | (9)      |
| τ      | ‖v‖/√M at AMP's fixed point                                           | (12)     |
| b      | Onsager coefficient there                                             | (8)      |
| β      | step size of ISTA and FISTA, 1/(1.01 ‖A‖²)                            | (4)      |

AMP-l1's fixed point solves the LASSO with λ = α τ (1 - b), VAMP-l1's the one with λ = α σ_w² / σ, each realization
with a λ of its own.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.config.settings import LASSO, Settings
from onsager_cli.errors import UserError
from onsager_cli.metrics import to_db
from onsager_cli.networks import build
from onsager_cli.networks.base import Inputs, Network, Parameters, State
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import squared_errors, trace
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.problems import Problem
from onsager_cli.shrinkage.families import family
from onsager_cli.theory import em_vamp
from onsager_cli.thinning import DENSE

CHUNK = 50  # iterations between looks at whether a curve has settled; even, since AMP may settle into a cycle of two
SETTLED_DB = 1e-3  # a curve that moves less than this within a chunk has settled
FIXED_POINT = 200  # iterations to the fixed point of AMP and VAMP
FAILED = 10.0  # a realization that ends with this many times the median's error has not converged
LAYERED = ("lvamp_gh", "em_vamp")  # kinds whose layers differ: there are as many as are asked for


@partial(jax.jit, static_argnums=(0, 6, 7))
def _advance(
    net: Network,
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
        context = net.prepare(problem, p, y)

        def step(at, _):
            state, inputs = at
            r, sigma = inputs
            x_hat, slope = net.family.eta(r, sigma, net.spread(p["theta"]))
            state = net.correct(problem, p, x_hat, slope, inputs, state, y, context)
            return (state, net.linear(problem, p, state, y, context)), problem.squared_norm(x_hat - x)

        return jax.lax.scan(step, at, length=count)


@partial(jax.jit, static_argnums=(0, 4))
def _begin(net: Network, problem: Problem, p: Parameters, y: Array, precision: str) -> tuple[State, Inputs]:
    with jax.default_matmul_precision(precision):
        return net.first(problem, p, y, net.prepare(problem, p, y))


def iterate(
    net: Network, problem: Problem, p: Parameters, x: Array, y: Array, limit: int, precision: str = "highest"
) -> np.ndarray:
    """‖x̂_t - x‖² of every sample after iterations 1, 2, ..., (iterations, L), float64.

    `p` are the parameters of one layer. Ends after `limit` iterations, earlier where the curve has settled, and
    before the first iteration whose errors are not all finite.
    """
    at, errors = _begin(net, problem, p, y, precision), np.zeros((0, x.shape[1]))
    while len(errors) < limit:
        at, chunk = _advance(net, problem, p, x, y, at, min(CHUNK, limit - len(errors)), precision)
        errors = np.concatenate([errors, np.asarray(chunk, np.float64)])
        finite = np.isfinite(errors).all(axis=1)
        if not finite.all():
            return errors[: np.argmin(finite)]
        if len(errors) > CHUNK and _settled(errors[-CHUNK - 1], errors[-1]):
            break
    return errors


def _settled(before: np.ndarray, after: np.ndarray) -> bool:
    levels = [to_db(np.array([np.mean(errors), np.median(errors)])) for errors in (before, after)]
    return bool(np.all(np.abs(levels[1] - levels[0]) < SETTLED_DB))


def worth_keeping(errors: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Numbers (from 1) of the iterations that a table keeps: all at first, then every hundredth part.

    And, in both meanings of the NMSE, the first iteration below each whole dB, so that "the first t below -35 dB" is
    exact in the table.
    """
    t = np.arange(1, len(errors) + 1)
    keep = (
        (t <= DENSE)
        | (np.floor(np.log(t) / 0.01) > np.floor(np.log(np.maximum(t - 1, 1)) / 0.01))
        | (t == t[-1])
    )
    present = powers > 0
    for nmse in (errors.sum(axis=1) / powers.sum(), np.mean(errors[:, present] / powers[present], axis=1)):
        lowest = np.floor(np.minimum.accumulate(to_db(nmse)))
        keep |= np.diff(lowest, prepend=np.inf) < 0
    return t[keep]


def not_converged(errors: np.ndarray, powers: np.ndarray) -> int:
    """How many realizations are above 0 dB, or at FAILED times the median's NMSE, by ‖x̂ - x‖² and ‖x‖² (L,); x = 0 aside."""
    present = powers > 0
    ratios = errors[present] / powers[present]
    return int(np.sum(ratios > min(1.0, FAILED * np.median(ratios))))


def run(settings: Settings, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """An untrained curve on the problem's test set: ‖x̂_t - x‖² (iterations, L) and ‖x‖² (L,), float64.

    To `network.depth` iterations, or fewer where `iterate` ends. Raises UserError where ISTA's or FISTA's λ does not
    exist (`lasso_weight`), and where not even the first iteration is finite.
    """
    (x, y), precision, network = problem.test, settings.precision, settings.network
    powers = np.asarray(problem.squared_norm(x), np.float64)
    if network.kind in LAYERED:
        net, params = layers(settings, problem)
        with jax.default_matmul_precision(precision):
            errors = jax.jit(squared_errors, static_argnums=0)(net, problem, params, x, y, network.depth)
        return np.asarray(errors, np.float64), powers
    net, p = iteration(settings, problem, y)
    errors = iterate(net, problem, p, x, y, network.depth, precision)
    if not len(errors):
        raise UserError(
            f"network={network.name} overflows in its first iteration: scale the matrix, so that its columns have norms near 1"
        )
    return errors, powers


def layers(settings: Settings, problem: Problem) -> tuple[Network, Parameters]:
    """An untrained network of `network.depth` layers; EM-VAMP takes its own from the test set's measurements."""
    depth = settings.network.depth
    net = build(settings.network, settings.shrinkage, settings.seed, settings.problem)
    if settings.network.kind == "em_vamp" and isinstance(net, Lvamp):
        return net, em_vamp.learn(net, problem, problem.test[1], depth, settings.precision)
    with jax.default_matmul_precision(settings.precision):
        return net, net.start(problem, depth)


def iteration(settings: Settings, problem: Problem, y: Array) -> tuple[Network, Parameters]:
    """The network and the parameters that an algorithm has in each of its iterations on the measurements `y`."""
    network = settings.network
    net = build(network, settings.shrinkage, settings.seed, settings.problem)
    if network.kind in LASSO:
        return lasso(net, problem, y, network.weight, settings.precision)
    return net, net.layer(net.start(problem, 1), 0)


def shrinkage_input(settings: Settings, problem: Problem, y: Array, t: int) -> Inputs:
    """(r, σ) that the shrinkage of iteration `t` (from 1) receives."""
    if settings.network.kind in LAYERED:
        net, params = layers(settings, problem)
        return trace(net, problem, params, y, t, settings.precision)[-1][1]
    net, p = iteration(settings, problem, y)
    at, nowhere = _begin(net, problem, p, y, settings.precision), jnp.zeros_like(problem.A.T @ y)
    for count in [CHUNK] * ((t - 1) // CHUNK) + [(t - 1) % CHUNK]:
        at, _ = _advance(net, problem, p, nowhere, y, at, count, settings.precision)
    return at[1]


def lasso(
    net: Network, problem: Problem, y: Array, weight: str, precision: str
) -> tuple[Network, Parameters]:
    """ISTA or FISTA on the measurements `y`, thresholding at λβ, and the parameters of one iteration.

    With the soft family of θ = (1, α), λ is that of AMP-l1's or VAMP-l1's fixed point (`weight`: amp, vamp), per
    sample; with the threshold family, θ is λ.
    """
    if net.family.name == "soft":
        weights = lasso_weight(problem, y, net.theta[1], weight, precision)
    else:
        weights = jnp.full((1, y.shape[1]), net.theta[0], y.real.dtype)
    beta = 1 / (1.01 * jnp.linalg.norm(problem.A, 2) ** 2)
    p = {**net.textbook(problem), "theta": (beta * weights)[None]}
    return dataclasses.replace(net, family=family("threshold")), p


def lasso_weight(problem: Problem, y: Array, alpha: float, of: str, precision: str = "highest") -> Array:
    """λ of the LASSO that AMP-l1 or VAMP-l1 (`of`: amp, vamp) solves with threshold α, per sample, (1, L).

    Where it has not converged, the median over the other samples. Raises UserError if that is more than half.
    """
    soft, theta = family("soft"), (1.0, alpha)
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
            f"network.weight={of}: {of.upper()}-l1 has no fixed point on this matrix: network.weight={other}"
        )
    return jnp.where(good, weights, jnp.nanmedian(jnp.where(good, weights, jnp.nan)))
