"""EM-VAMP: VAMP that knows neither the prior nor the noise, and learns both from the measurements while it runs.

| symbol | name                                                          | source     |
|--------|---------------------------------------------------------------|------------|
| θ      | (φ, log((1-γ)/γ)) of the Bernoulli-Gaussian prior             | (37), (40) |
| σ_w²   | noise variance                                                | (17)       |
| x̃, d_i | LMMSE estimate, and the share that it takes from y in direction i | (16), (20) |
| R      | rank of A                                                     | (15)       |

EM-VAMP is an LVAMP network with a θ and a σ_w² in each layer that EM sets, not training. Before its shrinkage, a layer
fits θ to the output of the linear stage. To the next layer it hands

    σ_w²⁺ = mean over the samples of (‖y - A x̃‖² + tr(A C Aᵀ)) / M,    tr(A C Aᵀ) = σ_w² Σ d_i,

C the covariance of the error of x̃. EM pools all samples, since they share one prior; each group of coordinates has its
own θ. If `noise_start` is "known", σ_w² and E|x|² of each group are given, and EM learns θ alone.
Reference: Fletcher and Schniter, "Learning and free energies for vector approximate message passing" (2017), the
paper's [25].
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, integer
from onsager_cli.kinds.records import BLACK, Look, NetworkKind
from onsager_cli.linalg import adjoint, power
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.decoupling import PseudoPrior, begin
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.problems.base import Problem
from onsager_cli.theory.em import em_update

KIND = NetworkKind(
    "em_vamp",
    of="Lvamp",
    keys={
        "depth": integer(1, 10_000),
        "theta_per": choice("group", "coordinate", "all"),
        "noise_start": choice("energy", "known"),
    },
    fixed={"tied": False, "learn": ("noise_variance", "theta")},
    shrinkages=("bg",),
    uses_shrinkage=False,
    trains=False,
    layered=True,
    fit="learn",
    looks={"em_vamp": {"": Look(BLACK, "x", ":", size=2.7, label="EM-VAMP")}},
)

START_GAMMA = 0.05
START_SNR = 100.0  # linear, as in EM-GM-AMP: ‖y‖² / (M σ_w²) - 1
STEPS = 4  # of EM per iteration, for θ and for σ_w²
QUIETEST = 1e-10  # lower bound of σ_w² as a share of ‖y‖²/M: residuals in float32 do not resolve less


def learn(net: Network, problem: Problem, y: Array, depth: int, precision: str = "highest") -> Parameters:
    """Parameters of `depth` layers, from the measurements y (M, L) alone.

    `net` is an LVAMP network that is untied in σ_w² and θ. Raises TypeError for another network.
    """
    if not isinstance(net, Lvamp):
        raise TypeError(f"EM-VAMP needs an LVAMP network, got {type(net).__name__}")
    return _learn(net, problem, net.start(problem, depth), y, depth, precision)


@partial(jax.jit, static_argnums=(0, 4, 5))
def _learn(net: Lvamp, problem: Problem, params: Parameters, y: Array, depth: int, precision: str) -> Parameters:
    with jax.default_matmul_precision(precision):
        energy, known = jnp.mean(power(y)), net.noise_start == "known"
        noise = problem.noise_variance if known else energy / (1 + START_SNR)
        state = begin(y, problem.A.shape[1])
        if known:
            phi = _group_means(problem.known_power, net.groups)
        else:  # E|x|² = (E‖y‖² - M σ_w²) / ‖A‖_F²
            phi = (energy - noise) * y.shape[0] / jnp.sum(jnp.exp(2 * params["log_s"]))
        phi = jnp.broadcast_to(phi / START_GAMMA, (max(net.groups, default=0) + 1,))
        theta = jnp.stack([phi, jnp.full_like(phi, jnp.log((1 - START_GAMMA) / START_GAMMA))], axis=1)
        context = net.prepare(problem, params, y)
        assert context is not None  # U is the same in all layers

        def body(
            t: Array, carry: tuple[Parameters, PseudoPrior, Array, Array]
        ) -> tuple[Parameters, PseudoPrior, Array, Array]:
            params, state, noise, theta = carry
            params = {**params, "log_noise_variance": params["log_noise_variance"].at[t].set(jnp.log(noise))}
            p = net.layer(params, t)
            inputs = net.linear(problem, p, state, y, context)
            theta = jax.lax.fori_loop(
                0, STEPS, lambda _, at: em_update(inputs.r, jnp.square(inputs.sigma), at, net.groups), theta
            )
            own = theta if net.groups else theta[0]
            params = {**params, "theta": params["theta"].at[t].set(own)}
            if not known:
                noise = jnp.maximum(_noise(p, state, y, context), QUIETEST * energy)
            state = net.step(problem, {**p, "theta": own}, inputs, state, y)
            return params, state, noise, theta

        return jax.lax.fori_loop(0, depth, body, (params, state, noise, theta))[0]


def _group_means(values: Array, groups: tuple[int, ...]) -> Array:
    """Mean of values (N, 1) or () over each group's coordinates, (G,)."""
    if not groups:
        return jnp.mean(values)[None]
    of_each = jnp.broadcast_to(values, (len(groups), 1))[:, 0]
    return jax.ops.segment_sum(of_each, np.array(groups), max(groups) + 1) / np.bincount(groups)


def _noise(p: Parameters, state: PseudoPrior, y: Array, z: Array) -> Array:
    """σ_w² after EM at one r̃, (). `z` is Uᵀy (R, L), and A x̃ = U (s ⊙ Vᵀx̃)."""
    r_tilde, variance = state
    s, inner = jnp.exp(p["log_s"])[:, None], adjoint(p["V"]) @ r_tilde
    outside = jnp.maximum(jnp.sum(power(y)) - jnp.sum(power(z)), 0)  # of A's range, whatever x̃ is

    def step(_: Array, noise: Array) -> Array:
        d, g, _ = Lvamp.lmmse({**p, "log_noise_variance": jnp.log(noise)}, variance)
        residual = z - s * (inner + g * z - d * inner)
        return (jnp.sum(power(residual)) + outside + noise * jnp.sum(d)) / y.size

    return jax.lax.fori_loop(0, STEPS, step, jnp.exp(p["log_noise_variance"]))
