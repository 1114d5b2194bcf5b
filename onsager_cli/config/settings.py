"""From a composed config to the settings of a curve: each group by its kind, then what the groups ask of each other."""

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.kinds import settings as kinds
from onsager_cli.kinds.checks import auto_or_flag, auto_or_integer, build, choice, integer, path
from onsager_cli.kinds.lists import seed_list, words
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.records import NetworkKind, TrainingKind
from onsager_cli.kinds.registry import every, find
from onsager_cli.kinds.settings import LEARNED_DAMPING, NetworkSettings, Settings
from onsager_cli.kinds.shrinkages import ShrinkageSettings
from onsager_cli.kinds.trainings import Schedule, TrainingSettings
from onsager_cli.text import did_you_mean, one_of, show

Config = Mapping[str, Any]
"""A composed config, or a group of it: key → value or group."""
DEFAULT = "default"  # the schedule of networks that have none of their own


@dataclass(frozen=True)
class Top:
    """The keys of the primary config that are no group."""

    seed: int = integer(0, 2**32 - 1)
    seeds: tuple[int, ...] | None = seed_list()
    precision: str = choice("highest", "high", "default")
    output: str = path()
    only: tuple[str, ...] | None = words(null=True)
    panels: tuple[str, ...] = words()
    jobs: int | None = auto_or_integer(1, 1000)
    attainable: bool | None = auto_or_flag()
    fresh: int | None = integer(100, 100_000_000, null=True)


def make_training(
    raw: Any, network: NetworkSettings, shrinkage: ShrinkageSettings, problem: ProblemSettings
) -> TrainingSettings:
    """Validate `training` for a network: of `training.lamp`, `training.lamp_untied`, … those of `schedules_of` count.

    `knee_rate` bounds the rates of θ of a family with ordered knees. Where a problem has no hard samples there is no
    `emphasis`. Raises UserError.
    """
    kind, shared = kinds.plain_training(raw)
    if not kind.by_network:
        return shared
    groups = {name: item for name, item in raw.items() if isinstance(item, Mapping)}
    schedules = {name: build(Schedule, item, f"training.{name}") for name, item in groups.items()}
    if network.record.bound:
        return replace(shared, knee_rate=None, **_few_first(shared, False))
    highest = (shrinkage.record.ordered and shared.knee_rate) or math.inf

    def fitted(name: str) -> Schedule:
        schedule = schedules[name]
        rates = tuple(min(rate, highest) for rate in schedule.theta_rates)
        return replace(schedule, theta_rates=rates, emphasis=schedule.emphasis if problem.hard_samples else (1,))

    own, *tied = map(fitted, schedules_of(network, schedules))
    overfits = problem.file is not None and network.learn != ("theta",)
    few_first = overfits and own.coordinates != "entries" and not getattr(shared, "joint", False)
    return replace(
        shared, knee_rate=None, descent=own, tied_descent=tied[0] if tied else None, **_few_first(shared, few_first)
    )


def _few_first(training: TrainingSettings, usual: bool) -> dict[str, bool]:
    """Whether few numbers learn first, where a training has that key: as asked, or as `usual`."""
    if not hasattr(training, "few_first"):
        return {}
    asked = training.few_first  # type: ignore[attr-defined]
    return {"few_first": usual if asked is None else asked}


def schedules_of(network: NetworkSettings, names: Container[str]) -> tuple[str, ...]:
    """Of the schedules with these names the one that a network learns by, then that of an untied one's tied twin.

    The entry of its kind, or else the default one. Where there are such, the `_theta` entry if θ alone learns, else the
    `_random` entry from a random start; and for an untied network the `_untied` entry of that.
    Raises UserError if there is no default.
    """
    suffixes = {"_theta": network.learn == ("theta",), "_random": network.init == "random"}
    special = [network.kind + suffix for suffix, meant in suffixes.items() if meant]
    name = next((name for name in (*special, network.kind, DEFAULT) if name in names), None)
    if name is None:
        raise UserError(f"training.{network.kind} is missing, and there is no training.{DEFAULT}")
    if network.tied is not False:
        return (name,)
    return (f"{name}_untied" if f"{name}_untied" in names else name, name)


