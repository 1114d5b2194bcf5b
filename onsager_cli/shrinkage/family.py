"""Shrinkage families: functions η(r; σ, θ) with their average derivatives, made from functions of one coordinate.

| symbol | name                                   | equation      |
|--------|----------------------------------------|---------------|
| r      | shrinkage input, x + error             | (31a), (41)   |
| σ      | standard deviation of that error       | (31a)         |
| θ      | parameters of a family, the paper's order | (32)-(36), (40) |
| ⟨η'⟩   | average of ∂η/∂r over the coordinates of one sample | (31b) |

Samples are columns: r has shape (N, L), σ (1, L), linear units. One parameter of θ is a scalar or an array that
broadcasts against r. r may be complex; σ² is then E|error|². Every family returns `(x_hat, slope)`: x̂ (N, L), and the
exact average derivative (1, L). Reference: Borgerding, Schniter, Rangan (2017), Section IV-A.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.linalg import computed_once, magnitude, sum_to, total

Theta = Sequence[Array] | Array
Eta = Callable[[Array, Array, Theta], tuple[Array, Array]]  # (r, σ, θ) → (η, ⟨η'⟩)
Core = Callable[..., tuple[Array, Array]]  # (r, *coefficients) → (η, η') or (η, ⟨η'⟩)


class Belief(NamedTuple):
    """What a prior knows of x given r: log-odds of x ≠ 0, E[x|r] and var(x|r), (N, L) each.

    `prior` are the log-odds of x ≠ 0 without r, () or (N, 1).
    """

    log_odds: Array
    mean: Array
    variance: Array
    prior: Array


FREE = float("-inf")  # lower bound of a parameter without one
KNEE_WIDTH = 0.25  # half the width, in σ, of the ramp by which the derivative of ⟨η'⟩ replaces a jump of η'


def average(derivative: Array) -> Array:
    """⟨η'⟩ of eq (31b): the mean of a derivative (N, L) over the coordinates, (1, L)."""
    return total(derivative) / derivative.shape[0]


def circular(eta: Eta) -> Eta:
    """Extend a family to complex r: it shrinks |r| and keeps the phase.

    With g = η(|r|), the estimate is (g/|r|) r and its derivative, in Wirtinger's sense, ∂η/∂r = (g' + g/|r|) / 2.
    """

    @wraps(eta)
    def extended(r: Array, sigma: Array, theta: Theta) -> tuple[Array, Array]:
        if not jnp.iscomplexobj(r):
            return eta(r, sigma, theta)
        size = magnitude(r)
        g, slope = eta(size, sigma, theta)
        gain = g / size
        return gain * r, 0.5 * (slope + average(gain))

    return extended


def summed(fixed: int = 0) -> Callable[[Core], Core]:
    """Make η and ⟨η'⟩, with a cheap derivative, from `core(r, *coefficients)` → (η, η') of single coordinates.

    `core` works coordinate by coordinate. Coefficients broadcast against r (N, L); the last `fixed` have no derivative.
    Autodiff would sum over the coordinates once for every use of a coefficient. Here, forward mode differentiates η and η'
    of a coordinate in r and in each coefficient: one pass and one sum for each. The result supports reverse mode alone:
    `jax.jvp` of it raises TypeError.
    """

    def decorate(core: Core) -> Core:
        @jax.custom_vjp
        def eta(r: Array, *coefficients: Array) -> tuple[Array, Array]:
            x_hat, derivative = core(r, *coefficients)
            return x_hat, average(derivative)

        def forward(r: Array, *coefficients: Array) -> tuple[tuple[Array, Array], tuple[Array, tuple[Array, ...]]]:
            return eta(r, *coefficients), (r, coefficients)

        def backward(kept: tuple[Array, tuple[Array, ...]], cotangents: tuple[Array, Array]) -> tuple[Array, ...]:
            r, coefficients = kept
            to_x_hat, to_slope = cotangents
            to_derivative = computed_once(to_slope) / r.shape[0]
            arguments = (r, *coefficients)

            def moved_by(i: int) -> Array:
                def alone(argument: Array) -> tuple[Array, Array]:
                    return core(*arguments[:i], argument, *arguments[i + 1 :])

                _, (of_x_hat, of_derivative) = jax.jvp(alone, (arguments[i],), (jnp.ones_like(arguments[i]),))
                return sum_to(arguments[i].shape, to_x_hat * of_x_hat + to_derivative * of_derivative)

            learned = len(arguments) - fixed
            return *(moved_by(i) for i in range(learned)), *(jnp.zeros_like(c) for c in arguments[learned:])

        eta.defvjp(forward, backward)

        @wraps(core)
        def extended(r: Array, *coefficients: Array) -> tuple[Array, Array]:
            if jnp.iscomplexobj(r):  # left to autodiff
                x_hat, derivative = core(r, *coefficients)
                return x_hat, average(derivative)
            return eta(r, *(jnp.asarray(c, r.dtype) for c in coefficients))

        return extended

    return decorate


