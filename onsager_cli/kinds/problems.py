"""Settings of problems (`problem.*`): what each key allows, and what the settings say without any array. No JAX.

Units are in `conf/problem`. A package may build on `Linear` or on `ProblemSettings`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import activity, check_matrix_file, choice, flag, integer, number, optional, path, text
from onsager_cli.kinds.lists import number_or_range
from onsager_cli.text import one_of, show

if TYPE_CHECKING:
    from onsager_cli.kinds.records import ProblemKind
    from onsager_cli.kinds.signals import SignalSettings

HIGHEST_KAPPA = 10**6  # float32 has 7 digits: smaller singular values would be rounding errors of the largest
ENSEMBLES = ("gaussian", "bernoulli", "zero_one", "dct", "fourier", "correlated", "toeplitz")
GIVEN = "given"  # the ensemble of a matrix that a Python program hands over
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
    content = None  # the checksum of the file that `matrix` or `file` names
    known_operator = True
    perturb_db = None
    embedding = None
    parts = 1  # coordinates of x that one coefficient has
    together = 1  # consecutive samples that depend on each other
    everybody_active = False
    balance = None
    grows = False  # whether the test set grows until the standard error is small
    signal = None  # the law of the coefficients; None: the default one, or one that only the kind knows
    takes_signal = False  # whether the config group `signal` sets the law
    complex_signals = False  # whether the coefficients are complex numbers
    unit_is_known = True  # whether the law of x tells the scale of active coefficients
    noise_varies = False  # whether samples differ in their noise variance

    @property
    def own_files(self) -> tuple[str, ...]:
        """The files of the user's own that the settings name."""
        named = (self.matrix, self.file, getattr(self.signal, "file", None))
        return tuple(path for path in named if path is not None)

    hard_samples = True  # whether hard samples may be drawn more often (`emphasis`)

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """(M, N) of the matrix that networks see; None where the problem does not say before it is built."""
        return None, None

    @property
    def sizes(self) -> tuple[str, str]:
        """The keys of the number of rows and of columns of the matrix."""
        return "problem.M", "problem.N"

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(M, N) of a matrix of the user's own, before any embedding."""
        M, N = self.shape
        return (M or 0) // self.parts, (N or 0) // self.parts

    @property
    def exact_operator(self) -> bool:
        """Whether networks are given the A behind the samples."""
        return self.known_operator and self.perturb_db is None

    @property
    def groups(self) -> tuple[int, ...]:
        """The group of exchangeable coordinates that each one belongs to; empty: all belong to one."""
        return ()

    @property
    def unmeant(self) -> tuple[str, ...]:
        """Keys without effect at their present values, which an identity leaves out."""
        return ()

    @property
    def balancing(self) -> str | None:
        """How networks see the problem (`problems.frame`): scaled, and balanced "auto", "on" or "off"; None: as it is."""
        return None

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
    """y = A x + w for one matrix and any prior: SNR in dB, the rest linear.

    M and N are the size of A; in the real embedding, networks see a matrix of twice that.
    """

    kappa: float | None = number(low=1, high=HIGHEST_KAPPA, null=True)
    snr_db: float | tuple[float, float] | None = number_or_range(-100, 200)
    instance: str = choice("seeded", "authors2017")
    matrix: str | None = path(null=True)
    matrix_name: str | None = optional(text(null=True))
    ensemble: str | None = optional(choice(*ENSEMBLES, hidden=(GIVEN,)))
    correlation: float | None = optional(number(above=-1, below=1, null=True))
    columns: str | None = optional(choice("unit", null=True))
    balance: str | None = optional(choice("auto", "on", "off"))
    embedding: str | None = optional(choice("complex", "real", null=True))
    noise_variance: float | None = optional(number(low=0, high=1e18, null=True))
    noise: str | None = optional(choice("nominal", "per_sample"))
    perturb_db: float | None = optional(number(low=-200, high=100, null=True))
    known_operator: bool = flag()
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)
    content: str | None = None  # no key

    @property
    def unmeant(self) -> tuple[str, ...]:
        """Keys at the values of the time before they existed, and keys that others override."""
        neutral: dict[str, object] = {"ensemble": "gaussian", "noise": "nominal"}
        keys = ("matrix_name", "ensemble", "columns", "embedding", "noise_variance", "noise", "perturb_db")
        found = [key for key in keys if getattr(self, key) in (None, neutral.get(key))]
        found += [] if self.ensemble == "correlated" else ["correlation"]
        found += [] if self.balancing else ["balance"]
        return (*found, *([] if self.noise_variance is None else ["snr_db"]))

    @property
    def parts(self) -> int:
        """Coordinates per coefficient: its real and imaginary part, or the coefficient itself."""
        return 2 if self.embedding == "real" else 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts * self.M, self.parts * self.N

    @property
    def few_active(self) -> bool:
        """Whether few coefficients of a sample are active on average."""
        return False

    @property
    def noise_varies(self) -> bool:
        """Whether samples differ in their noise variance."""
        return self.noise_variance is None and (self.noise == "per_sample" or isinstance(self.snr_db, tuple))

    @property
    def own_matrix(self) -> bool:
        """Whether A is none of the paper's: from a file, or of an ensemble that the paper does not study."""
        return self.matrix is not None or self.ensemble not in (None, "gaussian") or self.columns is not None

    @property
    def complex_signals(self) -> bool:
        """Whether coefficients, matrix and noise are complex."""
        return self.embedding is not None or self.ensemble == "fourier"

    @property
    def balancing(self) -> str | None:
        """Networks see the paper's matrices unchanged, since its figures study their spectrum."""
        asked = self.balance or "auto"
        if self.own_matrix or asked == "on":
            return asked
        return None if self.signal is None else "off"  # signals of any scale

    def check(self) -> None:
        """Raises UserError for a spectrum that A cannot have, another published instance, a matrix of no known format."""
        if isinstance(self.snr_db, tuple) and self.noise_variance is not None:
            raise UserError(
                f"problem.snr_db={list(self.snr_db)} draws the noise variance of each sample, and problem.noise_variance="
                f"{self.noise_variance:g} fixes it: leave one out"
            )
        if self.noise_variance is not None and self.noise == "per_sample":
            raise UserError(
                "problem.noise=per_sample sets the noise by problem.snr_db: leave problem.noise_variance out"
            )
        if self.perturb_db is not None and not self.known_operator:
            raise UserError(
                f"problem.perturb_db={self.perturb_db:g} and problem.known_operator=false both change A: leave one out"
            )
        if self.correlation is not None and self.ensemble != "correlated":
            raise UserError(
                f"problem.correlation={self.correlation:g} needs problem.ensemble=correlated, got {self.ensemble or 'gaussian'}"
            )
        if self.snr_db is None and self.noise_variance is None:
            raise UserError("problem.snr_db must be a number, got null: set it, or problem.noise_variance")
        if self.kappa is not None and self.ensemble == GIVEN:
            raise UserError(f"problem.kappa must be null for a matrix of your own, got {self.kappa:g}")
        if self.kappa is not None and self.ensemble not in (None, "gaussian"):
            raise UserError(f"problem.kappa needs problem.ensemble=gaussian, got {self.kappa:g} for {self.ensemble}")
        if self.kappa is not None and self.M > self.N:
            raise UserError(f"problem.M must be at most problem.N={self.N} if problem.kappa is set, got {self.M}")
        if self.instance == "authors2017":
            self._check_published()
        check_matrix_file(self.matrix, self.matrix_name)
        if self.matrix is not None and self.kappa is not None:
            raise UserError(f"problem.kappa must be null for a problem.matrix of your own, got {self.kappa:g}")
        if self.matrix is not None and self.ensemble not in (None, "gaussian", GIVEN):
            raise UserError(f"problem.ensemble={self.ensemble} and problem.matrix both set A: leave one out")

    def _check_published(self) -> None:
        if not isinstance(self, BernoulliGaussian):
            raise UserError(
                f"problem.instance=authors2017 has Bernoulli-Gaussian signals: with problem.kind={self.kind} write "
                "problem.instance=seeded"
            )
        if (
            self.own_matrix
            or self.embedding is not None
            or self.noise_variance is not None
            or self.noise == "per_sample"
            or self.perturb_db is not None
        ):
            raise UserError(
                "problem.instance=authors2017 sets A and the noise: leave out problem.matrix, ensemble, columns, embedding, "
                "noise, noise_variance and perturb_db, or write problem.instance=seeded"
            )
        for key, allowed in PUBLISHED.items():
            if (value := getattr(self, key)) not in allowed:
                raise UserError(
                    f"problem.{key} must be {one_of(map(show, allowed))} for problem.instance=authors2017, "
                    f"got {show(value)}: write problem.instance=seeded"
                )


