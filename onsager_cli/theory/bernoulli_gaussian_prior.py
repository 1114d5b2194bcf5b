"""The Bernoulli-Gaussian prior in float64 NumPy, with a variance per coordinate where columns are scaled."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class BernoulliGaussianPrior:
    """x_n is N(0, `variance`) with probability `gamma`, else 0; linear. `variance` is a number or (N, 1).

    Over the complex numbers, active entries are circular and `variance` is E|x|².
    """

    gamma: float
    variance: float | np.ndarray = 1.0
    is_complex: bool = False

    @property
    def power(self) -> float | np.ndarray:
        """E|x_n|², linear."""
        return self.gamma * self.variance

    def posterior(self, r: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log density of r = x + noise of this variance, and mean and variance of x given r."""
        share = 1.0 if self.is_complex else 0.5  # of |x|²/φ in the exponent of a Gaussian density
        shrink = self.variance / (self.variance + variance)
        square = np.abs(r) ** 2 if self.is_complex else np.square(r)
        odds = np.log(self.gamma / (1 - self.gamma)) + share * (np.log1p(-shrink) + square * (shrink / variance))
        active, mean = expit(odds), shrink * r
        off = np.log1p(-self.gamma) - share * (np.log(np.pi / share * variance) + square / variance)
        spread = shrink * variance + (1 - active) * (shrink * shrink) * square
        return off + np.logaddexp(0, odds), active * mean, active * spread

    def scaled(self, factor: np.ndarray) -> "BernoulliGaussianPrior":
        """The law of c x, for c (N, 1)."""
        return replace(self, variance=self.variance * np.abs(factor) ** 2)
