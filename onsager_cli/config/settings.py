"""The keys of the config, what each allows, and the rules that tie several of them together.

The values themselves, with their units, are in `conf/`; nothing here repeats them. Kinds and families are those
built in and those that installed packages offer as entry points (`onsager.problems`, `onsager.networks`,
`onsager.shrinkages`); a plugin's own keys arrive unchecked in `options`.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from onsager_cli.config.settings_cellular import Cellular, make_cellular
from onsager_cli.config.settings_shrinkage import FAMILIES, Shrinkage, check_learnable, start_of_theta
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import (
    build,
    by_depth,
    choice,
    choice_by_depth,
    flag,
    integer,
    number,
    seed_list,
    text,
    words,
)
from onsager_cli.text import did_you_mean, one_of, show

# Kinds that are one estimate, without layers.
BOUNDS = ("oracle", "lmmse")
# Kinds that solve the LASSO, with a λ per sample: they leave no network.
LASSO = ("ista", "fista")
# Kinds to which the shrinkage that a config names makes no difference.
NO_SHRINKAGE = (*BOUNDS, "em_vamp", "cnn")
# Kind of network → what of it can learn.
LEARNABLE = {
    "lamp": ("B", "theta"),
    "lvamp": ("U", "s", "V", "noise_variance", "theta"),
    "lvamp_gh": ("G", "H", "c", "noise_variance", "theta"),
}
MATRIX_SUFFIXES = (".npy", ".npz", ".mat", ".csv")


@dataclass(frozen=True)
class Problem:
    """Signals and measurements (`problem.*`): sizes in entries, SNR in dB, the rest linear."""

    kind: str = text()
    name: str = text()
    N: int = integer(1, 1_000_000)
    M: int = integer(1, 1_000_000)
    gamma: float = number(above=0, below=1)
    kappa: float | None = number(low=1, null=True)
    snr_db: float = number(-100, 200)
    instance: str = choice("seeded", "authors2017")
    matrix: str | None = text(null=True)
    known_operator: bool = flag()
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N) of the matrix."""
        return self.M, self.N

    @property
    def groups(self) -> tuple[int, ...]:
        """The group of exchangeable coordinates that each one belongs to; empty: all to one."""
        return ()


@dataclass(frozen=True)
class Network:
    """The layers (`network.*`). A kind that lacks a key has None there: an oracle has no depth."""

    kind: str = text()
    name: str = text()
    tied: bool = flag()
    depth: int = integer(1, 10_000)
    onsager: bool = flag()
    theta_per: str = choice("group", "coordinate", "all")
    init: str = choice("svd", "least_squares", "random")
    noise_start: str = choice("energy", "known")
    learn: tuple[str, ...] = words()
    weight: str = choice("amp", "vamp")
    momentum: str = choice("paper", "beck_teboulle")
    channels: tuple[int, ...] = by_depth(low=1, whole=True)
    width: int = integer(1, 10_000)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class NoTraining:
    """`training=none`: the textbook parameters."""

    kind: str = text()


@dataclass(frozen=True)
class Descent:
    """How one kind of network descends (`training.lamp.*`, ...); lists go by depth, the last repeats."""

    optimizer: str | tuple[str, ...] = choice_by_depth("adam", "muon")
    coordinates: str = choice("entries", "spectral")
    batch: int = integer(1, 1_000_000)
    steps: tuple[int, ...] = by_depth(low=1, whole=True)
    rates: tuple[float, ...] = by_depth(above=0)
    theta_rates: tuple[float, ...] = by_depth(above=0)
    spectral_rates: tuple[float, ...] | None = by_depth(above=0, null=True)
    noise_rates: tuple[float, ...] | None = by_depth(above=0, null=True)
    row_rates: tuple[float, ...] | None = by_depth(above=0, null=True)
    emphasis: tuple[float, ...] = by_depth(above=0)
    bootstrap: str | None = choice("after", null=True)

    @property
    def optimizers(self) -> tuple[str, ...]:
        return (self.optimizer,) if isinstance(self.optimizer, str) else self.optimizer or ()


