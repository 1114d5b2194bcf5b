"""Unfolded networks; each file holds one, with the classical algorithm that it is without training."""

from importlib.metadata import entry_points

from onsager_cli.config.settings import Network as NetworkSettings
from onsager_cli.config.settings import Problem as ProblemSettings
from onsager_cli.config.settings import Shrinkage as ShrinkageSettings
from onsager_cli.config.settings_cellular import Cellular
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.cnn import Cnn
from onsager_cli.networks.fista import Fista
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.lista import Lista
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.networks.lvamp_gh import LvampGH
from onsager_cli.shrinkage.families import family

__all__ = ["Network", "Parameters", "build"]


def build(
    network: NetworkSettings,
    shrinkage: ShrinkageSettings,
    seed: int = 0,
    problem: ProblemSettings | Cellular | None = None,
) -> Network:
    """The network that a config describes; `seed` feeds a start that is drawn, `problem` has the groups of θ.

    A kind that is not built in comes from an installed package: the entry point `onsager.networks` names a
    function of (network settings, Family, start values of θ) that returns a Network.
    """
    eta = family(shrinkage.family)
    theta, groups = _rows(network, shrinkage, problem)
    if network.kind == "lamp":
        return Lamp(eta, theta, network.tied, network.onsager, network.learn, groups=groups)
    if network.kind == "lista":
        return Lista(eta, theta, network.tied, groups=groups)
    if network.kind == "ista":
        return Lista(eta, theta)
    if network.kind == "fista":
        return Fista(eta, theta, momentum=network.momentum)
    if network.kind == "lvamp":
        return Lvamp(
            eta, theta, network.tied, network.learn, network.init, seed, network.noise_start, groups=groups
        )
    if network.kind == "em_vamp":
        learn = ("noise_variance", "theta")
        return Lvamp(
            eta, theta, tied=False, learn=learn, noise_start=network.noise_start or "energy", groups=groups
        )
    if network.kind == "lvamp_gh":
        return LvampGH(eta, theta, network.tied, network.learn, network.init, seed, groups=groups)
    if network.kind == "cnn":
        return Cnn(
            channels=network.channels, width=network.width, parts=getattr(problem, "parts", 1), seed=seed
        )
    (entry,) = entry_points(group="onsager.networks", name=network.kind)
    return entry.load()(network, eta, theta)


def _rows(
    network: NetworkSettings, shrinkage: ShrinkageSettings, problem: ProblemSettings | Cellular | None
) -> tuple[tuple, tuple[int, ...]]:
    """The start of θ and the row of it that each coordinate takes, as `network.theta_per` says."""
    if problem is None or network.theta_per not in ("group", "coordinate"):
        return shrinkage.theta, ()
    of_group, N = problem.groups, problem.shape[1]
    if network.theta_per == "group":
        return shrinkage.theta, of_group
    one_each = isinstance(shrinkage.theta[0], tuple)
    return tuple(shrinkage.theta[g] for g in of_group) if one_each else shrinkage.theta, tuple(range(N))
