"""Scalar shrinkage functions and their average derivatives; each file holds families beside their records."""

from functools import cache

from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find, implementation
from onsager_cli.shrinkage.family import Family

__all__ = ["Family", "build"]


@cache
def build(name: str) -> Family:
    """The family of this name, built in or from an installed package. Raises ValueError if nobody offers it."""
    kind = find(ShrinkageKind, name)
    return Family(name, implementation(kind), kind.parameters, kind.lower, kind.ordered, kind.slopes)
