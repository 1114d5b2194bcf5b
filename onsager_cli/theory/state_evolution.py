"""State evolution of AMP and VAMP for large N: the NMSE that theory predicts, without a matrix and without samples.

| symbol | name                                                             | equation       |
|--------|------------------------------------------------------------------|----------------|
| τ²     | variance of the error r - x that the shrinkage meets             | (14), (24)     |
| σ²     | the variance that the algorithm believes in                      | (12), line 7   |
| τ̃², σ̃² | the same two of the pseudo-prior r̃                               | (22), line 12  |
| η      | denoiser η(r; σ)                                                 | (10b)          |
| e      | E (η(x + τ z; σ) - x)², z ~ N(0, 1)                              |                |
| ν      | E η'(x + τ z; σ)                                                 | (19)           |
| ν̃, ζ   | divergence of the linear stage, 1 / (1 - ν̃)                      | (20)           |

For matched denoisers τ = σ; for others, such as the soft threshold in VAMP, they part, so both are tracked. Signals
are Bernoulli-Gaussian (`Signal`), or any scalar law of `problems.signals`: whatever has `power`, `posterior(r, τ²)`,
`centers`, `spread` and `complex`. Expectations are integrals over r, by composite Gauss-Legendre on panels that grow
geometrically from τ, where the denoisers bend, to the tails: Gauss-Hermite over x and z errs by 10 to 50 % there.
For other laws, panels grow from every peak of the density of x, to both sides; for circular complex laws, over |r|.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from onsager_cli.metrics import to_db

Denoiser = Callable[[np.ndarray, float], np.ndarray]
"""(r, σ) → η, entry by entry."""

_PANELS, _NODES, _TAIL = 160, 8, 12.0


@dataclass(frozen=True)
class Signal:
    """The law of an entry of x: N(0, `variance`) with probability `gamma`, else 0; linear."""

    gamma: float
    variance: float = 1.0

    @property
    def power(self) -> float:
        """E x²."""
        return self.gamma * self.variance

    def posterior(self, r: np.ndarray, tau: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Density of r = x + τ z, and mean and variance of x given r."""
        wide = self.variance + tau**2
        on, off = norm.logpdf(r, scale=np.sqrt(wide)), norm.logpdf(r, scale=tau)
        active = expit(on - off + np.log(self.gamma / (1 - self.gamma)))
        mean, spread = r * (self.variance / wide), self.variance * tau**2 / wide
        density = self.gamma * np.exp(on) + (1 - self.gamma) * np.exp(off)
        return density, active * mean, active * (spread + (1 - active) * mean**2)


Number = complex  # `Law` has an attribute of the name of this type


class Law(Protocol):
    """A scalar law of x, such as those of `problems.signals`; `posterior` has log_density, mean and variance."""

    complex: bool

    @property
    def power(self) -> float: ...

    @property
    def centers(self) -> tuple[Number, ...]: ...

    @property
    def spread(self) -> float: ...

    def posterior(self, r: Any, variance: Any) -> Any: ...


def soft(alpha: float) -> Denoiser:
    """Soft threshold at α σ, eqs (5), (9)."""

    def eta(r, sigma):
        return np.sign(r) * np.maximum(np.abs(r) - alpha * sigma, 0)

    return eta


def conditional_mean(signal: Signal | Law) -> Denoiser:
    """E[x | r], the MMSE denoiser of the signal (eq 39)."""
    if isinstance(signal, Signal):
        return lambda r, sigma: signal.posterior(r, sigma)[1]
    return lambda r, sigma: signal.posterior(r, sigma**2).mean


def denoising(signal: Signal | Law, eta: Denoiser, tau: float, sigma: float) -> tuple[float, float]:
    """e and ν of a denoiser told σ where the error has the standard deviation τ; linear, per entry.

    e = E[(η - E[x|r])² + var(x|r)] and, by Stein's lemma, ν = E[η (r - E[x|r])] / τ², which spares the derivative
    and its jumps. For Bernoulli-Gaussian signals, both are even in r: twice the integral over r > 0.
    """
    if not isinstance(signal, Signal):
        return _denoising(signal, eta, tau, sigma)
    top = _TAIL * np.sqrt(signal.variance + tau**2)
    edges = np.concatenate([[0], np.geomspace(min(tau, sigma) / 8, top, _PANELS)])
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    r = (edges[:-1, None] + half * (1 + nodes)).ravel()
    density, mean, variance = signal.posterior(r, tau)
    mass = 2 * (half * weights).ravel() * density
    x_hat = eta(r, sigma)
    return float(mass @ ((x_hat - mean) ** 2 + variance)), float(mass @ (x_hat * (r - mean))) / tau**2


