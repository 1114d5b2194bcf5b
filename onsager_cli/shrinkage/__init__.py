"""Scalar shrinkage functions and their average derivatives; each file holds families beside their records."""

from functools import cache
from typing import Any

from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find, implementation
from onsager_cli.shrinkage.family import Family

__all__ = ["Family", "build"]


@cache
def build(name: str, signal: Any = None) -> Family:
    """The family of this name, built in or from an installed package; some are made from the problem's `signal`.

    Raises ValueError if nobody offers it, or if it needs a signal and none is given.
    """
    kind = find(ShrinkageKind, name)
    eta = implementation(kind)
    if kind.of_signal:
        if signal is None:
            raise ValueError(f"shrinkage={name} needs the signal of the problem")
        eta = eta(signal)
    return Family(name, eta, kind.parameters, kind.lower, kind.repeated_lower, kind.ordered, kind.slopes)
