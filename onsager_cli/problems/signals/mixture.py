"""Signals that are mixtures of Gaussians, of which some are points: Bernoulli-Gaussian, alphabets, Student's t.

The posterior of a Gaussian mixture is a Gaussian mixture: component k with weight w_k, mean m_k and variance s_k has the
gain s_k / (s_k + v). A point has s_k = 0. Student's t with ν degrees of freedom is N(0, scale² τ), with τ inverse gamma
(ν/2, ν/2): the trapezoidal rule in log τ, which converges exponentially, makes a mixture of it.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.records import SignalKind
from onsager_cli.kinds.signals import AlphabetSignal, GaussianSignal, MixtureSignal, SignalSettings, StudentSignal
from onsager_cli.problems.signals.base import (
    LOG_2PI,
    Number,
    Posterior,
    Signal,
    Values,
    column,
    joined,
    joined_lists,
    prepared,
    square,
)

BERNOULLI_GAUSSIAN = SignalKind(
    "bernoulli_gaussian", of="gaussian", settings=GaussianSignal, certain=False, separable=True
)
RADEMACHER = SignalKind("rademacher", of="rademacher", separable=True)
ALPHABET = SignalKind("alphabet", of="alphabet", settings=AlphabetSignal, separable=True)
MIXTURE = SignalKind("mixture", of="mixture", settings=MixtureSignal, separable=True)
STUDENT_T = SignalKind("student_t", of="student_t", settings=StudentSignal)

STEP = 0.5  # of log τ at most: the error of the rule is below 1e-8
FARTHEST = np.log(1e10)  # of τ: what is beyond has a share of the energy below 1e-5 for ν = 3
NEGLIGIBLE = 40  # nats below the largest weight


@dataclass(frozen=True)
class GaussianMixture(Signal):
    """Zero with probability 1 - γ, else from a mixture: `weights` sum to 1; a variance of 0 makes a value of a mean.

    Example:
        >>> import numpy as np
        >>> ternary = GaussianMixture(0.1, (0.5, 0.5), (-1.0, 1.0), (0.0, 0.0))
        >>> float(ternary.posterior(np.array([0.0]), 1e-4).mean[0])
        0.0
    """

    gamma: float
    weights: tuple[float, ...]
    means: tuple[Number, ...]
    variances: tuple[float, ...]
    complex: bool = False

    @property
    def power(self) -> float:
        square_mean = np.square(np.abs(self.means))
        return float(self.gamma * np.dot(self.weights, square_mean + np.asarray(self.variances)))

    @property
    def centers(self) -> tuple[Number, ...]:
        return tuple(dict.fromkeys((0.0, *self.means)))

    @property
    def spread(self) -> float:
        widest = 12 * float(np.sqrt(max(self.variances)))
        return float(np.max(np.abs(self.means))) + widest

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        of_component, of_value = jax.random.split(key)
        weights, means = np.asarray(self.weights), np.asarray(self.means)
        k = jnp.zeros(shape, jnp.int32)
        if len(weights) > 1:
            edges = jnp.asarray(np.cumsum(weights)[:-1] / np.sum(weights), jnp.float32)
            k = jnp.sum(jax.random.uniform(of_component, shape)[..., None] >= edges, axis=-1)
        value = jnp.asarray(means, jnp.complex64 if self.complex else jnp.float32)[k]
        if not any(self.variances):
            return value
        kind = jnp.complex64 if self.complex else jnp.float32  # of complex numbers, JAX draws circular ones
        return value + jnp.sqrt(jnp.asarray(self.variances, jnp.float32))[k] * jax.random.normal(of_value, shape, kind)

    def posterior(self, r: Values, variance: Values) -> Posterior:
        xp, r, v = prepared(r, variance)
        weights, means, variances = self.with_zero()
        exponent = 1.0 if xp.iscomplexobj(r) else 0.5
        if xp is jnp:
            return self._one_by_one(r, v, exponent)
        m, s = column(xp, means, r), column(xp, variances, r)
        total = s + v
        distance = r - m
        constants = column(xp, np.log(weights) - exponent * (LOG_2PI - np.log(2) * (exponent == 1)), r)
        log_weights = constants - exponent * (square(xp, distance) / total + xp.log(total))
        gain = s / total
        return joined(xp, log_weights, m + gain * distance, gain * v)

    def _one_by_one(self, r: Values, v: Values, exponent: float) -> Posterior:
        """The posterior without an axis of components, so that XLA fuses all of it."""
        logs, means, variances = [], [], []
        for weight, m, s in zip(*self.with_zero(), strict=True):
            total = np.asarray(s, v.dtype) + v
            distance = r - jnp.asarray(m, r.dtype)
            constant = np.log(weight) - exponent * (LOG_2PI - np.log(2) * (exponent == 1))
            logs.append(np.asarray(constant, v.dtype) - exponent * (square(jnp, distance) / total + jnp.log(total)))
            means.append(jnp.asarray(m, r.dtype) + np.asarray(s, v.dtype) / total * distance)
            variances.append(np.asarray(s, v.dtype) / total * v)
        return joined_lists(logs, means, variances)

    def real_part(self) -> "GaussianMixture":
        halves = tuple(variance / 2 for variance in self.variances)
        return GaussianMixture(self.gamma, self.weights, tuple(float(np.real(m)) for m in self.means), halves)

    def representatives(self, count: int, complex_values: bool = False) -> tuple[np.ndarray, np.ndarray]:
        if any(self.variances):
            return super().representatives(count, complex_values)
        return np.asarray(self.means), np.asarray(self.weights)

    def components(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if len(self.weights) > most or (self.complex and np.any(self.means)):
            return super().components(most)
        return np.asarray(self.weights), np.real(self.means), np.asarray(self.variances)

    def with_zero(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and variances of all components, that of zero included."""
        weights, means, variances = map(np.asarray, (self.weights, self.means, self.variances))
        weights = self.gamma * weights / np.sum(weights)
        if self.gamma == 1:
            return weights, means, variances
        return np.append(1 - self.gamma, weights), np.append(0, means), np.append(0, variances)


