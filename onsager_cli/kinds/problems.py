"""Settings of problems (`problem.*`): what each key allows, and what the settings say without any array. No JAX.

Units are in `conf/problem`. A package may build on `Linear` or on `ProblemSettings`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import choice, flag, group, integer, number, optional, path, text
from onsager_cli.text import one_of, show

if TYPE_CHECKING:
    from onsager_cli.kinds.records import ProblemKind

MATRIX_SUFFIXES = (".npy", ".npz", ".mat", ".csv", ".txt", ".tsv", ".h5", ".hdf5")
HIGHEST_KAPPA = 10**6  # float32 has 7 digits: smaller singular values would be rounding errors of the largest
NEIGHBOURS = 6  # a hexagon has no more
# The keys that problem.instance=authors2017 fixes, each with the values that it may have.
PUBLISHED = {
    "N": [500], "M": [250], "gamma": [0.1], "snr_db": [40.0], "test_samples": [1000], "matrix": [None],
    "kappa": [None, 15.0, 100.0],
}  # fmt: skip


@dataclass(frozen=True)
class ProblemSettings:
    """What every problem has. A kind that lacks one of the attributes below has None or the neutral value there."""

    kind: str = text()
    name: str = text()

    if TYPE_CHECKING:
        record: ClassVar[ProblemKind]

    # No annotations: an annotated name would keep its place among the keys of a kind that has such a key.
    training_samples = 0  # recorded pairs
    selection_samples = None
    test_samples = None
    instance = "seeded"
    matrix = None
    matrix_name = None
    file = None
    known_operator = True
    embedding = None
    parts = 1  # coordinates of x that one coefficient has
    together = 1  # consecutive samples that depend on each other
    everybody_active = False
    hard_samples = True  # whether hard samples may be drawn more often (`emphasis`)

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """(M, N) of the matrix that networks see; None where the problem does not say before it is built."""
        return None, None

    @property
    def groups(self) -> tuple[int, ...]:
        """The group of exchangeable coordinates that each one belongs to; empty: all belong to one."""
        return ()

    @property
    def matched_theta(self) -> tuple[float, ...] | None:
        """θ of the shrinkage `matched_shrinkage` that is the posterior mean for this prior; None if nobody knows it."""
        return None

    @property
    def matched_shrinkage(self) -> str | None:
        """The shrinkage family that holds the posterior mean for this prior; None if there is none."""
        return None

    def check(self) -> None:
        """Raises UserError for keys that contradict each other."""


@dataclass(frozen=True)
class Sizes(ProblemSettings):
    """The size of A, in entries."""

    N: int = integer(1, 1_000_000)
    M: int = integer(1, 1_000_000)

    @property
    def shape(self) -> tuple[int, int]:
        return self.M, self.N


@dataclass(frozen=True)
class Linear(Sizes):
    """y = A x + w for one real matrix and any prior: SNR in dB, the rest linear."""

    kappa: float | None = number(low=1, high=HIGHEST_KAPPA, null=True)
    snr_db: float = number(-100, 200)
    instance: str = choice("seeded", "authors2017")
    matrix: str | None = path(null=True)
    matrix_name: str | None = optional(text(null=True))
    known_operator: bool = flag()
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)

    def check(self) -> None:
        """Raises UserError for a spectrum that A cannot have, another published instance, a matrix of no known format."""
        if self.kappa is not None and self.M > self.N:
            raise UserError(
                f"problem.M must be at most problem.N={self.N} where problem.kappa sets the spectrum, got {self.M}"
            )
        if self.instance == "authors2017":
            self._check_published()
        if self.matrix is not None:
            self._check_matrix(self.matrix)
        elif self.matrix_name is not None:
            raise UserError(f"problem.matrix_name={self.matrix_name} needs a file: add problem.matrix=…")

    def _check_published(self) -> None:
        if not isinstance(self, BernoulliGaussian):
            raise UserError(
                f"problem.instance=authors2017 has Bernoulli-Gaussian signals: with problem.kind={self.kind} write "
                "problem.instance=seeded"
            )
        for key, allowed in PUBLISHED.items():
            if (value := getattr(self, key)) not in allowed:
                raise UserError(
                    f"problem.{key} must be {one_of(map(show, allowed))} for problem.instance=authors2017, "
                    f"got {show(value)}: write problem.instance=seeded"
                )

    def _check_matrix(self, matrix: str) -> None:
        path = Path(matrix)
        if path.suffix.lower() not in MATRIX_SUFFIXES:
            raise UserError(f"problem.matrix must end in {one_of(MATRIX_SUFFIXES)}, got {show(matrix)}")
        try:
            there = path.is_file()
        except (OSError, ValueError) as error:  # a closed folder, a name that no file can have
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"problem.matrix: {show(matrix)} cannot be read: {reason}") from error
        if not there:
            raise UserError(f"problem.matrix: there is no file {show(matrix)}")
        if self.kappa is not None:
            raise UserError(f"problem.kappa must be null for a problem.matrix of your own, got {self.kappa:g}")


@dataclass(frozen=True)
class Activity(Sizes):
    """How many entries of x are not zero."""

    gamma: float = number(above=0, below=1)


@dataclass(frozen=True)
class BernoulliGaussian(Linear, Activity):
    """x_n is N(0, 1) with probability `gamma`, else 0."""

    @property
    def matched_shrinkage(self) -> str:
        return "bg"

    @property
    def matched_theta(self) -> tuple[float, ...]:
        return 1.0, math.log((1 - self.gamma) / self.gamma)


@dataclass(frozen=True)
class Channel:
    """From a user to the antennas (`problem.channel.*`)."""

    paths: int = integer(1, 1000)
    angle_spread: float = number(low=0, high=360)
    path_loss_exponent: float = number(low=0, high=20)
    k_factor: float = number(above=0)
    fading: str = choice("shared_direct", "rician")
    phase: str = choice("slope", "ula")


@dataclass(frozen=True)
class Cellular(ProblemSettings):
    """Users of several cells, heard by one base station (Appendix B). Counts, dB, degrees."""

    embedding: str = choice("real", "complex")
    cells: int = integer(1, 1 + NEIGHBOURS)
    users: int = integer(1, 100_000)
    antennas: int = integer(1, 4096)
    pilots: int = integer(1, 100_000)
    activity: float = number(above=0, high=1)
    snr_db: float = number(-100, 200)
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)
    channel: Channel = group(Channel)

    @property
    def parts(self) -> int:
        """Coordinates per coefficient: its real and imaginary part, or the coefficient itself."""
        return 2 if self.embedding == "real" else 1

    @property
    def together(self) -> int:
        """The angles of one realization depend on each other."""
        return self.antennas

    @property
    def everybody_active(self) -> bool:
        """Whether there is nobody to detect."""
        return self.activity == 1

    @property
    def hard_samples(self) -> bool:
        """Where all users are active, no sample has more of them."""
        return self.activity < 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts * self.pilots, self.parts * self.cells * self.users

    @property
    def groups(self) -> tuple[int, ...]:
        """0 for each coordinate of a user of the own cell, 1 for the others; empty if there is one cell."""
        if self.cells == 1:
            return ()
        return (*[0] * self.users, *[1] * ((self.cells - 1) * self.users)) * self.parts
