"""EM for the parameters of a Bernoulli-Gaussian prior, from the shrinkage input of VAMP.

| symbol | name                                                        |
|--------|-------------------------------------------------------------|
| r, σ²  | x + error of this variance                                  |
| φ, γ   | variance of the active entries, probability that one is active |
| θ      | (φ, log((1-γ)/γ)), a row per group of coordinates with one prior |
| π      | P(x ≠ 0 | r)                                                |
| μ, τ   | mean and variance of x given r and x ≠ 0                    |

Reference: Vila and Schniter, "Expectation-Maximization Gaussian-Mixture Approximate Message Passing" (2013).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import power
from onsager_cli.shrinkage.bernoulli_gaussian import activity

RAREST = 1e-6  # γ stays in [RAREST, 1 - RAREST]: at 0 and 1 the log odds are infinite
EXCESS = 1.2  # times the power of x: what a prior may have more than the measurements leave


def em_update(r: Array, variance: Array, theta: Array, groups: Sequence[int] = ()) -> Array:
    """θ (G, 2) after one EM step, pooled over the coordinates of a group and over all samples.

    `r` (N, L) real or complex; `variance` (1, L) linear; `theta` (G, 2). `groups` names the row of θ of each coordinate;
    if it is empty, all coordinates form one group. Complex coefficients are circular, φ = E|x|² of the active ones.

        γ⁺ = mean π,    φ⁺ = Σ π (|μ|² + τ) / Σ π
    """
    of = np.asarray(groups, int) if groups else np.zeros(r.shape[0], int)
    phi, log_odds = theta[of].T[..., None]  # (N, 1) each
    shrink = phi / (phi + variance)
    active = activity(r, variance, (phi, log_odds))
    second = jnp.square(shrink) * power(r) + shrink * variance  # |μ|² + τ
    mass = jax.ops.segment_sum(jnp.sum(active, axis=1), of, theta.shape[0])
    energy = jax.ops.segment_sum(jnp.sum(active * second, axis=1), of, theta.shape[0])
    gamma = mass / (np.bincount(of, minlength=theta.shape[0]) * r.shape[1])
    gamma = jnp.clip(gamma, RAREST, 1 - RAREST)
    return jnp.stack([energy / jnp.maximum(mass, RAREST), jnp.log1p(-gamma) - jnp.log(gamma)], axis=1)


def with_power(theta: Array, power_of_x: Array, shares: Array | np.ndarray) -> Array:
    """θ (G, 2) with φ scaled down to the mean power of x, Σ shares γ φ = `power_of_x`, if θ has more than EXCESS times that.

    `shares` (G,) are those of the groups among the coordinates. At low SNR, r says little of the power of x. A variance
    of r that is taken for too small then looks like power of x, which makes the variance of the next layer too large.
    """
    gamma = jax.nn.sigmoid(-theta[:, 1])
    claimed = jnp.sum(shares * gamma * theta[:, 0])
    factor = jnp.where(claimed > EXCESS * power_of_x, power_of_x / claimed, 1)
    return theta.at[:, 0].multiply(factor)