@dataclass(frozen=True)
class Family:
    """A shrinkage family: η, the names of its parameters and the box that keeps them meaningful.

    `slopes` are the indices of all parameters in units of η / r, if the others are in units of r / σ: such a family
    can undo any scale of r.
    """

    name: str
    eta: Eta
    parameters: tuple[str, ...]
    lower: tuple[float, ...]
    repeated_lower: tuple[float, ...] = ()  # of the parameters that follow once for each component
    ordered: bool = False  # the first two parameters are abscissae θ1 <= θ2
    slopes: tuple[int, ...] = ()
    logarithmic: bool = True  # a scale learns by its logarithm in spectral coordinates

    @property
    def scale(self) -> int | None:
        """Index of the slope if there is exactly one, so that it only scales η; else None.

        In the first layer of LAMP, the scale of B has the same effect (Section III-C), so that this slope stays fixed.
        """
        return self.slopes[0] if len(self.slopes) == 1 else None

    def lowest(self, size: int) -> tuple[float, ...]:
        """The lowest values of a row of `size` parameters."""
        if not self.repeated_lower:
            return self.lower
        return self.lower + self.repeated_lower * ((size - len(self.lower)) // len(self.repeated_lower))

    def units(self, theta: Array) -> Array:
        """θ for positive scales, 1 for the other parameters, (..., k): the derivative of a scale by its logarithm.

        A scale may have to change much. In the first layer of a deeper network, the best φ of Bernoulli-Gaussian
        shrinkage is infinite.
        """
        is_scale = jnp.asarray([low > 0 and self.logarithmic for low in self.lowest(theta.shape[-1])])
        return jnp.where(is_scale, theta, jnp.ones_like(theta))

    def project(self, theta: Array) -> Array:
        """The nearest allowed θ, shape (..., k): positive scales, thresholds >= 0, ordered knees."""
        theta = jnp.maximum(theta, jnp.asarray(self.lowest(theta.shape[-1]), theta.dtype))
        if self.ordered:
            theta = theta.at[..., 1].max(theta[..., 0])
        return theta

    def at_bound(self, theta: np.ndarray | Array) -> int:
        """Number of parameters of θ (..., k) that `project` stops: scales and thresholds at their bounds, knees that meet."""
        theta = np.asarray(theta)
        low = np.asarray(self.lowest(theta.shape[-1]), theta.dtype)
        count = np.sum(theta <= low * (1 + 1e-6))
        if self.ordered:
            count += np.sum((theta[..., 1] <= theta[..., 0]) & (theta[..., 1] > low[1]))
        return int(count)

    def rescaled(self, theta: Array, r: float, sigma: float) -> Array:
        """The θ (..., k) with which η(r; σ) equals the old η for `r` times r and `sigma` times σ; needs `slopes`."""
        slopes = jnp.isin(jnp.arange(theta.shape[-1]), jnp.asarray(self.slopes))
        return theta * jnp.where(slopes, r, sigma / r)
