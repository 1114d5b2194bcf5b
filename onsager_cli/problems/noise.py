"""From signals to measurements: y = A x + w."""

import jax
import jax.numpy as jnp
from jax import Array

from onsager_cli.linalg import full_product
from onsager_cli.problems.base import Problem


def measured(problem: Problem, key: Array, x: Array) -> Array:
    """y = A x + w (M, L) for signals x (N, L), with E|w_m|² = σ_w².

    w is real where y is; else it is circular, with the variance σ_w²/2 in each part.
    """
    y = full_product(problem.A, x)
    kind = jnp.complex64 if jnp.iscomplexobj(y) else jnp.float32
    return y + jnp.sqrt(problem.noise_variance) * jax.random.normal(key, y.shape, kind)
