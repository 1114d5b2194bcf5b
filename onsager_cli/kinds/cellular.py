"""Settings of `problem=random_access` and `problem=massive_mimo` (`problem.*`). No JAX. Units are in `conf/problem`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import choice, group, integer, number, optional, path, text
from onsager_cli.kinds.lists import number_or_numbers
from onsager_cli.kinds.problems import ProblemSettings, check_matrix_file

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS = 6  # a hexagon has no more


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
    activity: float | tuple[float, ...] = number_or_numbers(above=0, high=1)
    snr_db: float = number(-100, 200)
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)
    channel: Channel = group(Channel)
    matrix: str | None = optional(path(null=True))
    matrix_name: str | None = optional(text(null=True))
    balance: str | None = optional(choice("auto", "on", "off"))
    content: str | None = None  # no key

    @property
    def unmeant(self) -> tuple[str, ...]:
        """Keys at the values of the time before they existed."""
        found = [key for key in ("matrix", "matrix_name") if getattr(self, key) is None]
        return (*found, *(() if self.balancing else ("balance",)))

    @property
    def balancing(self) -> str | None:
        """Networks see the paper's pilots unchanged."""
        asked = self.balance or "auto"
        return asked if self.matrix is not None or asked == "on" else None

    @property
    def sizes(self) -> tuple[str, str]:
        return "problem.pilots", "problem.users"

    def check(self) -> None:
        """Raises UserError for a file of pilots that cannot be there, and for activities of another number of users."""
        users = self.cells * self.users
        if isinstance(self.activity, tuple) and len(self.activity) != users:
            raise UserError(
                f"problem.activity must be a number, or a list with one for each of {self.cells} x {self.users} users, got "
                f"{len(self.activity)} numbers"
            )
        check_matrix_file(self.matrix, self.matrix_name)

    @property
    def parts(self) -> int:
        """Coordinates per coefficient: its real and imaginary part, or the coefficient itself."""
        return 2 if self.embedding == "real" else 1

    @property
    def together(self) -> int:
        """The angles of one realization depend on each other."""
        return self.antennas

    @property
    def activities(self) -> "float | np.ndarray":
        """The activity of all users, or that of each one, (users,), float64."""
        if not isinstance(self.activity, tuple):
            return float(self.activity)
        import numpy as np

        return np.asarray(self.activity)

    @property
    def everybody_active(self) -> bool:
        """Whether there is nobody to detect."""
        return not self.hard_samples

    @property
    def hard_samples(self) -> bool:
        """Where all users are active, no sample has more of them."""
        return min(self.activity if isinstance(self.activity, tuple) else (self.activity,)) < 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts * self.pilots, self.parts * self.cells * self.users

    @property
    def groups(self) -> tuple[int, ...]:
        """0 for each coordinate of a user of the own cell, 1 for the others; empty if there is one cell."""
        if self.cells == 1:
            return ()
        return (*[0] * self.users, *[1] * ((self.cells - 1) * self.users)) * self.parts