@dataclass(frozen=True)
class FastTraining:
    """`training=fast`; `descent` is what the config says under the network's kind.

    `joint` trains all layers at once instead of one after the other, in as many steps (Section III-C's failure).
    An untied network also depends on how the tied one that it is compared with was trained: `tied_descent`.
    `knee_rate` is the highest rate of θ with piecewise linear shrinkage; it is None once the rates obey it.
    `warmup` is the number of steps in which learning rates rise to their values, at most half a stage.
    """

    kind: str = text()
    joint: bool = flag()
    check_every: int = integer(1, 1_000_000)
    warmup: int = integer(0, 1_000_000)
    steps_new: int = integer(0, 1_000_000_000)
    knee_rate: float | None = number(above=0, null=True)
    descent: Descent = field(default_factory=Descent)
    tied_descent: Descent | None = None


@dataclass(frozen=True)
class PaperTraining:
    """`training=paper`: Algorithms 2 and 3."""

    kind: str = text()
    batch: int = integer(1, 1_000_000)
    rate_new: float = number(above=0, high=10)
    rate_all: float = number(above=0, high=10)
    refinements: int = integer(0, 100)
    refinement_factor: float = number(above=0, high=1)
    patience: int = integer(1, 1_000_000)
    patience_growth: float = number(low=1, high=1000)
    check_every: int = integer(1, 1_000_000)
    max_steps: int = integer(1, 1_000_000_000)


Training = NoTraining | FastTraining | PaperTraining


@dataclass(frozen=True)
class Settings:
    """Everything that decides one curve."""

    problem: Problem | Cellular
    network: Network
    shrinkage: Shrinkage
    training: Training
    seed: int
    precision: str


@dataclass(frozen=True)
class Top:
    """The keys of the primary config that are no group."""

    seed: int = integer(0, 2**32 - 1)
    seeds: tuple[int, ...] | None = seed_list()
    precision: str = choice("highest", "high", "default")
    output: str = text()
    only: tuple[str, ...] | None = words(null=True)
    panels: tuple[str, ...] = words()


PROBLEM_KINDS = ("bernoulli_gaussian", "cellular")
NETWORK_KEYS = {
    "lamp": ("kind", "name", "tied", "depth", "onsager", "theta_per", "learn"),
    "lista": ("kind", "name", "tied", "depth", "theta_per"),
    "ista": ("kind", "name", "depth", "weight"),
    "fista": ("kind", "name", "depth", "weight", "momentum"),
    "lvamp": ("kind", "name", "tied", "depth", "theta_per", "init", "noise_start", "learn"),
    "lvamp_gh": ("kind", "name", "tied", "depth", "theta_per", "init", "learn"),
    "em_vamp": ("kind", "name", "depth", "theta_per", "noise_start"),
    "cnn": ("kind", "name", "channels", "width"),
    "oracle": ("kind", "name"),
    "lmmse": ("kind", "name"),
}
TRAININGS: dict[str, type] = {"fast": FastTraining, "paper": PaperTraining, "none": NoTraining}


def plugins(group: str) -> set[str]:
    """Names that installed packages offer under an entry-point group; nothing is imported."""
    return {entry.name for entry in entry_points(group=group)}


def _kind(raw: object, where: str, key: str, built_in: Any, group: str | None) -> tuple[str, bool]:
    """The value of `where.key` and whether it is built in; UserError if nobody offers it."""
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a group of keys, got {show(raw)}")
    if key not in raw:
        raise UserError(f"the key {where}.{key} is missing")
    kind, known = raw[key], list(built_in)
    if isinstance(kind, str) and kind in known:
        return kind, True
    others = plugins(group) if group else set()
    if isinstance(kind, str) and kind in others:
        return kind, False
    known += sorted(others)
    raise UserError(f"{where}.{key} must be {one_of(known)}, got {show(kind)}{did_you_mean(kind, known)}")


