"""Settings of signals (`signal.*`): the law of the coefficients of x, as far as it is known without arrays. No JAX.

A signal is zero with probability 1 - γ (`problem.gamma`), else it comes from the active law that these keys describe.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import FILE_SUFFIXES, check_file, integer, number, optional, path, text
from onsager_cli.kinds.lists import WHOLE, by_depth, letters, shares
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.kinds.records import SignalKind


@dataclass(frozen=True)
class SignalSettings:
    """What every signal has."""

    kind: str = text()

    if TYPE_CHECKING:
        record: ClassVar["SignalKind"]

    # No annotations: an annotated name would keep its place among the keys of a kind that has such a key.
    is_default = False  # Bernoulli-Gaussian with mean 0 and variance 1, the paper's
    is_complex = False  # whether the values themselves are complex
    variance_of_active = None  # φ where the active law is N(0, φ), so that the prior is (φ, γ); else None
    length = 1  # neighbours that are active together

    def check(self) -> None:
        """Raises UserError for keys that contradict each other."""


@dataclass(frozen=True)
class GaussianSignal(SignalSettings):
    """Active coefficients are N(mean, variance)."""

    mean: float = number(-1e6, 1e6)
    variance: float = number(low=1e-12, high=1e12)

    @property
    def is_default(self) -> bool:
        return (self.mean, self.variance) == (0, 1)

    @property
    def variance_of_active(self) -> float | None:
        return self.variance if self.mean == 0 else None


@dataclass(frozen=True)
class ScaleSignal(SignalSettings):
    """A law with one scale, in units of x."""

    scale: float = number(low=1e-6, high=1e6)


@dataclass(frozen=True)
class StudentSignal(ScaleSignal):
    """`scale` times Student's t with `dof` degrees of freedom."""

    dof: float = number(above=2, high=1000)


@dataclass(frozen=True)
class BlockSignal(SignalSettings):
    """Blocks of `length` neighbours are active together; their coefficients are then N(0, variance), independent."""

    length: int = integer(1, 1_000_000)
    variance: float = number(low=1e-12, high=1e12)

    @property
    def variance_of_active(self) -> float:
        return self.variance


@dataclass(frozen=True)
class AlphabetSignal(SignalSettings):
    """Active coefficients take one of a few `values`, each with its probability."""

    values: tuple[tuple[float, float], ...] = letters()
    probabilities: tuple[float, ...] | None = by_depth(above=0, null=True)

    @property
    def is_complex(self) -> bool:
        return any(imaginary for _, imaginary in self.values)

    def check(self) -> None:
        """Raises UserError for probabilities that do not go with the values."""
        if self.probabilities is not None:
            _check_probabilities("probabilities", self.probabilities, "values", len(self.values))


@dataclass(frozen=True)
class MixtureSignal(SignalSettings):
    """Active coefficients come from a mixture of N(mean, variance)."""

    weights: tuple[float, ...] = by_depth(above=0)
    means: tuple[float, ...] = by_depth()
    variances: tuple[float, ...] = by_depth(above=0)

    def check(self) -> None:
        """Raises UserError for lists of different lengths, or weights that are no probabilities."""
        _check_probabilities("weights", self.weights, "means", len(self.means))
        if len(self.variances) != len(self.means):
            raise UserError(
                f"signal.variances must hold as many numbers as signal.means, {len(self.means)}, "
                f"got {show(list(self.variances))}"
            )


@dataclass(frozen=True)
class FileSignal(SignalSettings):
    """Columns of an array in a file; `split` are the shares of training, selection and test."""

    file: str = path()
    name: str | None = optional(text(null=True))
    split: tuple[float, float, float] = shares()
    content: str | None = None  # the checksum of the file; no key

    def check(self) -> None:
        """Raises UserError for a file that is not there or has another format."""
        check_file("signal.file", self.file, FILE_SUFFIXES)


def _check_probabilities(key: str, found: tuple[float, ...], other: str, count: int) -> None:
    if len(found) != count:
        raise UserError(f"signal.{key} must hold as many numbers as signal.{other}, {count}, got {show(list(found))}")
    if not math.isclose(sum(found), 1, abs_tol=WHOLE):
        raise UserError(f"signal.{key} must sum to 1, got {show(list(found))}, which sum to {sum(found):g}")
