"""The interface of a law of the coefficients of x: samples, power, and the posterior under Gaussian noise.

| symbol | name                                                        |
|--------|-------------------------------------------------------------|
| γ      | P(x_n ≠ 0)                                                  |
| r      | x + noise of variance v, circular if x is complex           |
| v      | variance of that noise, E|r - x|²                           |
| E[x|r] | posterior mean, the MMSE estimate (eq 39)                   |
| var(x|r) | posterior variance; ∂E[x|r]/∂r = var(x|r)/v, Tweedie's identity, in Wirtinger's sense if x is complex |

All quantities are linear. NumPy arrays stay in double precision; JAX arrays stay in theirs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import mixed
from onsager_cli.problems.signals.em import fit_mixture

Values = Any  # a number, a NumPy array or a JAX array
Number = complex  # a class below has a field of the name of this type
LOG_2PI = float(np.log(2 * np.pi))


class Posterior(NamedTuple):
    """What is known of x given r, each of the shape of r: log p(r), E[x|r] and var(x|r)."""

    log_density: Values
    mean: Values
    variance: Values


class Signal(ABC):
    """The law of the coefficients of x. A subclass defines `gamma`, `power`, `active` and `posterior`.

    Signals of one law are equal and hashable.
    """

    gamma: float  # P(x_n ≠ 0)
    complex: bool = False
    block: int = 1  # neighbours that are active together

    @property
    @abstractmethod
    def power(self) -> float:
        """E|x_n|², linear."""

    @property
    def centers(self) -> tuple[Number, ...]:
        """Where the density of x has peaks, so that integrals over r find them."""
        return (0.0,)

    @property
    def spread(self) -> float:
        """How far from zero the density of x matters, in units of x."""
        return 60 * float(np.sqrt(self.power / self.gamma))

    @property
    def has_zeros(self) -> bool:
        """Whether samples differ in how many coefficients are active."""
        return self.gamma < 1

    def draw(self, key: Array, shape: tuple[int, int], gamma: Array | float | None = None) -> Array:
        """Samples of x (N, L), float32 or complex64; `gamma` replaces the activity."""
        of_activity, of_value = jax.random.split(key)
        value = self.active(of_value, shape)
        if gamma is None and self.gamma == 1:
            return value
        chosen = jax.random.uniform(of_activity, shape) < (self.gamma if gamma is None else gamma)
        return jnp.where(chosen, value, jnp.zeros((), value.dtype))

    @abstractmethod
    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        """Samples of active coefficients (N, L), float32 or complex64."""

    @abstractmethod
    def posterior(self, r: Values, variance: Values) -> Posterior:
        """log p(r), E[x|r] and var(x|r) for r = x + noise of this variance, which broadcasts against r."""

    def scaled(self, c: Values) -> "Signal":
        """The law of c x, for a scale c above zero: a number or an array (N, 1)."""
        return Scaled(self, c)

    def real_part(self) -> "Signal":
        """The law of the real part of a complex coefficient. Raises NotImplementedError if it is unknown."""
        raise NotImplementedError

    def representatives(self, count: int, complex_values: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """`count` values of active coefficients and their probabilities: means of parts that are equally likely."""
        values = np.sort_complex(self.typical())
        parts = np.array_split(values if complex_values else np.real(values), count)
        return np.array([part.mean() for part in parts]), np.full(count, 1 / count)

    def components(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and variances of at most `most` Gaussians that describe active coefficients.

        Complex ones are circular: they have no means.
        """
        return fit_mixture(self.typical(), most)

    def typical(self, count: int = 4096) -> np.ndarray:
        """Active values, always the same, in double precision (count,)."""
        drawn = np.asarray(self.active(jax.random.key(2017), (count, 1))).ravel()
        return drawn.astype(np.complex128 if self.complex else np.float64)


@dataclass(frozen=True)
class Scaled(Signal):
    """The law of c x, where the law of x is `base`; hashable if c is a number."""

    base: Signal
    c: Values

    @property
    def gamma(self) -> float:  # type: ignore[override]
        return self.base.gamma

    @property
    def complex(self) -> bool:  # type: ignore[override]
        return self.base.complex

    @property
    def block(self) -> int:  # type: ignore[override]
        return self.base.block

    @property
    def power(self) -> Values:
        return self.c**2 * self.base.power

    @property
    def centers(self) -> tuple[Number, ...]:
        return tuple(center * float(c) for center in self.base.centers for c in np.ravel(self.c))

    @property
    def spread(self) -> float:
        return float(np.max(self.c)) * self.base.spread

    def draw(self, key: Array, shape: tuple[int, int], gamma: Array | float | None = None) -> Array:
        return self.base.draw(key, shape, gamma) * self.c

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        return self.base.active(key, shape) * self.c

    def posterior(self, r: Values, variance: Values) -> Posterior:
        xp = library(r)
        c = xp.asarray(self.c, r.real.dtype)
        found = self.base.posterior(r / c, variance / c**2)
        parts = 2 if self.complex else 1
        return Posterior(found.log_density - parts * xp.log(c), c * found.mean, c**2 * found.variance)

    def representatives(self, count: int, complex_values: bool = False) -> tuple[np.ndarray, np.ndarray]:
        values, probabilities = self.base.representatives(count, complex_values)
        return float(self.c) * values, probabilities

    def components(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights, means, variances = self.base.components(most)
        return weights, float(self.c) * means, float(self.c) ** 2 * variances

    def scaled(self, c: Values) -> "Signal":
        return Scaled(self.base, self.c * c)


def library(r: Values) -> ModuleType:
    """jax.numpy for JAX arrays, traced ones included; else NumPy."""
    return jnp if isinstance(r, jax.Array) else np


def prepared(r: Values, variance: Values) -> tuple[ModuleType, Values, Values]:
    """The library of r, r as an array, and v in the real precision of r."""
    xp = library(r)
    if xp is np:
        r = np.asarray(r)
        r = r.astype(np.complex128 if np.iscomplexobj(r) else np.float64)
    return xp, r, xp.asarray(variance, r.real.dtype)


def square(xp: ModuleType, a: Values) -> Values:
    """|a|², real, with a derivative at zero."""
    return xp.square(a.real) + xp.square(a.imag) if xp.iscomplexobj(a) else xp.square(a)


def joined(xp: ModuleType, log_weights: Values, means: Values, variances: Values) -> Posterior:
    """The posterior of a mixture from that of its components, which stand on the leading axis.

    `log_weights` are log(weight times density of r) of each component.
    """
    top = xp.max(log_weights, axis=0)
    if xp is jnp:
        top = jax.lax.stop_gradient(top)
    shares = xp.exp(log_weights - top)
    total = xp.sum(shares, axis=0)
    shares = shares / total
    mean = xp.sum(shares * means, axis=0)
    variance = xp.sum(shares * (variances + square(xp, means - mean)), axis=0)
    return Posterior(top + xp.log(total), mean, variance)


def joined_lists(log_weights: list[Array], means: list[Array], variances: list[Array]) -> Posterior:
    """The same for JAX arrays of single components, in lists."""
    return Posterior(*mixed(log_weights, means, variances))


def column(xp: ModuleType, values: Values, r: Values, dtype: Values = None) -> Values:
    """Values of components on a leading axis that broadcasts against r."""
    array = np.asarray(values)
    real = not np.iscomplexobj(array)
    return xp.asarray(array.reshape(array.shape + (1,) * r.ndim), dtype or (r.real.dtype if real else r.dtype))
