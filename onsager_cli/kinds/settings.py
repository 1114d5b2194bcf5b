"""Settings of one curve: the dataclasses that a config becomes, one class for each kind. No JAX."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeVar

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, optional, text, with_keys
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.records import Kind, NetworkKind, ProblemKind, ShrinkageKind, SignalKind, TrainingKind
from onsager_cli.kinds.registry import every, find
from onsager_cli.kinds.shrinkages import AUTO, MINIMAX, ShrinkageSettings, begun, row
from onsager_cli.kinds.signals import SignalSettings
from onsager_cli.kinds.trainings import TrainingSettings
from onsager_cli.text import show

K = TypeVar("K", bound=Kind)
P = TypeVar("P", bound=ProblemSettings | SignalSettings)
AUTO_DAMPING, LEARNED_DAMPING = "auto", "learned"  # words for network.damping


@dataclass(frozen=True)
class NetworkSettings:
    """The layers (`network.*`). A kind that lacks one of the keys below has None there: an oracle has no depth."""

    kind: str = text()
    name: str = text()
    start: str | None = optional(text(null=True))  # a trained network whose parameters training begins with

    record: ClassVar[NetworkKind]
    depth: ClassVar[int | None] = None
    tied: ClassVar[bool | None] = None
    theta_per: ClassVar[str | None] = None
    init: ClassVar[str | None] = None
    learn: ClassVar[tuple[str, ...] | None] = None
    noise_start: ClassVar[str | None] = None
    weight: ClassVar[str | None] = None
    damping: ClassVar[float | str | None] = None


@dataclass(frozen=True)
class Settings:
    """Everything that decides one curve."""

    problem: ProblemSettings
    network: NetworkSettings
    shrinkage: ShrinkageSettings
    training: TrainingSettings
    seed: int
    precision: str

    @property
    def trained(self) -> bool:
        """Whether the curve is a network that learns."""
        return self.training.trains and not self.network.record.bound

    @property
    def depth(self) -> int:
        """Number of layers; a network without layers counts as one."""
        return self.network.depth or 1


BASES: Mapping[str, tuple[type[Kind], type]] = {
    "network": (NetworkKind, NetworkSettings),
    "problem": (ProblemKind, ProblemSettings),
    "signal": (SignalKind, SignalSettings),
    "training": (TrainingKind, TrainingSettings),
}
"""Group of the config → its kind of record and the class of settings that all such kinds share."""


def record_of(group: type[K], raw: object, where: str, key: str = "kind") -> tuple[K, Mapping[str, object]]:
    """The record that a raw group of the config names, and the group. Raises UserError if nobody offers the record."""
    if not isinstance(raw, Mapping):
        raise UserError(f"{where} must be a group of keys, got {show(raw)}")
    if key not in raw:
        raise UserError(f"the key {where}.{key} is missing")
    try:
        return find(group, raw[key] if isinstance(raw[key], str) else ""), raw
    except ValueError as error:
        text, near, rest = str(error).partition(" (")
        raise UserError(f"{where}.{key} {text}, got {show(raw[key])}{near}{rest}") from None


def make_network(raw: object) -> NetworkSettings:
    """Validate `network`. Raises UserError."""
    kind, keys = record_of(NetworkKind, raw, "network")
    return build(_class_of("network", kind), keys, "network")


def make_signal(raw: object, stored: bool = False) -> SignalSettings:
    """Validate `signal`; `stored` as in `make_problem`. Raises UserError."""
    kind, keys = record_of(SignalKind, raw, "signal")
    signal = _built(_class_of("signal", kind), keys, "signal", stored)
    if not stored:
        signal.check()
    return signal


def make_problem(raw: object, signal: SignalSettings | None = None, stored: bool = False) -> ProblemSettings:
    """Validate `problem`, with the signal that the config chooses. Raises UserError.

    The default signal stays out of the settings, so that it is no part of an identity. With `stored`, the settings are
    those of a trained network: they have what a file of pairs holds, too, and files that they name need not be there.
    """
    kind, keys = record_of(ProblemKind, raw, "problem")
    cls = _class_of("problem", kind)
    if signal is not None and signal.is_default:
        signal = None
    if signal is not None and not cls.takes_signal:
        raise UserError(
            f"signal={signal.kind} does not apply to problem.kind={kind.name}, which draws its own signals: leave "
            "signal out"
        )
    problem = _built(cls, keys, "problem", stored)
    if signal is not None:
        problem = dataclasses.replace(problem, signal=signal)
    if not stored:
        problem.check()
    return problem


def _built(cls: type[P], keys: Mapping[str, object], path: str, stored: bool) -> P:
    """The settings of a part of the config; those of a trained network have what no key sets, too."""
    found = {name: value for name, value in keys.items() if stored and name in without_key(cls)}
    made = build(cls, {name: value for name, value in keys.items() if name not in found}, path)
    return dataclasses.replace(made, **found)


def without_key(cls: type) -> set[str]:
    """The fields of settings that no key sets: the config layer fills them in."""
    return {item.name for item in dataclasses.fields(cls) if not item.metadata}


def make_shrinkage(
    raw: object, problem: ProblemSettings | None = None, network: NetworkSettings | None = None
) -> ShrinkageSettings:
    """Validate `shrinkage`: the family, the number of parameters and their ranges. Raises UserError.

    θ that is left to the problem is filled in as far as that takes no arrays.
    """
    kind, keys = record_of(ShrinkageKind, raw, "shrinkage", "family")
    theta = with_keys(keys, ("family", "theta"), "shrinkage")["theta"]
    if isinstance(theta, str) and (theta == AUTO or (theta == MINIMAX and kind.minimax)):
        lasso = kind.minimax and network is not None and network.record.lasso
        return begun(kind, theta, problem or ProblemSettings(), lasso)
    try:
        if isinstance(theta, list) and theta and all(isinstance(one, list) for one in theta):
            rows = tuple(row(one, kind) for one in theta)
            if len({len(one) for one in rows}) > 1:
                raise ValueError("must have rows of equal length")
            made = ShrinkageSettings(kind.name, rows)
        else:
            made = ShrinkageSettings(kind.name, row(theta, kind))
    except ValueError as error:
        raise UserError(f"shrinkage.theta {error}, got {show(theta)}") from None
    return made


def check_learnable(shrinkage: ShrinkageSettings) -> None:
    """Raises UserError for a start that the first step of training would move to what it keeps values above."""
    for theta in shrinkage.rows:
        for position, (value, low) in enumerate(zip(theta, shrinkage.lower, strict=True), 1):
            if low > 0 and value < low:
                where = f"at position {position} for a trained {shrinkage.family}"
                raise UserError(
                    f"shrinkage.theta must be at least {low} {where}, got {show(value)}: scale the signals up"
                )


def plain_training(raw: object) -> tuple[TrainingKind, Any]:
    """The record of a training, and its settings without the groups of keys for kinds of networks."""
    kind, keys = record_of(TrainingKind, raw, "training")
    shared = {key: value for key, value in keys.items() if not isinstance(value, Mapping)}
    return kind, build(_class_of("training", kind), shared, "training")


def classes_of(group: str) -> list[type[Any]]:
    """The settings classes of all built-in kinds of a group of the config: network, problem, signal or training."""
    return [_class_of(group, kind) for kind in every(BASES[group][0])] if group in BASES else []


@cache
def _class_of(group: str, kind: Kind) -> type[Any]:
    """The settings class of a kind, with the keys of its record as further fields."""
    fields = [(key, object, item) for key, item in kind.keys.items()]
    bases = (getattr(kind, "settings", None) or BASES[group][1],)

    def reduced(self: Any) -> tuple[object, ...]:
        """Pickle by the kind's name: another process makes the class itself."""
        return _restored, (group, kind.name, {item.name: getattr(self, item.name) for item in dataclasses.fields(self)})

    own = {"record": kind, "__reduce__": reduced}
    return dataclasses.make_dataclass(f"{kind.name}_settings", fields, bases=bases, namespace=own, frozen=True)


def _restored(group: str, kind: str, values: dict[str, Any]) -> Any:
    """The settings that another process has pickled."""
    return _class_of(group, find(BASES[group][0], kind))(**values)
