"""The keys of the two 5G problems (`problem.*` of kind cellular) and what each allows. Units are in `conf/problem`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, choice, integer, number, text

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
class Cellular:
    """Users of several cells, heard by one base station (Appendix B). Counts, dB, degrees."""

    kind: str = text()
    name: str = text()
    embedding: str = choice("real", "complex")
    cells: int = integer(1, 1 + NEIGHBOURS)
    users: int = integer(1, 100_000)
    antennas: int = integer(1, 4096)
    pilots: int = integer(1, 100_000)
    activity: float = number(above=0, high=1)
    snr_db: float = number(-100, 200)
    selection_samples: int = integer(1, 10_000_000)
    test_samples: int = integer(1, 10_000_000)
    channel: Channel = field(default_factory=Channel)

    # The only ones there are: the base station has chosen the pilots.
    instance = "seeded"
    known_operator = True

    @property
    def parts(self) -> int:
        """Coordinates per coefficient: its real and imaginary part, or the coefficient itself."""
        return 2 if self.embedding == "real" else 1

    @property
    def shape(self) -> tuple[int, int]:
        """(M, N) of the matrix that networks see."""
        return self.parts * self.pilots, self.parts * self.cells * self.users

    @property
    def groups(self) -> tuple[int, ...]:
        """0 for each coordinate of a user of the own cell, 1 for the others, exchangeable each; empty: one cell."""
        if self.cells == 1:
            return ()
        return (*[0] * self.users, *[1] * ((self.cells - 1) * self.users)) * self.parts


def make_cellular(raw: Mapping[str, Any]) -> Cellular:
    """Validates `problem` of kind cellular. Raises UserError."""
    if "channel" not in raw:
        raise UserError("the key problem.channel is missing")
    channel = build(Channel, raw["channel"], "problem.channel")
    others = {key: value for key, value in raw.items() if key != "channel"}
    return replace(build(Cellular, others, "problem"), channel=channel)