def make_problem(raw: Any) -> Problem | Cellular:
    """Validates `problem`. Raises UserError."""
    kind, built_in = _kind(raw, "problem", "kind", PROBLEM_KINDS, "onsager.problems")
    if not built_in:
        return build(Problem, raw, "problem", required=("kind", "name"), extra="options")
    if kind == "cellular":
        return make_cellular(raw)
    problem = build(Problem, raw, "problem")
    if problem.kappa is not None and problem.M > problem.N:
        raise UserError(
            f"problem.M must be at most problem.N={problem.N} where problem.kappa sets the spectrum, got {problem.M}"
        )
    if problem.instance == "authors2017":
        fixed = {"N": 500, "M": 250, "gamma": 0.1, "snr_db": 40.0, "test_samples": 1000, "matrix": None}
        for key, value in fixed.items():
            if getattr(problem, key) != value:
                raise UserError(
                    f"problem.{key} is {'null' if value is None else value} in problem.instance=authors2017, "
                    f"got {show(getattr(problem, key))}: write problem.instance=seeded"
                )
        if problem.kappa not in (None, 15.0, 100.0):
            raise UserError(
                f"problem.kappa must be null, 15 or 100 in problem.instance=authors2017, got {problem.kappa:g}: "
                "write problem.instance=seeded"
            )
    if problem.matrix is not None:
        path = Path(problem.matrix)
        if path.suffix.lower() not in MATRIX_SUFFIXES:
            raise UserError(
                f"problem.matrix must end in {one_of(MATRIX_SUFFIXES)}, got {show(problem.matrix)}"
            )
        if not path.is_file():
            raise UserError(f"problem.matrix: there is no file {show(problem.matrix)}")
        if problem.kappa is not None:
            raise UserError(
                f"problem.kappa must be null for a problem.matrix of your own, got {problem.kappa:g}"
            )
    return problem


def make_network(raw: Any) -> Network:
    """Validates `network`. Raises UserError."""
    kind, built_in = _kind(raw, "network", "kind", NETWORK_KEYS, "onsager.networks")
    if not built_in:
        return build(Network, raw, "network", required=("kind", "name", "depth"), extra="options")
    network = build(Network, raw, "network", required=NETWORK_KEYS[kind])
    for name in network.learn or ():
        if name not in LEARNABLE[kind]:
            raise UserError(
                f"network.learn may hold {one_of(LEARNABLE[kind])}{did_you_mean(name, LEARNABLE[kind])}, got {show(name)}"
            )
    return network


def make_shrinkage(raw: Any) -> Shrinkage:
    """Validates `shrinkage`: the family, the number of parameters and their ranges. Raises UserError."""
    family, built_in = _kind(raw, "shrinkage", "family", FAMILIES, "onsager.shrinkages")
    for key in raw:
        if key not in ("family", "theta"):
            raise UserError(f"unknown key 'shrinkage.{key}'{did_you_mean(key, ['family', 'theta'])}")
    if "theta" not in raw:
        raise UserError("the key shrinkage.theta is missing")
    return Shrinkage(family, start_of_theta(raw["theta"], family if built_in else None))


def make_training(raw: Any, network: Network, shrinkage: Shrinkage, problem: Problem | Cellular) -> Training:
    """Validates `training` for a network: of `training.lamp`, `training.lamp_untied`, ... those of `schedules_of` count.

    `knee_rate` bounds their `theta_rates`; where all users are active there is no `emphasis`. Raises UserError.
    """
    kind, _ = _kind(raw, "training", "kind", TRAININGS, None)
    if kind != "fast":
        return build(TRAININGS[kind], raw, "training")
    groups = {key: value for key, value in raw.items() if isinstance(value, Mapping)}
    shared = build(FastTraining, {key: value for key, value in raw.items() if key not in groups}, "training")
    descents = {name: build(Descent, group, f"training.{name}") for name, group in groups.items()}
    if shrinkage.family == "pwlin" and (limit := shared.knee_rate) is not None:
        descents = {
            name: replace(descent, theta_rates=tuple(min(rate, limit) for rate in descent.theta_rates))
            for name, descent in descents.items()
        }
    shared = replace(shared, knee_rate=None)
    if isinstance(problem, Cellular) and problem.activity == 1:
        descents = {name: replace(descent, emphasis=(1,)) for name, descent in descents.items()}
    if network.kind in BOUNDS:
        return shared
    if network.kind not in descents:
        raise UserError(f"training.{network.kind} is missing: training=fast has {one_of(descents)}")
    own, *tied = (descents[name] for name in schedules_of(network, descents))
    return replace(shared, descent=own, tied_descent=tied[0] if tied else None)


