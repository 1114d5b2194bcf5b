"""Noise w of the measurements y = A x + w: one variance for all samples, an SNR drawn for each, or each one's exact SNR.

| symbol | name                                                                        |
|--------|-----------------------------------------------------------------------------|
| σ_w²   | variance of an entry of w; complex noise is circular with E|w|² = σ_w²       |
| SNR    | E‖Ax‖² / E‖w‖²; with `per_sample`, ‖Ax‖² of the sample itself over E‖w‖²     |
"""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import full_product, power, total

QUIETEST = 1e-12  # of the power of A x: the noise variance that networks get if there is no noise


@dataclass(frozen=True)
class NoiseLaw:
    """SNR (dB) uniform between `low` and `high`, drawn for each sample; `silent`: no noise at all."""

    low: float = 0.0
    high: float = 0.0
    per_sample: bool = False
    silent: bool = False

    @property
    def mean(self) -> float:
        """E 10^(-SNR/10): the mean noise variance at a signal power of 1."""
        if self.low == self.high:
            return float(10 ** (-self.low / 10))
        rate = np.log(10) / 10
        return float((np.exp(-rate * self.low) - np.exp(-rate * self.high)) / (rate * (self.high - self.low)))

    def variance(self, mean: Array, key: Array, clean: Array) -> Array:
        """σ_w² of each sample, (1, L) or (), from the mean σ_w² and A x (M, L)."""
        if self.silent:
            return jnp.zeros_like(mean)
        shape = (1, clean.shape[1]) if self.low < self.high else ()
        snr_db = jax.random.uniform(key, shape, minval=self.low, maxval=self.high) if shape else self.low
        level = mean / self.mean  # power of an entry of A x
        if self.per_sample:
            own = total(power(clean)) / clean.shape[0]
            level = jnp.where(own > 0, own, level)
        return level * 10 ** (-snr_db / 10)


class Noisy(Protocol):
    """What a problem says of its measurements: A (M, N), σ_w² (), and the law of the noise."""

    A: Array
    noise_variance: Array
    noise: NoiseLaw | None


def measured(problem: Noisy, key: Array, x: Array) -> Array:
    """y = A x + w, (M, L), of signals x (N, L), with fresh noise."""
    clean = full_product(problem.A, x)
    variance = problem.noise_variance
    if problem.noise is not None:
        key, key_snr = jax.random.split(key)
        variance = problem.noise.variance(variance, key_snr, clean)
    if jnp.iscomplexobj(clean):
        w = jnp.sqrt(variance / 2) * jax.random.normal(key, (2, *clean.shape))
        return clean + jax.lax.complex(w[0], w[1])
    w = jnp.sqrt(variance) * jax.random.normal(key, clean.shape)
    return clean + w