def _denoising(signal: Law, eta: Denoiser, tau: float, sigma: float) -> tuple[float, float]:
    """`denoising` of another law. Raises ValueError for complex laws that are not circular."""
    top = signal.spread + _TAIL * tau
    outwards = np.concatenate([[0], np.geomspace(min(tau, sigma) / 8, 2 * top, _PANELS)])
    if signal.complex and any(signal.centers):
        raise ValueError("state evolution needs real or circular complex signals")
    if signal.complex:
        edges = outwards[outwards <= top]
    else:
        centers = np.real(signal.centers)
        around = (np.concatenate([center + outwards, center - outwards]) for center in centers)
        edges = np.unique(np.clip(np.concatenate(list(around)), -top, top))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    r = (edges[:-1, None] + half * (1 + nodes)).ravel()
    found = signal.posterior(r.astype(complex) if signal.complex else r, tau**2)
    mass = (half * weights).ravel() * np.exp(found.log_density)
    if signal.complex:
        mass *= 2 * np.pi * r
    x_hat = eta(r, sigma)
    error = float(mass @ (np.abs(x_hat - found.mean) ** 2 + found.variance))
    return error, float(np.real(mass @ (x_hat * np.conj(r - found.mean)))) / tau**2


def soft_threshold_error(signal: Signal, tau: float, threshold: float) -> tuple[float, float]:
    """e and ν of the soft threshold at the level `threshold`, in closed form.

    For u ~ N(0, s²): E max(|u| - λ, 0)² = 2 [(s² + λ²) Q - λ s φ] with Q, φ tail and density at λ/s, and for an
    active entry, jointly Gaussian with r, E x η = φ P(|r| > λ) by Stein's lemma.
    """

    def pieces(scale):
        z = threshold / scale
        tail = norm.sf(z)
        return 2 * ((scale**2 + threshold**2) * tail - threshold * scale * norm.pdf(z)), 2 * tail

    energy_off, crossed_off = pieces(tau)
    energy_on, crossed_on = pieces(np.sqrt(signal.variance + tau**2))
    error_on = energy_on - 2 * signal.variance * crossed_on + signal.variance
    gamma = signal.gamma
    return (float((1 - gamma) * energy_off + gamma * error_on), float((1 - gamma) * crossed_off + gamma * crossed_on))


def amp(signal: Signal | Law, eta: Denoiser, noise_variance: float, ratio: float, iterations: int) -> np.ndarray:
    """NMSE in dB of AMP after 1, 2, ... iterations, for A with i.i.d. N(0, 1/M) entries and N/M = `ratio`.

    τ² = σ_w² + (N/M) e, beginning at e = E x²; AMP measures its own τ, so that σ = τ (eq 12).

    Example:
        >>> from onsager_cli import state_evolution
        >>> signal = state_evolution.Signal(gamma=0.1)
        >>> levels = state_evolution.amp(signal, state_evolution.conditional_mean(signal), 2e-5, 2.0, 10)
        >>> bool(levels[-1] < -40)
        True
    """
    error, errors = signal.power, []
    for _ in range(iterations):
        tau = np.sqrt(noise_variance + ratio * error)
        error, _ = denoising(signal, eta, tau, tau)
        errors.append(error)
    return to_db(np.array(errors) / signal.power)


def vamp(
    signal: Signal | Law, eta: Denoiser, noise_variance: float, s: np.ndarray, N: int, iterations: int
) -> np.ndarray:
    """NMSE in dB of VAMP after 1, 2, ... iterations, for A (M, N) with the singular values `s`.

    It begins at r̃ = 0 with σ̃² = ‖y‖²/N, and is told the true σ_w². Divergences are clipped as in the network.

    Example:
        >>> import numpy as np
        >>> from onsager_cli import state_evolution
        >>> signal = state_evolution.Signal(gamma=0.1)
        >>> eta, s = state_evolution.conditional_mean(signal), np.full(250, np.sqrt(2))
        >>> bool(state_evolution.vamp(signal, eta, 2e-5, s, 500, 10)[-1] < -40)
        True
    """
    s2 = np.square(np.asarray(s, np.float64))
    M_noise = len(s2) * noise_variance
    true, believed = signal.power, (np.sum(s2) * signal.power + M_noise) / N
    errors = []
    for _ in range(iterations):
        rho = noise_variance / believed
        d = s2 / (s2 + rho)
        nu = _clip(1 - np.sum(d) / N, N)
        zeta = 1 / (1 - nu)
        # r - x = (I - ζ V D Vᵀ)(r̃ - x) + ζ V G Uᵀ w, r̃ - x white
        tau2 = (N - len(s2) + np.sum((1 - zeta * d) ** 2)) * true / N
        tau2 += zeta**2 * noise_variance * np.sum(s2 / (s2 + rho) ** 2) / N
        sigma2 = believed * nu * zeta
        error, nu = denoising(signal, eta, np.sqrt(tau2), np.sqrt(sigma2))
        errors.append(error)
        nu = _clip(nu, N)
        # r̃ - x = (x̂ - x - ν (r - x)) / (1 - ν), and E (x̂ - x)(r - x) = ν τ² by Stein's lemma
        true, believed = (error - nu**2 * tau2) / (1 - nu) ** 2, sigma2 * nu / (1 - nu)
    return to_db(np.array(errors) / signal.power)


def _clip(divergence: float, N: int) -> float:
    return float(np.clip(divergence, 0.5 / N, 1 - 0.5 / N))
