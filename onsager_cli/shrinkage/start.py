"""Where θ starts: the parameters with which a family comes closest to the posterior mean of a signal.

The fit is at the errors that the first layers meet: σ² = σ_w² + (N/M) f E|x|², with the shares f of the error that is
left (FACTORS). It minimizes E|η(r; σ, θ) - E[x|r]|² over samples of r that are always the same, each level relative to
its own error. A signal is whatever has `gamma`, `power`, `complex`, `block`, `draw`, `active`, `posterior`, `components`
and `representatives`.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find
from onsager_cli.shrinkage import build
from onsager_cli.shrinkage.family import Family

FACTORS = (1.0, 0.1)
SAMPLES = 4096  # of r at each level
DIGITS = 4  # of θ: what a library rounds otherwise makes no difference
COMPONENTS = 4  # of a mixture, that of zero included
LETTERS = 5  # that stand for a signal without letters
NARROW = 1e-8  # variance of a component that is a point, as a share of E|x|² of active coefficients


@lru_cache(maxsize=256)
def start(name: str, signal: Any, noise_variance: float, ratio: float, fixed_scale: bool = False) -> tuple[float, ...]:
    """θ of the family `name` for a signal, with N/M = `ratio`; `fixed_scale` keeps the first parameter at 1.

    Raises ValueError for a family whose record has no start.
    """
    kind = find(ShrinkageKind, name)
    active_power = signal.power / signal.gamma
    if kind.begins == "mixture":
        return _rounded(_components(signal, active_power))
    if kind.begins == "letters":
        return _rounded(_letters(signal))
    if kind.begins == "scale":
        return _rounded([value * np.sqrt(active_power) for value in kind.start])
    if kind.begins == "start":
        return kind.start
    first = kind.start
    if kind.begins == "prior":
        first = (float(active_power), _log_odds(signal.gamma))
    if not first:
        raise ValueError(f"shrinkage={name} has no default start: set shrinkage.theta")
    return _fitted(build(name), first, signal, noise_variance, ratio, fixed_scale)


def _fitted(
    family: Family, first: tuple[float, ...], signal: Any, noise_variance: float, ratio: float, fixed_scale: bool
) -> tuple[float, ...]:
    """Least squares from θ = `first`, in double precision."""
    free = np.arange(1 if fixed_scale else 0, len(first))
    with jax.enable_x64(True):
        levels = [_level(signal, noise_variance + ratio * factor * signal.power) for factor in FACTORS]
        eta = jax.jit(family.eta)

        def residuals(moved: np.ndarray) -> np.ndarray:
            theta = np.array(first, np.float64)
            theta[free] = moved
            theta = np.asarray(family.project(jnp.asarray(theta)))
            found = []
            for r, sigma, mean, rms in levels:
                x_hat, _ = eta(r, jnp.full((1, 1), sigma), jnp.asarray(theta))
                error = (np.asarray(x_hat) - mean).ravel() / rms
                found += [error.real, error.imag] if np.iscomplexobj(error) else [error]
            return np.concatenate(found)

        best = least_squares(residuals, np.array(first)[free], diff_step=1e-4, max_nfev=60).x
        theta = np.array(first, np.float64)
        theta[free] = best
        theta = np.asarray(family.project(jnp.asarray(theta)))
    return _rounded(theta)


def _level(signal: Any, variance: float) -> tuple[Any, float, np.ndarray, float]:
    """Samples of r (n, 1), the standard deviation of their error, E[x|r], and the root of the mean of var(x|r)."""
    of_x, of_w = jax.random.split(jax.random.key(2017))
    block = signal.block
    with jax.enable_x64(False):
        x = np.asarray(signal.draw(of_x, (SAMPLES // block * block, 1)) if block > 1 else _scalars(signal, of_x))
        w = np.asarray(jax.random.normal(of_w, x.shape, jnp.complex64 if signal.complex else jnp.float32))
    r = x.astype(np.complex128 if signal.complex else np.float64) + np.sqrt(variance) * w
    found = signal.posterior(r, variance)
    return jnp.asarray(r), float(np.sqrt(variance)), np.asarray(found.mean), float(np.sqrt(np.mean(found.variance)))


def _scalars(signal: Any, key: Any) -> Any:
    """Coefficients one by one (n, 1), zero or active."""
    of_activity, of_value = jax.random.split(key)
    value = signal.active(of_value, (SAMPLES, 1))
    return jnp.where(jax.random.uniform(of_activity, value.shape) < signal.gamma, value, jnp.zeros((), value.dtype))


def _components(signal: Any, active_power: float) -> list[float]:
    """θ of a mixture: points or narrow parts of the active law, and zero."""
    parts: list[tuple[float, float, float]] = []
    if signal.gamma < 1:
        parts.append((1 - signal.gamma, 0.0, NARROW * active_power))
    weights, means, variances = signal.components(COMPONENTS - len(parts))
    parts += [
        (signal.gamma * w, m, max(s, NARROW * active_power)) for w, m, s in zip(weights, means, variances, strict=True)
    ]
    if len(parts) == 1:  # a Gaussian, as two of them
        parts = [(parts[0][0] / 2, *parts[0][1:])] * 2
    return [1.0, *(value for w, m, s in parts for value in (np.log(w), m, np.log(s)))]


def _letters(signal: Any) -> list[float]:
    """θ of an alphabet: the values of the signal, or some that stand for them, and zero."""
    values, probabilities = signal.representatives(LETTERS, signal.complex)
    letters = [(signal.gamma * p, complex(v)) for v, p in zip(values, probabilities, strict=True)]
    if signal.gamma < 1:
        letters.insert(0, (1 - signal.gamma, 0j))
    return [1.0, *(part for p, v in letters for part in (np.log(p), v.real, v.imag))]


def _log_odds(gamma: float) -> float:
    return float(np.log((1 - gamma) / gamma)) if gamma < 0.98 else -4.0


def _rounded(theta: Any) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in theta)
