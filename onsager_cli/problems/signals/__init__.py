"""Laws of the coefficients of x: samples, power, and the posterior under Gaussian noise, from `signal.*`."""

import numpy as np

from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.registry import implementation
from onsager_cli.problems.signals.base import Posterior, Signal
from onsager_cli.problems.signals.mixture import GaussianMixture

__all__ = ["GaussianMixture", "Posterior", "Signal", "of", "seen", "unit"]


def of(settings: ProblemSettings, seed: int = 0) -> Signal:
    """The law of the coefficients that settings of a problem describe: `settings.signal` with the activity γ.

    Without a signal it is Bernoulli-Gaussian with mean 0 and variance 1. `seed` splits the samples of a file.

    Example:
        >>> from types import SimpleNamespace
        >>> of(SimpleNamespace(signal=None, gamma=0.1)).power
        0.1
    """
    signal, is_complex = settings.signal, bool(getattr(settings, "complex_signals", False))
    gamma: float = getattr(settings, "gamma")  # noqa: B009 - a problem that takes signals has it
    if signal is None:
        return GaussianMixture(gamma, (1.0,), (0.0,), (1.0,), is_complex)
    is_complex = is_complex or signal.is_complex
    make = implementation(signal.record)
    if signal.record.counted:
        return make(signal, gamma, is_complex, settings.matrix_shape[1], seed)
    return make(signal, gamma, is_complex)


def unit(settings: ProblemSettings, seed: int = 0) -> float:
    """u such that active coefficients of u x have power 1 (`problems.frame`), exactly 1 without a signal."""
    if settings.signal is None:
        return 1.0
    signal = of(settings, seed)
    return float(f"{np.sqrt(signal.gamma / signal.power):.6g}")


def seen(settings: ProblemSettings, seed: int = 0) -> Signal:
    """The law of a coordinate as networks see it: its real part in the real embedding, in the unit of the frame."""
    signal = of(settings, seed)
    if settings.parts == 2:
        signal = signal.real_part()
    u = unit(settings, seed)
    return signal if u == 1 else signal.scaled(u)