def make_settings(config: Config, top: Top) -> Settings:
    """Validate the groups of a composed config and what they ask of each other. Raises UserError."""
    network, training = kinds.make_network(config.get("network")), config.get("training")
    problem = kinds.make_problem(config.get("problem"), kinds.make_signal(config.get("signal")))
    if problem.file is not None:
        from onsager_cli.config.own_pairs import with_sizes  # reads files, with NumPy

        problem = with_sizes(problem)
    shrinkage = kinds.make_shrinkage(config.get("shrinkage"), problem, network)
    for name in network.learn or ():
        if name not in (known := network.record.learnable):
            raise UserError(f"network.learn may hold {one_of(known)}{did_you_mean(name, known)}, got {show(name)}")
    network = _with_damping(network, training)
    _check_shrinkage(network, shrinkage)
    if not isinstance(training, Mapping) or training.get("kind") == "none":
        if network.record.untrained is None:
            raise UserError(f"network={network.name} needs training: leave training=none out")
    elif not network.record.trains:
        raise UserError(f"network={network.name} has nothing to learn: write training=none")
    elif network.learn == ():
        raise UserError(f"network={network.name} has an empty network.learn: write training=none")
    elif network.record.uses_shrinkage:
        kinds.check_learnable(shrinkage)
    untrained = not isinstance(training, Mapping) or training.get("kind") == "none"
    if network.start is not None and (untrained or not network.record.trains):
        raise UserError(f"network.start is only for trained networks: for network={network.name}, leave it out")
    if untrained and network.damping == LEARNED_DAMPING:
        raise UserError(f"network.damping=learned is only for trained networks: for network={network.name}, write auto")
    made = make_training(training, network, shrinkage, problem)
    settings = Settings(problem, network, shrinkage, made, top.seed, top.precision)
    _check_theta(settings)
    _check_switches(settings.network)
    _check_optimizer(settings)
    _check_search(settings)
    return settings


def _with_damping(network: NetworkSettings, training: Any) -> NetworkSettings:
    """The network without a damping that has no effect: auto if the network learns, learned if it does not."""
    untrained = not isinstance(training, Mapping) or training.get("kind") == "none"
    if network.damping != (kinds.LEARNED_DAMPING if untrained else kinds.AUTO_DAMPING):
        return network
    return replace(network, damping=None)  # type: ignore[call-arg]


def _check_shrinkage(network: NetworkSettings, shrinkage: ShrinkageSettings) -> None:
    """Raises UserError for a shrinkage family, or a start of it, that a network does not take."""
    record, family = network.record, shrinkage.family
    if record.shrinkages and family not in record.shrinkages:
        # A LASSO by its minimax threshold is what people mean.
        named = one_of((*("minimax",) * record.lasso, *record.shrinkages))
        raise UserError(f"network={network.name} takes shrinkage={named} only, got {show(family)}")
    if not record.shrinkages and record.uses_shrinkage and shrinkage.record.absolute:
        raise UserError(f"network={network.name} cannot use shrinkage={family}: for l1 write shrinkage=soft")
    if record.lasso and shrinkage.record.slopes and shrinkage.rows and (slope := shrinkage.theta[0]) != 1:
        raise UserError(
            f"shrinkage.theta must begin with 1 for network={network.name}, which uses only θ_2, got {show(slope)}"
        )


def _check_theta(settings: Settings) -> None:
    """Raises UserError for rows of θ that the groups of coordinates do not go with."""
    problem, network, theta = settings.problem, settings.network, settings.shrinkage.theta
    rows = len(set(problem.groups)) or 1
    by_group = not network.record.uses_shrinkage or network.theta_per in ("group", "coordinate")
    if settings.shrinkage.by_group and not (problem.groups and by_group and len(theta) == rows):
        more = f" or one for each of {rows} groups of users" if by_group and rows > 1 else ""
        where = f"network={network.name} on problem={problem.name}"
        raise UserError(f"shrinkage.theta must be one row{more} for {where}, got {show([list(row) for row in theta])}")
    if network.theta_per == "coordinate" and problem.shape[1] is None:
        raise UserError(f"network.theta_per=coordinate does not work with problem.kind={problem.kind}: write group")


def _check_switches(network: NetworkSettings) -> None:
    """Raises UserError for switches of things that the network does not have."""
    if getattr(network, "canonical", None) is False and network.init != "random":
        raise UserError(f"network.canonical=false needs network.init=random, got {network.init}")
    if "onsager" in (getattr(network, "free", None) or ()) and not getattr(network, "onsager", True):
        raise UserError("network.free=[onsager] needs network.onsager=true: there is no coefficient to learn")


def _check_optimizer(settings: Settings) -> None:
    """Raises UserError for Muon where it cannot turn the matrices: it works on real ones, and kernels are none."""
    schedules = [getattr(settings.training, name, None) for name in ("descent", "tied_descent")]
    native = settings.problem.embedding == "complex"
    turns = settings.network.record.matrices and not native
    if not turns and any(schedule and "muon" in schedule.optimizers for schedule in schedules):
        where = " where problem.embedding=complex" if native else ""
        raise UserError(f"training.{settings.network.kind}.optimizer must be adam{where}, got 'muon'")


def _check_search(settings: Settings) -> None:
    """Raises UserError for a search of a network that learns by gradients, and for the other way round."""
    network, training = settings.network, settings.training
    searches = find(TrainingKind, training.kind).searches
    if searches and not network.record.searched:
        few = one_of(sorted(kind.name for kind in every(NetworkKind) if kind.searched))
        raise UserError(
            f"training={training.kind} is for networks with a few shared parameters ({few}), not network={network.name}"
        )
    if training.trains and network.record.searched and not searches:
        trainings = one_of(sorted(kind.name for kind in every(TrainingKind) if kind.searches))
        raise UserError(
            f"network={network.name} has {len(network.record.searched)} parameters that a search finds: write training={trainings}"
        )
