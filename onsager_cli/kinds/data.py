"""Settings of `problem=data`: recorded pairs (x, y) of the user's own (`problem.*`). No JAX."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import check_file, choice, integer, number, path, text
from onsager_cli.kinds.lists import PARTS, shares
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.text import show

PAIRS_SUFFIXES = (".npz", ".mat", ".h5", ".hdf5")
LARGEST_SET = 10_000  # pairs of the selection and of the test set; the training gets those beyond


class Counts(NamedTuple):
    """How many pairs each part of a data set has."""

    training: int
    selection: int
    test: int


@dataclass(frozen=True)
class Recorded(ProblemSettings):
    """Recorded pairs: counts and names of arrays; σ_w² linear, per entry of w as the file has it.

    `pairs`, `has_matrix` and `content`, its checksum, are what the file holds. They are no keys: the config layer fills
    them in, with M, N, `samples_in` and `embedding` where these are null.
    """

    file: str | None = path(null=True)
    x_name: str | None = text(null=True)
    y_name: str | None = text(null=True)
    matrix_name: str | None = text(null=True)
    samples_in: str | None = choice("rows", "columns", null=True)
    N: int | None = integer(1, 1_000_000, null=True)
    M: int | None = integer(1, 1_000_000, null=True)
    noise_variance: float | None = number(low=0, null=True)
    embedding: str | None = choice("real", "complex", null=True)
    split: tuple[float, ...] = shares()
    balance: str = choice("auto", "on", "off")
    pairs: int = 0
    has_matrix: bool = False
    content: str | None = None

    # No annotations, as in the base class.
    hard_samples = False
    unit_is_known = False

    @property
    def balancing(self) -> str:
        """Pairs come in any units."""
        return self.balance

    @property
    def known_operator(self) -> bool:  # type: ignore[override]
        """Whether the file has A."""
        return self.has_matrix

    @property
    def parts(self) -> int:  # type: ignore[override]
        """Coordinates per coefficient: its real and imaginary part, or the coefficient itself."""
        return 2 if self.embedding == "real" else 1

    @property
    def shape(self) -> tuple[int | None, int | None]:
        return (None if self.M is None else self.parts * self.M, None if self.N is None else self.parts * self.N)

    @property
    def counts(self) -> Counts:
        """The pairs of each part."""
        share, selection, test = (math.floor(part * self.pairs + 1e-6) for part in self.split)
        selection, test = min(selection, LARGEST_SET), min(test, LARGEST_SET)
        rest = self.pairs - selection - test
        return Counts(rest if math.isclose(sum(self.split), 1) else min(share, rest), selection, test)

    @property
    def training_samples(self) -> int:  # type: ignore[override]
        """The pairs that training draws from."""
        return self.counts.training

    @property
    def selection_samples(self) -> int:  # type: ignore[override]
        """The pairs that decide stopping and restoring."""
        return self.counts.selection

    @property
    def test_samples(self) -> int:  # type: ignore[override]
        """The pairs that are reported and decide nothing."""
        return self.counts.test

    def check(self) -> None:
        """Raises UserError for a file that is not there or of no known format."""
        if self.file is None:
            raise UserError(f"problem={self.name} needs recorded pairs: add problem.file=…")
        check_file("problem.file", self.file, PAIRS_SUFFIXES, folder="x.npy and y.npy")

    def check_counts(self) -> None:
        """Raises UserError for a part without pairs."""
        for name, share, count in zip(PARTS, self.split, self.counts, strict=True):
            if count < 1:
                raise UserError(
                    f"problem.file={self.file} has {self.pairs} pair{'s' * (self.pairs != 1)}, too few for "
                    f"problem.split={show(list(self.split))}: the {name} part ({share:g}) would be empty"
                )