def schedules_of(network: Network, names: Container[str]) -> tuple[str, ...]:
    """Of the schedules with these names the one that a network descends by, then that of an untied one's tied twin.

    Its kind's entry; if there are such, the `_theta` entry of it where θ alone learns, else the `_random` entry from a
    random start; and for an untied network the `_untied` entry of that.
    """
    suffixes = {"_theta": network.learn == ("theta",), "_random": network.init == "random"}
    special = [network.kind + suffix for suffix, meant in suffixes.items() if meant]
    name = next((name for name in special if name in names), network.kind)
    if network.tied is not False:
        return (name,)
    return (f"{name}_untied" if f"{name}_untied" in names else name, name)


def make_settings(config: Mapping[str, Any], top: Top) -> Settings:
    """Validates the groups of a composed config and what they have to do with each other. Raises UserError."""
    network, shrinkage = make_network(config.get("network")), make_shrinkage(config.get("shrinkage"))
    problem = make_problem(config.get("problem"))
    if network.kind == "lista" and shrinkage.family != "threshold":
        raise UserError(f"network=lista takes shrinkage=threshold only, got {show(shrinkage.family)}")
    if network.kind in ("lamp", *LEARNABLE) and shrinkage.family == "threshold":
        raise UserError(f"network={network.name} cannot use shrinkage=threshold: for l1 write shrinkage=soft")
    if network.kind in LASSO and shrinkage.family not in ("soft", "threshold"):
        raise UserError(
            f"network={network.name} takes shrinkage=minimax, soft or threshold only, got {show(shrinkage.family)}"
        )
    if network.kind in LASSO and shrinkage.family == "soft" and shrinkage.theta[0] != 1:
        raise UserError(
            f"shrinkage.theta: network={network.name} has α = θ_2 alone, so that θ_1 must be 1, got {show(shrinkage.theta[0])}"
        )
    if network.kind == "em_vamp" and shrinkage.family != "bg":
        raise UserError(f"network={network.name} takes shrinkage=bg only, got {show(shrinkage.family)}")
    training = config.get("training")
    if isinstance(training, Mapping) and training.get("kind") != "none":
        if network.kind in (*LASSO, "em_vamp"):
            raise UserError(f"network={network.name} has nothing to learn: write training=none")
        if network.learn == ():
            raise UserError(f"network={network.name} has an empty network.learn: write training=none")
        if network.kind not in NO_SHRINKAGE:
            check_learnable(shrinkage)
    elif network.kind == "cnn":
        raise UserError(f"network={network.name} is no algorithm without training: leave training=none out")
    made = make_training(training, network, shrinkage, problem)
    _check_with_problem(problem, network, shrinkage, made)
    return Settings(
        problem=problem,
        network=network,
        shrinkage=shrinkage,
        training=made,
        seed=top.seed,
        precision=top.precision,
    )


def _check_with_problem(
    problem: Problem | Cellular, network: Network, shrinkage: Shrinkage, training: Training
) -> None:
    """What the groups of coordinates and complex numbers do not go with. Raises UserError."""
    rows = len(set(problem.groups)) or 1
    by_group = network.kind in NO_SHRINKAGE or network.theta_per in ("group", "coordinate")
    nested = isinstance(shrinkage.theta[0], tuple)
    if nested and not (problem.groups and by_group and len(shrinkage.theta) == rows):
        raise UserError(
            f"shrinkage.theta must be one row{f' or one for each of {rows} groups of users' if by_group and rows > 1 else ''} "
            f"for network={network.name} on problem={problem.name}, got {show([list(row) for row in shrinkage.theta])}"
        )
    if network.theta_per == "coordinate" and problem.shape[1] is None:
        raise UserError(
            f"network.theta_per=coordinate does not work with problem.kind={problem.kind}: write group"
        )
    native = isinstance(problem, Cellular) and problem.embedding == "complex"
    if not isinstance(training, FastTraining) or not (native or network.kind == "cnn"):
        return
    descents = [training.descent, training.tied_descent or training.descent]
    if any("muon" in descent.optimizers for descent in descents):
        # Muon turns real matrices; kernels and biases are none.
        where = " where problem.embedding=complex" if native else ""
        raise UserError(f"training.{network.kind}.optimizer must be adam{where}, got 'muon'")