FEW = 16  # active coefficients of a sample on average, below which few samples carry the error
DEFAULT_TEST = 1000  # samples of a test set; a smaller set was asked for and keeps its size


@dataclass(frozen=True)
class Activity(Sizes):
    """How many entries of x are not zero."""

    gamma: float = activity()


@dataclass(frozen=True)
class BernoulliGaussian(Linear, Activity):
    """x_n comes from `signal` with probability `gamma`, else it is 0; without `signal` it is then N(0, 1)."""

    signal: "SignalSettings | None" = None

    takes_signal = True

    @property
    def complex_signals(self) -> bool:
        """Whether coefficients, matrix and noise are complex."""
        return super().complex_signals or (self.signal is not None and self.signal.is_complex)

    @property
    def hard_samples(self) -> bool:
        """Only signals with zeros have samples with more active coefficients than others."""
        return self.gamma is not None and self.gamma < 1

    @property
    def prior(self) -> tuple[float, float] | None:
        """(φ, log((1-γ)/γ)) of a coordinate where active ones are N(0, φ), single or in blocks; else None."""
        variance = 1.0 if self.signal is None else self.signal.variance_of_active
        if variance is None or not self.hard_samples:
            return None
        return variance / self.parts, math.log((1 - self.gamma) / self.gamma)

    @property
    def few_active(self) -> bool:
        """Whether few coefficients of a sample are active on average."""
        together = 1 if self.signal is None else self.signal.length
        few = self.gamma is not None and self.gamma * self.N / together < FEW
        return few and (self.test_samples or 0) >= DEFAULT_TEST

    @property
    def grows(self) -> bool:
        """The published test set keeps its size, and so do those of the paper's other matrices."""
        few_tested = (self.test_samples or 0) < DEFAULT_TEST
        drawn = self.instance != "authors2017" and (self.signal is None or not self.signal.record.counted)
        return drawn and not few_tested and (self.few_active or self.own_matrix)

    @property
    def matched_shrinkage(self) -> str:
        length = 1 if self.signal is None else self.signal.length
        return "matched" if self.prior is None else "bg" if length == 1 else "block"

    @property
    def matched_theta(self) -> tuple[float, ...]:
        return (1.0,) if self.prior is None else self.prior

    def check(self) -> None:
        super().check()
        signal = self.signal
        if self.gamma is None and not (signal and signal.record.counted):
            raise UserError("problem.gamma must be between 0 and 1, both excluded, got null")
        if self.gamma is not None and signal is not None and signal.record.counted:
            raise UserError(
                f"problem.gamma must be null for signal={signal.kind}, which has its own activity, got {self.gamma:g}"
            )
        if self.gamma == 1 and not (signal and signal.record.certain):
            raise UserError("problem.gamma must be between 0 and 1, both excluded, got 1")
        if signal is None:
            return
        if self.instance == "authors2017":
            raise UserError(
                "problem.instance=authors2017 has Bernoulli-Gaussian signals of mean 0 and variance 1: with other signals "
                "write problem.instance=seeded"
            )
        if self.N % signal.length:
            raise UserError(f"problem.N={self.N} must be a multiple of signal.length={signal.length}")
        if self.complex_signals and signal.record.real:
            raise UserError(
                f"signal={signal.kind} is real, and this problem is complex: choose another signal, or a real problem"
            )
        if self.embedding == "real" and not signal.record.separable:
            raise UserError(f"problem.embedding=real does not work with signal={signal.kind}: write complex")
