"""What is known of x after the last layer: a Bernoulli-Gaussian prior fitted to its r and σ, and the activity of users.

A family whose shrinkage belongs to a prior knows P(x ≠ 0 | r) itself (`Belief`). For the others, r = a x + c σ w with
Gaussian w is fitted to samples of known x:

| symbol | name                                      | estimate                                   |
|--------|-------------------------------------------|--------------------------------------------|
| a      | gain of r                                 | Σ Re(x* r) / Σ |x|²                        |
| c      | error of r over σ                         | c² = Σ |r - a x|² / Σ σ²                   |
| γ, φ   | P(x ≠ 0), and E|x|² of active coefficients | shares and means                           |

All are linear, one per group of coordinates that share a prior. A network without σ gets 1 for it, so that c is the
error itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.shrinkage.bernoulli_gaussian import belief
from onsager_cli.shrinkage.family import Belief

LEAST = 1e-6  # γ and 1 - γ stay above, so that odds stay finite


@dataclass(frozen=True)
class FittedPrior:
    """The fit, for each coordinate: gain a, level c, activity γ and power φ, (N, 1) each."""

    gain: np.ndarray
    level: np.ndarray
    gamma: np.ndarray
    phi: np.ndarray

    def belief(self, r: Array, sigma: Array) -> Belief:
        """What is known of x given r (N, L) and σ (1, L)."""
        theta = (jnp.asarray(self.phi), jnp.asarray(np.log1p(-self.gamma) - np.log(self.gamma)))
        return belief(r / self.gain, jnp.asarray(self.level) * sigma / self.gain, theta)


def fitted(x: np.ndarray, r: np.ndarray, sigma: np.ndarray, groups: Sequence[int] = ()) -> FittedPrior:
    """The prior of samples x (N, L) with shrinkage inputs r (N, L) and σ (1, L); `groups` names that of each coordinate."""
    N = len(x)
    of = np.asarray(groups) if groups else np.zeros(N, int)
    values = np.empty((4, N, 1))
    for group in np.unique(of):
        rows = of == group
        a, b = np.asarray(x[rows], np.complex128), np.asarray(r[rows], np.complex128)
        square = np.sum(np.abs(a) ** 2)
        gain = float(np.sum((a.conj() * b).real) / square) if square else 1.0
        gain = gain if gain > 0 else 1.0
        noise = np.broadcast_to(np.asarray(sigma, np.float64) ** 2, b.shape)
        level = np.sqrt(np.sum(np.abs(b - gain * a) ** 2) / np.sum(noise))
        active = a != 0
        gamma = float(np.clip(np.mean(active), LEAST, 1 - LEAST))
        phi = square / max(np.count_nonzero(active), 1)
        values[:, rows, 0] = np.array([gain, level, gamma, phi])[:, None]
    return FittedPrior(*np.asarray(values, np.float32))


def activity(found: Belief, parts: int = 1) -> Array:
    """P(active | r) of each user, (N / parts, L): a user has `parts` coordinates, which are active together."""
    if parts == 1:
        return jax.nn.sigmoid(found.log_odds)
    evidence = jnp.broadcast_to(found.log_odds - found.prior, found.log_odds.shape)
    prior = jnp.broadcast_to(found.prior, found.log_odds.shape).reshape(parts, -1, found.log_odds.shape[1])[0]
    return jax.nn.sigmoid(jnp.sum(evidence.reshape(parts, -1, evidence.shape[1]), axis=0) + prior)
