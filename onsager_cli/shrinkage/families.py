"""The shrinkage families by name: those of the package, and those of installed packages."""

from importlib.metadata import entry_points

from onsager_cli.shrinkage.bernoulli_gaussian import BERNOULLI_GAUSSIAN
from onsager_cli.shrinkage.family import Family
from onsager_cli.shrinkage.piecewise import PWLIN, SOFT, THRESHOLD
from onsager_cli.shrinkage.smooth import EXPONENTIAL, SPLINE

FAMILIES: dict[str, Family] = {
    family.name: family for family in (THRESHOLD, SOFT, PWLIN, EXPONENTIAL, SPLINE, BERNOULLI_GAUSSIAN)
}


def family(name: str) -> Family:
    """The family of this name, of the package or of an installed package (entry point `onsager.shrinkages`)."""
    if name in FAMILIES:
        return FAMILIES[name]
    (entry,) = entry_points(group="onsager.shrinkages", name=name)
    return entry.load()
