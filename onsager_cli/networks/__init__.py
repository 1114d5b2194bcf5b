"""Unfolded networks; each file holds one, with the classical algorithm that it is without training."""

from importlib.metadata import entry_points

from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.lista import Lista
from onsager_cli.schema import Network as NetworkSettings
from onsager_cli.schema import Shrinkage as ShrinkageSettings
from onsager_cli.shrinkage import family

__all__ = ["Network", "Parameters", "build"]


def build(network: NetworkSettings, shrinkage: ShrinkageSettings) -> Network:
    """The network that a config describes.

    A kind that is not built in comes from an installed package: the entry point `onsager.networks` names a
    function of (network settings, Family, start values of θ) that returns a Network.
    """
    eta, theta = family(shrinkage.family), shrinkage.theta
    if network.kind == "lamp":
        return Lamp(eta, theta, network.tied, network.onsager)
    if network.kind == "lista":
        return Lista(eta, theta, network.tied)
    (entry,) = entry_points(group="onsager.networks", name=network.kind)
    return entry.load()(network, eta, theta)
