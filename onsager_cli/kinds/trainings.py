"""Settings of trainings (`training.*`): what each key allows. Units are in `conf/training`. No JAX."""

from dataclasses import dataclass, field

from onsager_cli.kinds.checks import auto_or_flag, choice, flag, integer, number, optional, text
from onsager_cli.kinds.lists import by_depth, choice_by_depth

HIGHEST_RATE = 100  # a step of Adam has about the length of its learning rate in every entry


@dataclass(frozen=True)
class Schedule:
    """How one kind of network learns by `training=fast` (`training.lamp.*`); lists go by depth, the last repeats."""

    optimizer: str | tuple[str, ...] = choice_by_depth("adam", "muon")
    coordinates: str = choice("entries", "spectral", "spectral_plain")
    batch: int = integer(1, 1_000_000)
    steps: tuple[int, ...] = by_depth(low=1, whole=True)
    rates: tuple[float, ...] = by_depth(above=0, high=HIGHEST_RATE)
    theta_rates: tuple[float, ...] = by_depth(above=0, high=HIGHEST_RATE)
    spectral_rates: tuple[float, ...] | None = by_depth(above=0, high=HIGHEST_RATE, null=True)
    noise_rates: tuple[float, ...] | None = by_depth(above=0, high=HIGHEST_RATE, null=True)
    row_rates: tuple[float, ...] | None = by_depth(above=0, high=HIGHEST_RATE, null=True)
    emphasis: tuple[float, ...] = by_depth(low=0.01, high=10_000)
    bootstrap: str | None = choice("after", null=True)

    @property
    def optimizers(self) -> tuple[str, ...]:
        """One or more optimizers, by depth."""
        return (self.optimizer,) if isinstance(self.optimizer, str) else self.optimizer or ()

    @property
    def most_emphasis(self) -> float | None:
        """The highest emphasis that a stage asks for; None if all ask for none."""
        return max(self.emphasis) if set(self.emphasis or (1,)) != {1} else None


@dataclass(frozen=True)
class TrainingSettings:
    """What every training has."""

    kind: str = text()

    @property
    def trains(self) -> bool:
        """Whether anything learns."""
        return True

    @property
    def batch_size(self) -> int:
        """Samples per training step."""
        return 1

    @property
    def schedule(self) -> Schedule:
        """How the network learns: optimizer, coordinates and emphasis."""
        return Schedule(optimizer="adam", coordinates="entries", emphasis=(1,))


@dataclass(frozen=True)
class NoTraining(TrainingSettings):
    """`training=none`: the textbook parameters."""

    @property
    def trains(self) -> bool:
        return False


@dataclass(frozen=True)
class FastTraining(TrainingSettings):
    """`training=fast`; `descent` is the schedule of the network's kind.

    `joint` trains all layers at once instead of one after the other, in as many steps (Section III-C's failure).
    `tied_descent` is the schedule of the tied network that an untied one is compared with.
    `knee_rate` is the highest rate of θ with piecewise linear shrinkage; it is None once the rates obey it.
    `warmup` is the number of steps in which learning rates rise to their values, at most half a stage.
    `few_first` trains each depth without the entries of its matrices first; None: where recorded pairs can overfit
    them, and spectral coordinates are there to learn instead.
    """

    joint: bool = flag()
    check_every: int = integer(1, 1_000_000)
    warmup: int = integer(0, 1_000_000)
    steps_new: int = integer(0, 1_000_000_000)
    knee_rate: float | None = number(above=0, high=HIGHEST_RATE, null=True)
    few_first: bool | None = optional(auto_or_flag())
    descent: Schedule = field(default_factory=Schedule)
    tied_descent: Schedule | None = None

    @property
    def batch_size(self) -> int:
        return self.descent.batch

    @property
    def schedule(self) -> Schedule:
        return self.descent


@dataclass(frozen=True)
class PaperTraining(TrainingSettings):
    """`training=paper`: Algorithms 2 and 3."""

    batch: int = integer(1, 1_000_000)
    rate_new: float = number(above=0, high=10)
    rate_all: float = number(above=0, high=10)
    refinements: int = integer(0, 100)
    refinement_factor: float = number(above=0, high=1)
    patience: int = integer(1, 1_000_000)
    patience_growth: float = number(low=1, high=1000)
    check_every: int = integer(1, 1_000_000)
    max_steps: int = integer(1, 1_000_000_000)
    min_gain: float | None = optional(number(low=0, high=100))

    @property
    def batch_size(self) -> int:
        return self.batch


@dataclass(frozen=True)
class SearchTraining(TrainingSettings):
    """`training=search`: few numbers without gradients, by so many looks at samples of the selection set per depth."""

    samples: int = integer(10, 1_000_000)
    evaluations: tuple[int, ...] = by_depth(low=5, high=1_000_000, whole=True)
    step: float = number(above=0, high=3)

    @property
    def batch_size(self) -> int:
        return self.samples
