"""Bernoulli-Gaussian signals (Section VI-A): x_n is N(0, 1) with probability γ, else 0; and other signals instead."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.problems import BernoulliGaussian
from onsager_cli.kinds.records import ProblemKind
from onsager_cli.problems import signals
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.noise import measured
from onsager_cli.problems.signals.base import Signal

KIND = ProblemKind("bernoulli_gaussian", of="law", settings=BernoulliGaussian)


@dataclass(frozen=True)
class Draw:
    """The law of (x, w); equal laws are equal, so that compiled programs are shared between matrices."""

    gamma: float

    @property
    def power(self) -> float:
        """E x_n², linear."""
        return self.gamma

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        return self._draw(problem, key, batch, jnp.float32(self.gamma))

    def emphasized(
        self, problem: Problem, key: Array, batch: int, emphasis: Array | float, most: float
    ) -> tuple[Array, Array, Array]:
        """Samples x (N, batch), y (M, batch) drawn with the odds of γ times `emphasis`, and likelihood ratios (batch,).

        p(x) / q(x) = (γ/γ')^K ((1-γ)/(1-γ'))^(N-K) for a sample with K active coefficients.
        """
        del most  # any activity costs the same here
        rest = 1 - self.gamma
        gamma = self.gamma * emphasis / (rest + self.gamma * emphasis)
        x, y = self._draw(problem, key, batch, gamma)
        active, N = jnp.sum(x != 0, axis=0), x.shape[0]
        return (x, y, jnp.exp(active * jnp.log(self.gamma / gamma) + (N - active) * jnp.log(rest / (1 - gamma))))

    def _draw(self, problem: Problem, key: Array, batch: int, gamma: Array | float) -> Samples:
        """Samples with activity `gamma`.

        One random word serves both activity and value: below γ 2³² the coefficient is active. Given that, the word is
        uniform, and the inverse error function makes it Gaussian.
        """
        N = problem.A.shape[1]
        key_x, key_w = jax.random.split(key)
        words = jax.random.bits(key_x, (N, batch), jnp.uint32)
        limit = jnp.minimum(gamma * 2.0**32, 2.0**32 - 256)  # the largest float32 below 2³²
        uniform = (words.astype(jnp.float32) + 0.5) * (2.0 / limit) - 1.0
        value = np.float32(np.sqrt(2.0)) * jax.lax.erf_inv(jnp.clip(uniform, -1 + 2.0**-24, 1 - 2.0**-24))
        x = jnp.where(words < limit.astype(jnp.uint32), value, 0.0)
        return Samples(x, measured(problem, key_w, x))


@dataclass(frozen=True)
class SignalDraw:
    """The law of (x, w) with any signal; equal laws are equal."""

    signal: Signal
    parts: int = 1  # 2: x is [Re x; Im x]

    @property
    def power(self) -> float:
        """E|x_n|² of a coordinate, linear."""
        return self.signal.power / self.parts

    @property
    def active_power(self) -> float:
        """E|x_n|² of an active coordinate, linear."""
        return self.power / self.signal.gamma

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        return self._draw(problem, key, batch, None)

    def of(self, part: str) -> "SignalDraw":
        """The law of the selection or test set; another one than that of training for signals from a file alone."""
        chosen = getattr(self.signal, "of", None)
        return self if chosen is None else SignalDraw(chosen(part), self.parts)

    def emphasized(
        self, problem: Problem, key: Array, batch: int, emphasis: Array | float, most: float
    ) -> tuple[Array, Array, Array]:
        """Samples as those of `Draw.emphasized`, with active blocks counted where coefficients are active together."""
        del most  # any activity costs the same here
        if not self.signal.has_zeros:
            x, y = self(problem, key, batch)
            return x, y, jnp.ones(batch, problem.noise_variance.dtype)
        known, block = self.signal.gamma, self.signal.block
        gamma = known * emphasis / (1 - known + known * emphasis)
        x, y = self._draw(problem, key, batch, gamma)
        count = x.shape[0] // (self.parts * block)
        active = jnp.sum(jnp.any(x.reshape(self.parts, count, block, batch) != 0, axis=(0, 2)), axis=0)
        off = (count - active) * jnp.log((1 - known) / (1 - gamma))
        return x, y, jnp.exp(active * jnp.log(known / gamma) + off)

    def _draw(self, problem: Problem, key: Array, batch: int, gamma: Array | float | None) -> Samples:
        key_x, key_w = jax.random.split(key)
        x = self.signal.draw(key_x, (problem.A.shape[1] // self.parts, batch), gamma)
        x = jnp.concatenate([x.real, x.imag]) if self.parts == 2 else x
        return Samples(x, measured(problem, key_w, x))


def law(settings: BernoulliGaussian, seed: int = 0) -> Draw | SignalDraw:
    """The law that settings describe; `seed` splits the samples of a file."""
    if settings.signal is None and not settings.complex_signals:
        return Draw(settings.gamma)
    return SignalDraw(signals.of(settings, seed), settings.parts)
