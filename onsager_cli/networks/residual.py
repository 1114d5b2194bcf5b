"""What the residual v = y - A x̂ tells of the error of x̂, for networks that know the noise variance.

    v² = max((‖y - A x̂‖² - M σ_w²) / ‖A‖_F², 1e-9)

per sample, (1, L), linear. Complex numbers count by |·|².
"""

import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import power, total
from onsager_cli.problems.base import Problem

SMALLEST = 1e-9  # floor of v², in units of the power of active coefficients


def noise_variance(problem: Problem, y: Array, of_each: bool) -> Array:
    """σ_w², (); where samples differ in it (`of_each`), that of each, (1, L): the share of ‖y‖²/M that the SNR leaves.

    Of a range of SNRs, the mean share.
    """
    if not of_each or problem.noise is None:
        return problem.noise_variance
    if problem.noise.silent:
        return jnp.zeros_like(problem.noise_variance)
    share = problem.noise.mean / (1 + problem.noise.mean)
    return share * total(power(y)) / y.shape[0]


def error_variance(problem: Problem, energy: Array, noise: Array) -> Array:
    """v² (1, L) from ‖y - A x̂‖² (1, L) and σ_w²."""
    M = problem.A.shape[0]
    return jnp.maximum((energy - M * noise) / jnp.sum(power(problem.A)), SMALLEST)
