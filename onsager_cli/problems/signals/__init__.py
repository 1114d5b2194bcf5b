"""Laws of the coefficients of x: samples, power, and the posterior under Gaussian noise, from `signal.*`."""

from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.registry import implementation
from onsager_cli.problems.signals.base import Posterior, Signal
from onsager_cli.problems.signals.mixture import GaussianMixture

__all__ = ["GaussianMixture", "Posterior", "Signal", "of"]


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
        return make(signal, gamma, is_complex, settings.shape[1], seed)
    return make(signal, gamma, is_complex)
