"""Unfolded networks; each file holds one, with the classical algorithm that it is without training."""

from importlib.metadata import entry_points

from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.fista import Fista
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.lista import Lista
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.networks.lvamp_gh import LvampGH
from onsager_cli.schema import Network as NetworkSettings
from onsager_cli.schema import Shrinkage as ShrinkageSettings
from onsager_cli.shrinkage import family

__all__ = ["Network", "Parameters", "build"]


def build(network: NetworkSettings, shrinkage: ShrinkageSettings, seed: int = 0) -> Network:
    """The network that a config describes; `seed` feeds a start that is drawn.

    A kind that is not built in comes from an installed package: the entry point `onsager.networks` names a
    function of (network settings, Family, start values of θ) that returns a Network.
    """
    eta, theta = family(shrinkage.family), shrinkage.theta
    if network.kind == "lamp":
        return Lamp(eta, theta, network.tied, network.onsager)
    if network.kind == "lista":
        return Lista(eta, theta, network.tied)
    if network.kind == "ista":
        return Lista(eta, theta)
    if network.kind == "fista":
        return Fista(eta, theta, momentum=network.momentum)
    if network.kind == "lvamp":
        return Lvamp(eta, theta, network.tied, network.learn, network.init, seed, network.noise_start)
    if network.kind == "em_vamp":
        return Lvamp(eta, theta, tied=False, learn=("noise_variance", "theta"))
    if network.kind == "lvamp_gh":
        return LvampGH(eta, theta, network.tied, network.learn, network.init, seed)
    (entry,) = entry_points(group="onsager.networks", name=network.kind)
    return entry.load()(network, eta, theta)
