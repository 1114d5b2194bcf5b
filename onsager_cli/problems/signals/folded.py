"""Laplace, exponential and half-normal signals: densities c exp(-λ |x| - x²/(2 φ)) on one or both sides of zero.

On the side s = ±1, x given r is a Gaussian cut at zero. With the variance β, 1/β = 1/v + 1/φ, and α = √β (s r/v - λ):

    ∫ c exp(-λ x - x²/(2 φ)) N(r; s x, v) dx = c √(β/v) φ(r/√v) Φ(α)/φ(α),   s x = √β z, z ~ N(α, 1) cut to z > 0.

Φ/φ and the moments of z come from Laplace's continued fraction where α < -2: without it, they would be differences of
nearly equal numbers. Real signals only.
"""

from dataclasses import dataclass
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr
from scipy import special

from onsager_cli.kinds.records import SignalKind
from onsager_cli.kinds.signals import ScaleSignal
from onsager_cli.problems.signals.base import LOG_2PI, Posterior, Signal, Values, joined, prepared

LAPLACE = SignalKind("laplace", of="laplace", settings=ScaleSignal, real=True)
EXPONENTIAL = SignalKind("exponential", of="exponential", settings=ScaleSignal, real=True)
HALF_NORMAL = SignalKind("half_normal", of="half_normal", settings=ScaleSignal, real=True)

TURN = -2.0  # below this α, the continued fraction
TERMS = {"float32": 14, "float64": 48}  # of the continued fraction, for the precision at α = -2


@dataclass(frozen=True)
class Folded(Signal):
    """Zero with probability 1 - γ, else c exp(-`rate` |x| - x²/(2 `wide`)) on one side (x > 0) or on both.

    `wide` is None where there is no Gaussian factor.
    """

    gamma: float
    rate: float
    wide: float | None = None
    both: bool = False

    @property
    def power(self) -> float:
        return self.gamma * (2 / self.rate**2 if self.wide is None else self.wide)

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        if self.wide is not None:
            return jnp.float32(np.sqrt(self.wide)) * jnp.abs(jax.random.normal(key, shape, jnp.float32))
        if self.both:
            return jax.random.laplace(key, shape, jnp.float32) / jnp.float32(self.rate)
        return jax.random.exponential(key, shape, jnp.float32) / jnp.float32(self.rate)

    def posterior(self, r: Values, variance: Values) -> Posterior:
        xp, r, v = prepared(r, variance)
        precision = 0.0 if self.wide is None else 1 / self.wide
        beta = v / (1 + v * precision)
        root, sigma = xp.sqrt(beta), xp.sqrt(v)
        zero = xp.zeros_like(r + v)
        # logarithms of c √β and of 1 - γ, without the common factor φ(r/√v) / √v
        parts = [(xp.log(1 - self.gamma) + zero, zero, zero)] if self.gamma < 1 else []
        for side in (1.0, -1.0) if self.both else (1.0,):
            log_ratio, mean, spread = _cut(xp, root * (side * r / v - self.rate))
            parts.append(
                (np.log(self.gamma * self._height) + xp.log(root) + log_ratio, side * root * mean, beta * spread)
            )
        found = joined(xp, *map(xp.stack, zip(*parts, strict=True)))
        return found._replace(log_density=found.log_density - xp.square(r / sigma) / 2 - LOG_2PI / 2 - xp.log(sigma))

    @property
    def _height(self) -> float:
        """c, the density of active coefficients beside zero."""
        if self.wide is None:
            return self.rate / 2 if self.both else self.rate
        return float(np.sqrt(2 / (np.pi * self.wide)))


def _cut(xp: ModuleType, alpha: Values) -> tuple[Values, Values, Values]:
    """log(Φ(α)/φ(α)), and mean and variance of z ~ N(α, 1) cut to z > 0."""
    far = alpha < TURN
    t = -xp.where(far, alpha, TURN)
    a = xp.where(far, TURN, alpha)
    # Φ(-t)/φ(t) = 1 / (t + m), m = 1 / (t + k2), k2 = 2 / (t + k3), …
    below = [xp.zeros_like(t), xp.zeros_like(t)]
    for n in range(TERMS[str(alpha.dtype)], 1, -1):
        below = [n / (t + below[0]), below[0]]
    k2, k3 = below
    m = 1 / (t + k2)
    log_cdf = (log_ndtr if xp is jnp else special.log_ndtr)(a)
    log_ratio = xp.square(a) / 2 + LOG_2PI / 2 + log_cdf
    hazard = xp.exp(-log_ratio)
    near = a + hazard
    mean = xp.where(far, m, near)
    spread = xp.where(far, m * (t + 2 * k2 - k3) / ((t + k3) * (t + k2)), 1 - hazard * near)
    return xp.where(far, -xp.log(t + m), log_ratio), mean, spread


def laplace(settings: ScaleSignal, gamma: float, is_complex: bool) -> Folded:
    """Active coefficients have the density exp(-|x|/scale) / (2 scale)."""
    del is_complex
    return Folded(gamma, 1 / settings.scale, both=True)


def exponential(settings: ScaleSignal, gamma: float, is_complex: bool) -> Folded:
    """Active coefficients are positive, with the mean `scale`."""
    del is_complex
    return Folded(gamma, 1 / settings.scale)


def half_normal(settings: ScaleSignal, gamma: float, is_complex: bool) -> Folded:
    """Active coefficients are |z| for z ~ N(0, scale²)."""
    del is_complex
    return Folded(gamma, 0.0, settings.scale**2)