def gaussian(settings: GaussianSignal, gamma: float, is_complex: bool) -> GaussianMixture:
    """Active coefficients are N(mean, variance)."""
    return GaussianMixture(gamma, (1.0,), (settings.mean,), (settings.variance,), is_complex)


def rademacher(settings: SignalSettings, gamma: float, is_complex: bool) -> GaussianMixture:
    """Active coefficients are -1 or 1."""
    del settings
    return GaussianMixture(gamma, (0.5, 0.5), (-1.0, 1.0), (0.0, 0.0), is_complex)


def alphabet(settings: AlphabetSignal, gamma: float, is_complex: bool) -> GaussianMixture:
    """Active coefficients take the values that the settings list, equally likely without probabilities."""
    values = tuple(complex(*pair) if is_complex else pair[0] for pair in settings.values)
    count = len(values)
    weights = settings.probabilities or (1 / count,) * count
    return GaussianMixture(gamma, tuple(weights), values, (0.0,) * count, is_complex)


def mixture(settings: MixtureSignal, gamma: float, is_complex: bool) -> GaussianMixture:
    """Active coefficients come from a Gaussian mixture."""
    return GaussianMixture(gamma, settings.weights, settings.means, settings.variances, is_complex)


@dataclass(frozen=True)
class StudentT(GaussianMixture):
    """Active coefficients are `scale` times Student's t with `dof` degrees of freedom; the mixture approximates them."""

    dof: float = 3.0
    scale: float = 1.0

    @property
    def power(self) -> float:
        return self.gamma * self.scale**2 * self.dof / (self.dof - 2)

    @property
    def spread(self) -> float:
        return 1000 * self.scale

    def active(self, key: Array, shape: tuple[int, int]) -> Array:
        of_value, of_tau = jax.random.split(key)
        value = jax.random.normal(of_value, shape, jnp.complex64 if self.complex else jnp.float32)
        tau = (self.dof / 2) / jax.random.gamma(of_tau, self.dof / 2, shape)
        return jnp.float32(self.scale) * jnp.sqrt(tau) * value


def student_t(settings: StudentSignal, gamma: float, is_complex: bool) -> StudentT:
    """Student's t as a scale mixture; complex coefficients are circular, with E|x|² of the real ones."""
    half = settings.dof / 2
    step = min(STEP, float(np.sqrt(2 / settings.dof)))
    u = step * np.arange(-int(20 / step), int(FARTHEST / step) + 1)
    log_weights = -half * (u + np.exp(-u))  # density of log τ
    kept = log_weights > log_weights.max() - NEGLIGIBLE
    weights = np.exp(log_weights[kept] - log_weights.max())
    weights, variances = weights / weights.sum(), settings.scale**2 * np.exp(u[kept])
    return StudentT(
        gamma, tuple(map(float, weights)), (0.0,) * len(weights), tuple(map(float, variances)), is_complex,
        settings.dof, settings.scale,
    )  # fmt: skip
