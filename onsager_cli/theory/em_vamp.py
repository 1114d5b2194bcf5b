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
own θ. If `noise_start` is "known", σ_w² and E|x|² of each group are given, and EM learns θ alone. Otherwise σ_w² starts
from the SNR that the energies of y in the singular directions of A show (`estimated_snr`), for EM is slow where it is
wrong about the noise. In both cases the measurements limit the power of the prior (`em.with_power`).
Reference: Fletcher and Schniter, "Learning and free energies for vector approximate message passing" (2017), the
paper's [25].
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.checks import choice, integer, optional, weight_or
from onsager_cli.kinds.records import BLACK, Look, NetworkKind
from onsager_cli.linalg import adjoint, double, power
from onsager_cli.networks import damping as damp
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.decoupling import PseudoPrior
from onsager_cli.networks.lvamp import QUIETEST, Lvamp
from onsager_cli.problems.base import Problem
from onsager_cli.theory.em import em_update, with_power

KIND = NetworkKind(
    "em_vamp",
    of="Lvamp",
    keys={
        "depth": integer(1, 10_000),
        "theta_per": choice("group", "coordinate", "all"),
        "noise_start": choice("energy", "known"),
        "damping": optional(weight_or(damp.AUTO)),
    },
    fixed={"tied": False, "learn": ("noise_variance", "theta")},
    shrinkages=("bg",),
    uses_shrinkage=False,
    whitens=False,
    trains=False,
    layered=True,
    knows=lambda settings: "noise variance, power" if settings.noise_start == "known" else "",
    fit="learn",
    advice="EM-VAMP assumes Bernoulli-Gaussian signals and learns the noise: try network.noise_start=known",
    numerics=7,
    looks={"em_vamp": {"": Look(BLACK, "x", ":", size=2.7, label="EM-VAMP")}},
)

START_GAMMA = 0.05
START_DB = 20.0  # the highest SNR that EM starts from, as in EM-GM-AMP, and the opposite of the lowest
PLAUSIBLE_DB = np.linspace(-40, 40, 81)  # SNRs of equal prior probability
STEPS = 4  # of EM per iteration, for θ and for σ_w²


def learn(net: Network, problem: Problem, y: Array, depth: int, precision: str = "highest") -> Parameters:
    """Parameters of `depth` layers, from the measurements y (M, L) alone.

    `net` is an LVAMP network that is untied in σ_w² and θ. Raises TypeError for another network.
    """
    if not isinstance(net, Lvamp):
        raise TypeError(f"EM-VAMP needs an LVAMP network, got {type(net).__name__}")
    params = net.start(problem, depth)
    snr = 1.0 if net.noise_start == "known" else estimated_snr(*map(double, (y, params["U"], params["log_s"])))
    return _learn(net, problem, params, y, jnp.float32(snr), depth, precision)


def estimated_snr(y: np.ndarray, U: np.ndarray, log_s: np.ndarray) -> float:
    """E‖Ax‖² / E‖w‖² (linear, within ±START_DB) from y (M, L), and U (M, R) and log s (R,) of A; in double precision.

    In the direction u_i, y has the energy s_i² E|x|² + σ_w², and outside of the u_i it has σ_w². The estimate is the
    posterior mean in dB for Gaussian energies, all of PLAUSIBLE_DB being equally probable before. It is 0 dB where all
    s_i are equal, since the energies then say nothing.
    """
    M, R = len(y), len(log_s)
    of_samples, along = np.sum(np.abs(y) ** 2, axis=0), np.abs(U.conj().T @ y) ** 2
    energy, gain, count = np.mean(along, axis=1), np.exp(2 * log_s), np.ones(R)
    if M > R:
        outside = max(np.mean(of_samples) - np.sum(energy), 0) / (M - R)
        energy, gain, count = np.append(energy, outside), np.append(gain, 0), np.append(count, M - R)
    variance = 1 + 10 ** (PLAUSIBLE_DB[:, None] / 10) * gain * (M / np.sum(gain))  # over σ_w², (SNRs, directions)
    noise = (energy / variance) @ count / M  # of the highest likelihood for each SNR
    # Few samples of much energy, as there are in cells, count as so few.
    samples = np.sum(of_samples) ** 2 / np.sum(of_samples**2) * (1 if np.iscomplexobj(y) else 0.5)
    likelihood = -samples * (np.log(variance) @ count + M * np.log(noise))
    weights = np.exp(likelihood - np.max(likelihood))
    return float(10 ** (np.clip(np.average(PLAUSIBLE_DB, weights=weights), -START_DB, START_DB) / 10))


@partial(jax.jit, static_argnums=(0, 5, 6))
def _learn(
    net: Lvamp, problem: Problem, params: Parameters, y: Array, snr: Array, depth: int, precision: str
) -> Parameters:
    with jax.default_matmul_precision(precision):
        energy, known = jnp.mean(power(y)), net.noise_start == "known"
        noise = problem.noise_variance if known else energy / (1 + snr)
        state = net.begin(problem, y)
        if state.noise is not None:  # an estimate for each sample, which layers hand on
            noise = jnp.ones_like(noise)
        shares = np.bincount(net.groups) / len(net.groups) if net.groups else np.ones(1)

        def left_by(noise: Array) -> Array:
            """E|x|² of each group: what is known, or (E‖y‖² - M σ_w²) / ‖A‖_F² if y is not all noise."""
            if known:
                return jnp.broadcast_to(_group_means(problem.known_power, net.groups), shares.shape)
            signal = jnp.maximum(energy - noise, energy * 10 ** (-START_DB / 10))
            return jnp.broadcast_to(signal * y.shape[0] / jnp.sum(jnp.exp(2 * params["log_s"])), shares.shape)

        phi = left_by(noise if state.noise is None else jnp.mean(state.noise)) / START_GAMMA
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
            variance = jnp.square(inputs.sigma)
            mean_power = jnp.sum(shares * left_by(noise if state.noise is None else jnp.mean(state.noise)))

            def update(_: Array, theta: Array) -> Array:
                return with_power(em_update(inputs.r, variance, theta, net.groups), mean_power, shares)

            theta = jax.lax.fori_loop(0, STEPS, update, theta)
            own = theta if net.groups else theta[0]
            params = {**params, "theta": params["theta"].at[t].set(own)}
            if not known and state.noise is None:
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
    r_tilde, variance = state.r_tilde, state.variance
    s, inner = jnp.exp(p["log_s"])[:, None], adjoint(p["V"]) @ r_tilde
    outside = jnp.maximum(jnp.sum(power(y)) - jnp.sum(power(z)), 0)  # of A's range, whatever x̃ is

    def step(_: Array, noise: Array) -> Array:
        d, g, _ = Lvamp.lmmse({**p, "log_noise_variance": jnp.log(noise)}, variance)
        residual = z - s * (inner + g * z - d * inner)
        return (jnp.sum(power(residual)) + outside + noise * jnp.sum(d)) / y.size

    return jax.lax.fori_loop(0, STEPS, step, jnp.exp(p["log_noise_variance"]))
